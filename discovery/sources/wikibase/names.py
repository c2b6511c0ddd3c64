"""Labels and aliases in Wikibase's JSON.

Names are English. Since 2024 a name that is the same in all languages stands once, under `mul`, and
is the label of every language that has none of its own. A label in a regional English is taken
where there is neither, since an item with the label `Colour` in `en-gb` alone is not nameless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LANGUAGE = "en"
SHARED = "mul"
"""The language of names that are the same in all languages."""
LANGUAGES = (LANGUAGE, SHARED, "en-us", "en-gb", "en-ca")
"""Languages whose label is taken, the first that has one."""
MAX_NAME = 1_000
"""Characters of the longest name; Wikibase allows 250 in a label or alias."""


def read_names(entity: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...], list[str]]:
    """The label of an entity, its aliases, sorted, and a reason for each name that is unusable.

    Aliases are those in English, those of all languages, and those in the label's language.
    """
    faults: list[str] = []
    labels, aliases = _map(entity.get("labels")), _map(entity.get("aliases"))
    label, language = None, LANGUAGE
    for code in LANGUAGES:
        if label is None and labels.get(code) is not None:
            label, language = _text(labels[code], faults), code
    also: set[str] = set()
    for code in sorted({LANGUAGE, SHARED, language}):
        terms = aliases.get(code) or []
        found = [_text(term, faults) for term in (terms if isinstance(terms, list) else [None])]
        also |= {text for text in found if text is not None}
    return label, tuple(sorted(also)), faults


def _text(term: Any, faults: list[str]) -> str | None:
    """The text of a label or alias; None where it cannot be used, which adds a reason."""
    text = term.get("value") if isinstance(term, dict) else None
    if not isinstance(text, str) or not text.strip():
        faults.append("name is malformed")
    elif len(text) > MAX_NAME:
        faults.append(f"name is longer than {MAX_NAME} characters")
    else:
        return text
    return None


def _map(value: Any) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one: PHP writes an empty map as `[]`."""
    return value if isinstance(value, dict) else {}
