"""Alias matching."""

from __future__ import annotations

import pytest

from infra.text import begins_with, normalise


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("the New York Giants.", ["New York Giants"], "New York Giants"),
        ("Real Madrid C.F., a club", ["Barcelona", "Real Madrid CF"], "Real Madrid CF"),
        ("Parish of London", ["Paris"], None),
        ("", ["Paris"], None),
        ("BBC's Sky News", ["BBC"], "BBC"),
        ("anything", ["the"], None),
        ("St. Louis Blues", ["St Louis"], "St Louis"),
        ("Saint-Étienne now", ["saint étienne"], "saint étienne"),
    ],
)
def test_begins_with(text: str, names: list[str], found: str | None) -> None:
    """An answer counts by its beginning, at a word boundary, whatever its case and punctuation."""
    assert begins_with(text, names) == found


def test_normalise_is_idempotent() -> None:
    """The normal form is its own normal form."""
    once = normalise("The  A.C. “Milan” — an Associazione/Calcio")
    assert normalise(once) == once
