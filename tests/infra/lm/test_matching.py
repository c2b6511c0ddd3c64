"""Alias matching."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.lm.matching import begins_with, contains, is_one_of, is_settled, normalise


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


PIECES = st.lists(st.sampled_from(["New", "the ", " York", " ", "'s", "-", "é", "St. ", "\u0301"]))


@given(PIECES, PIECES, st.lists(PIECES, max_size=3))
def test_what_is_settled_stays(said: list[str], more: list[str], names: list[list[str]]) -> None:
    """Generation may stop at a settled text: writing on would not change the match."""
    text, known = "".join(said), ["".join(name) for name in names]
    if is_settled(text, known):
        assert begins_with(text, known) == begins_with(text + "".join(more), known)
        assert is_one_of(text, known) == is_one_of(text + "".join(more), known)


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("New", False),
        ("New York", False),
        ("New York G", False),
        ("New York City i", True),
        ("New Jersey", False),
        ("Nevada", False),
        ("New Jersey is", True),
        ("Nevada is", True),
    ],
)
def test_is_settled(text: str, over: bool) -> None:
    """A name is settled by the whole word after it, or by the first that differs: until then the
    answer may still be the name alone."""
    assert is_settled(text, ["the New York"]) is over


def test_exact_and_contained() -> None:
    """The name alone is exact, case and articles aside; inside a text, whole words count."""
    assert is_one_of("the New York!", ["New York"])
    assert not is_one_of("New York City", ["New York"])
    assert not is_one_of("", ["the"])
    assert contains("He moved to New York in 1990", ["Boston", "New York"])
    assert not contains("He is a New Yorker", ["New York"])
    assert not contains("anything", ["the"])
