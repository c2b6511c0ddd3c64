"""What a published file may say of a model and of the machine that it was made on.

A release is read by anyone, so it names a model by its id on the Hugging Face hub, and holds no
path of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PATH_KEYS = frozenset(
    {"_name_or_path", "name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file"}
)
"""Keys under which transformers has written where it read a model or a tokenizer from. No loader
needs them."""
_PATH = re.compile(r"(file:/*|~?/|[A-Za-z]:[\\/]|\\\\)[^\s/\\]+([/\\][^\s/\\]+)+[/\\]?")
"""A path from the root or the home of a machine, of two names or more."""


def check_hub_id(text: str) -> str:
    """The text itself, if it is a hub id with owner and name. Raises ValueError with the reason."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        owned = False
    else:
        owned = text.count("/") == 1
    if not owned:
        raise ValueError(f"{text!r} is no id on the Hugging Face hub; give owner/name")
    return text


def is_local(text: str) -> bool:
    """Whether a text is a path of some machine."""
    return bool(_PATH.fullmatch(text))


def without_paths(value: Any) -> Any:
    """JSON values of a model's settings without entries that say where something was read from."""
    if isinstance(value, Mapping):
        return {
            key: without_paths(item)
            for key, item in value.items()
            if key not in PATH_KEYS and not (isinstance(item, str) and is_local(item))
        }
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return value
