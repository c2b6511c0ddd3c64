"""Alias matching."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.lm.matching import begins_with, contains, is_one_of, is_settled, named
from infra.lm.normal_form import normal_form, visible


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("the New York Giants.", ["New York Giants"], "New York Giants"),
        ("Real Madrid C.F., a club", ["Barcelona", "Real Madrid CF"], "Real Madrid CF"),
        ("Parish of London", ["Paris"], None),
        ("", ["Paris"], None),
        ("BBC's Sky News", ["BBC"], "BBC"),
        ("anything", ["the"], None),
        ("The", ["the"], None),
        ("The", ["The"], "The"),
        ("The The is a band", ["The The"], "The The"),
        ("!!!", ["!!!"], "!!!"),
        ("", ["!!!"], None),
        ("C++ is a language", ["C"], None),
        ("C is a language", ["C"], "C"),
        ("15 of them", ["1.5"], None),
        ("5% of them", ["5"], None),
        ("Vitamin B12", ["Vitamin B1", "Vitamin A", "Vitamin B"], None),
        ("the Paris, the city", ["Paris"], "Paris"),
        ("Paris,France", ["Paris"], "Paris"),
        ("St. Louis Blues", ["St Louis"], "St Louis"),
        ("Saint-Étienne now", ["saint étienne"], "saint étienne"),
    ],
)
def test_begins_with(text: str, names: list[str], found: str | None) -> None:
    """An answer counts by its beginning, at a word boundary, whatever its case and punctuation."""
    assert begins_with(text, names) == found


@pytest.mark.parametrize(
    ("text", "names", "rivals", "found"),
    [
        ("Serie B", ["Serie A"], ["Serie B"], None),
        ("New York City", ["New York"], ["New York City"], None),
        ("New York City", ["New York"], ["Boston"], "New York"),
        ("New York, the city", ["New York"], ["New York City"], "New York"),
        ("New York City", ["New York", "New York City"], ["New York"], "New York City"),
        ("The Who are", ["Who"], ["The Who"], None),
        ("The Who are", ["The Who"], ["Who"], "The Who"),
        ("Who is it", ["The Who"], ["Who"], None),
        ("A Team", ["Team"], ["A Team"], None),
        ("The A Team", ["Team"], ["A Team"], None),
        ("Help! is an album", ["Help"], ["Help!"], None),
        ("Help is an organisation", ["Help!"], ["Help"], None),
        ("Oslo", ["Oslo"], ["Oslo", "oslo"], "Oslo"),
    ],
)
def test_the_longest_known_name_counts(
    text: str, names: list[str], rivals: list[str], found: str | None
) -> None:
    """A text counts for the name with which it begins longest, and of two names that differ in
    article or punctuation only, for the one that is written as it is."""
    assert begins_with(text, names, rivals) == found


CODES = ["NO", "NOR", "IN", "IT", "CAN", "ARE", "AND", "LA", "DE", "PER", "POL", "BEN", "US", "ALL"]


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_no_word(code: str) -> None:
    """A sentence that begins with the same letters as a country's code does not say the country;
    the code alone does."""
    for said in (code.lower(), code.capitalize()):
        assert not begins_with(f"{said} one knows", [code])
        assert not begins_with(f"{said}, said Ann", [code])
        assert not contains(f"It is {said} such place", [code])
    for said in (code, f"{code}.", f" {code}"):
        assert begins_with(said, [code])
        assert is_one_of(said, [code])
        assert contains(f"The code is {said}", [code])


@pytest.mark.parametrize(
    ("text", "name", "counts"),
    [
        ("US citizen", "US", True),
        ("U.S. citizen", "US", True),
        ("us all", "U.S.", False),
        ("usa", "USA", True),
        ("the US", "US", True),
        ("NO", "no", False),
        ("no", "no", True),
        ("In", "In", True),
        ("In the north", "In", False),
        ("IN THE NORTH", "IN", False),
        ("Her (2013 film)", "Her", True),
        ("Her first film", "Her", False),
        ("N. Smith", "N", False),
        ("X Factor", "X", False),
        ("X, formerly Twitter", "X", True),
        ("C. It was made at Bell", "C", True),
        ("a singer", "A", False),
        ("A", "A", True),
        ("Norway", "NO", False),
    ],
)
def test_a_name_like_a_word_counts_as_written(text: str, name: str, counts: bool) -> None:
    """Codes count in their own case, words that begin many sentences alone, a letter before no
    further name."""
    assert (begins_with(text, [name]) is not None) is counts


# fmt: off
PIECES = (
    "New", "the ", " York", " ", "'s", "-", "é", "St. ", "\u0301", "A", " A ", "B", ". ", ".", "1",
    "5 ", ",000", " %", "€", " *", "*", "#", "&", "J. ", "K", "!", "(", "\u2212", "²", "İ",
    "\u0915", "\u093f", "\u00a0", "NO", "in ", ":", "no ", "IN ", "Her", "+",
)
# fmt: on
SAID = st.lists(st.sampled_from(PIECES)).map("".join)
NAMES = st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=3)


@given(SAID, SAID, NAMES, NAMES)
def test_what_is_settled_stays(said: str, more: str, names: list[str], rivals: list[str]) -> None:
    """Generation may stop at a settled text: writing on would not change the match."""
    if is_settled(said, [*names, *rivals]):
        assert begins_with(said, names, rivals) == begins_with(said + more, names, rivals)
        assert is_one_of(said, names) == is_one_of(said + more, names)


@given(SAID, NAMES, NAMES)
def test_no_text_says_two_answers(said: str, names: list[str], rivals: list[str]) -> None:
    """What counts for a name and, beside it, for a rival, is as long in both."""
    one, two = begins_with(said, names, rivals), begins_with(said, rivals, names)
    if one is not None and two is not None:
        assert len(normal_form(one).name) == len(normal_form(two).name)


@given(NAMES, st.integers(0, 2))
def test_every_name_says_itself(names: list[str], place: int) -> None:
    """A name with a visible character counts for itself, whatever other names are known."""
    if place < len(names) and visible(names[place]):
        assert begins_with(names[place], [names[place]], names)


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


def test_a_letter_or_word_inside_a_text_is_no_answer() -> None:
    """An initial, an article and a preposition name nothing inside a text; at its end they may."""
    assert not contains("George S. Patton was born", ["S"])
    assert not contains("It is a city in Spain", ["A", "IN", "In"])
    assert contains("Its code is S.", ["S"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("He plays for New York City FC.", {"New York City"}),
        ("He left New York for New York City.", {"New York", "New York City"}),
        ("The New Yorker says so.", set()),
        ("the new york", {"New York"}),
        ("He is in FR, France", {"FR"}),
        ("Go to it, fr", set()),
        ("", set()),
    ],
)
def test_a_name_inside_a_longer_one_is_not_named(text: str, found: set[str]) -> None:
    """Each name counts where it stands by itself, as whole words; a code as it is written."""
    assert named(text, ["New York", "New York City", "FR"]) == found


def test_exact_and_contained() -> None:
    """The name alone is exact, case and articles aside; inside a text, whole words count."""
    assert is_one_of("the New York!", ["New York"])
    assert not is_one_of("New York City", ["New York"])
    assert not is_one_of("", ["the"])
    assert not is_one_of("", ["", "\u200b"])
    assert is_one_of("!!!", ["!!!"])
    assert not is_one_of("!!!", ["???", "A"])
    assert contains("He moved to New York in 1990", ["Boston", "New York"])
    assert not contains("He is a New Yorker", ["New York"])
    assert not contains("anything", ["the"])
