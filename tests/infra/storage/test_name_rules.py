"""Names never have a meaning as a path, and whatever text becomes part of a path stays one part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import ConfigError, StageError
from infra.storage.names import RESERVED, as_path_part, check_name, is_name, path_part
from infra.storage.workspace import Workspace

NAMES = ("2026.11.23", "v1", "1.0", "mine", "my_line-2", "_x", "A" * 128, "a..b", "x.partial.1")
"""Names in use."""
NOT_NAMES = (
    *("", ".", "..", "./x", "x/", "../../evil", "/etc", "a/b", "a\\b", "-x", ".x", "a b", "a\n"),
    *("a\0", "é", "x*", "[x]", "%2e", "A" * 129, "x.partial", "x.PARTIAL", "x.lock", "x.tmp"),
)


def test_what_a_name_is() -> None:
    """Names in use are names; what leads elsewhere, hides, or ends as the workspace's own files do
    is refused in one line that says what is allowed."""
    assert all(check_name(name, "version") == name for name in NAMES)
    for name in NOT_NAMES:
        with pytest.raises(ConfigError, match=r"^version ") as caught:
            check_name(name, "version")
        assert str(caught.value).isprintable() and not is_name(name)


@given(st.text(max_size=300))
def test_an_output_is_always_one_below_its_stage(text: str) -> None:
    """Any text is refused, or is the name of one entry of the stage's directory."""
    place = Workspace(Path("/w"))
    try:
        found = place.directory("crawl", text)
    except StageError as error:
        assert str(error).isprintable()
    else:
        assert found.parent == Path("/w/crawl") and found.name == text and found.name[0] != "."
        assert not text.lower().endswith(RESERVED)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_a_part_of_a_path_of_its_own(one: str, other: str) -> None:
    """Every text can be written as a part of a path, and two texts never as the same."""
    parts = [path_part(as_path_part(text)) for text in (one, other)]
    assert (parts[0] == parts[1]) == (one == other)


def test_text_that_can_be_a_part_of_a_path_is_unchanged() -> None:
    """Compared systems keep their names; only what has a meaning in paths is escaped."""
    same = ("memit", "my model", "Modell für später", "a.b")
    assert tuple(map(as_path_part, same)) == same
    assert as_path_part("../a b/x.partial") == "%2E.%2Fa b%2Fx%2Epartial"
