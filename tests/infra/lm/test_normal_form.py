"""The normal form of names: what is merged, and what stays apart."""

# ruff: noqa: RUF001 - characters that look alike are the subject of these tests

from __future__ import annotations

import unicodedata
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.lm.normal_form import complete_words, normal_form, normalise

MERGED = [
    ("Paris", "PARIS", "paris", "Paris.", "(Paris)", "\u201cParis\u201d", "**Paris**", "# Paris"),
    ("Straße", "STRASSE"),
    ("İstanbul", "istanbul", "ISTANBUL", "I\u0307stanbul"),
    ("The Hague", "Hague", "the Hague", '"The Hague"'),
    ("a horse", "horse"),
    ("St. Louis", "St Louis", "ST. LOUIS"),
    ("F.C. Barcelona", "FC Barcelona", "F. C. Barcelona", "F.C.Barcelona"),
    ("J. K. Rowling", "J.K. Rowling", "JK Rowling", "J K Rowling"),
    ("A. J. Cronin", "AJ Cronin", "A J Cronin"),
    ("George H. W. Bush", "George H.W. Bush", "George HW Bush", "George H W Bush"),
    ("Washington, D.C.", "Washington DC", "Washington, D. C."),
    ("O'Neill", "O\u2019Neill", "O\u02bcNeill", "O Neill"),
    ("Saint-Étienne", "Saint Étienne", "Saint\u2013E\u0301tienne", "Saint\u2010Étienne"),
    ("New York", "New\u00a0York", "New\u2009York", "New  York", "New York\u200b"),
    ("AC/DC", "AC DC", "AC-DC"),
    ("ＡＢＣ", "ABC"),
    ("ガンダム", "ｶﾞﾝﾀﾞﾑ", "カ\u3099ンタ\u3099ム"),
    ("한국", unicodedata.normalize("NFD", "한국")),
    ("ﬁn", "fin"),
    ("Elizabeth Ⅱ", "Elizabeth II"),
    ("H₂O", "H2O"),
    ("km²", "km2"),
    ("1,000", "1000"),
    ("5 %", "5%"),
    ("20 °C", "20°C"),
    ("5 €", "5€"),
    ("\u22125", "-5"),
    ("Marks & Spencer", "Marks and Spencer"),
    ("Lego®", "Lego"),
    ("M*A*S*H", "MASH"),
    ("שָׁלוֹם", "שלום"),
    ("مُحَمَّد", "محمد"),
]
"""Spellings of one name, a group a line."""

APART = [
    ("Serie", "Serie A", "Serie B", "Serie C"),
    ("hepatitis", "hepatitis A", "hepatitis B", "hepatitis AB"),
    ("Vitamin A", "Vitamin B", "Vitamin B12", "Vitamin B1"),
    ("C", "C++", "C#", "C--", "C*", "C+"),
    ("F", "F#", "F♯", "F♭"),
    ("A", "A+", "A-", "A*", "AB", "AB+", "AB-", "AA", "AA-"),
    ("BBB", "BBB+", "BBB-"),
    ("1.5", "15", "1,5", "1 5", "1:5", "51"),
    (".5", "5", "0.5"),
    ("3.1", "31", "3.11", "311"),
    ("5", "-5", "+5", "±5", "<5", ">5", "~5", "#5", "$5", "€5", "£5", "5%", "5‰", "5°", "5′", "5″"),
    ("½", "12", "2", "¼", "1½", "1 2"),
    ("10²", "102", "10³", "10"),
    ("①", "1", "②"),
    ("Ünal", "Unal"),
    ("Kır", "Kir"),
    ("Ångström", "Angström", "Angstrom"),
    ("कि", "की", "कु", "क", "के"),
    ("हिन्दी", "हनद", "हिन्द"),
    ("தமிழ்", "தமழ", "தமிழ"),
    ("กา", "กิ", "กี", "ก้า", "ก่า"),
    ("ព្រះ", "ពរះ"),
    ("ガ", "カ"),
    ("أحمد", "احمد"),
    ("שלום", "שלם"),
    ("The Who", "The Band", "The The", "The"),
    ("A Team", "A-Team"),
    ("A. Lincoln", "Lincoln", "B. Lincoln"),
    (
        "!!!",
        "!!",
        "???",
        "...",
        "+",
        "-",
        "\u2212\u2212",
        "&",
        "*",
        "#",
        "@",
        "%",
        "/",
        "\\",
        "_",
        "|",
        "°",
    ),
    ("❤", "♥", "★", "😀", "😁", "🇳🇴", "🇫🇮", "→", "←"),
    ("🏴\U000e0067\U000e0062\U000e0065\U000e007f", "🏴\U000e0067\U000e0062\U000e0073\U000e007f"),
    ("AT&T", "ATT"),
    ("Disney+", "Disney"),
    ("Ke$ha", "Keha"),
    ("E=mc²", "Emc²"),
    ("10:30", "1030", "10.30"),
    ("9/11", "911"),
    ("Na+", "Na"),
    ("§ 5", "5"),
    ("R&B", "RB"),
]
"""Names of different things, a group a line."""


@pytest.mark.parametrize("names", MERGED, ids=lambda names: names[0])
def test_spellings_of_one_name_are_merged(names: tuple[str, ...]) -> None:
    """All spellings of a group have the same normal form."""
    assert len({normalise(name) for name in names}) == 1, [normalise(name) for name in names]


@pytest.mark.parametrize("names", APART, ids=lambda names: names[0])
def test_names_of_different_things_stay_apart(names: tuple[str, ...]) -> None:
    """No two names of a group have the same normal form."""
    same = [pair for pair in combinations(names, 2) if normalise(pair[0]) == normalise(pair[1])]
    assert same == []


VISIBLE = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"))


@given(st.text(), VISIBLE, st.text())
def test_nothing_visible_is_lost(before: str, char: str, after: str) -> None:
    """A text with a visible character has a normal form that is not empty."""
    assert normalise(before + char + after)


LETTERS = "abz\u00e9\u00fc\u0131\u00f1\u03b1\u0436\u05d0\u0628\u0915\u0e01\u1780\u6cd5\u3042\u30a2"
MARKS = "\u093f\u0940\u093e\u094d\u0bbf\u0e34\u0e49\u17b6\u3099"
WORDS = st.tuples(
    st.sampled_from(LETTERS), st.text(alphabet=LETTERS + MARKS + "0123456789+$€°½", max_size=4)
).map("".join)


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, min_size=1, max_size=3))
def test_letters_marks_digits_and_signs_tell_names_apart(one: list[str], two: list[str]) -> None:
    """Names of these characters have the same normal form only if they are the same in NFC, an
    article in front aside."""
    texts = ["x" + " ".join(words) for words in (one, two)]
    same = len({unicodedata.normalize("NFC", text) for text in texts}) == 1
    assert (normalise(texts[0]) == normalise(texts[1])) is same


@given(st.text())
def test_composition_does_not_matter(text: str) -> None:
    """Composed and decomposed, a text has one normal form."""
    forms = {normalise(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert forms == {normalise(text)}


@given(st.lists(WORDS, min_size=1, max_size=3))
def test_case_does_not_matter(words: list[str]) -> None:
    """In capitals, a name has the same normal form; the dotless i has none of its own there."""
    name = " ".join(f"xx{word}" for word in words).replace("\u0131", "i")
    assert normalise(name.upper()) == normalise(name)


# fmt: off
PIECES = (
    "New", "the ", " York", " ", "'s", "-", "é", "St. ", "\u0301", "A", " A ", "B", ". ", ".", "1",
    "5 ", ",000", " %", "€", " *", "*", "#", "&", "J. ", "K", "!", "(", "\u2212", "²", "İ",
    "\u0915", "\u093f", "\u00a0", "NO", "in ", ":", "'", ",", "\n",
)
# fmt: on


@given(st.lists(st.sampled_from(PIECES)), st.lists(st.sampled_from(PIECES)))
def test_complete_words_stay(said: list[str], more: list[str]) -> None:
    """The complete words of a text are the first words of every continuation."""
    text = "".join(said)
    words = complete_words(text).words
    assert normal_form(text + "".join(more)).words[: len(words)] == words
