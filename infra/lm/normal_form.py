"""The normal form of names and answers: a text as words that can be compared.

Texts that differ in one of these only have the same words:

- case (Unicode case folding; the capital `İ` is an `i`, the dotless i another letter);
- composed and decomposed characters, full width and half width, ligatures, small Roman numerals,
  raised and lowered letters, raised and lowered digits that do not follow a digit (`H₂O`, `H2O`);
- format characters, and the vowel points of Hebrew and Arabic, which are optional in writing;
- marks that divide or end text: quotes, apostrophes, dashes, slashes, commas, brackets, and a full
  stop (`St.`, `St`);
- spaces, also thin ones and those that do not break; one between a number and `%`, `°` or currency;
- initials (`J. K.`, `J.K.` and `JK`), commas that group three digits, `&` and `and`;
- an article before a name (`normalise` only), unless nothing but articles would be left.

Everything else tells names apart: letters and their diacritics, vowel signs of any script, digits,
decimal points, the minus of a number, and signs (`C`, `C++`, `C#`; `A`, `A+`, `A-`; `$5`, `€5`).

SQuAD's normal form (arXiv:1606.05250) removes all punctuation, and articles anywhere in a text.
There `C++` equals `C`, and an answer `Serie B` begins with `Serie A`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

ARTICLES = frozenset(("a", "an", "the"))
_CURRENCIES = "$€£¥₩₹₽₺₿฿₫₴₪¢"
_RAISED = "⁰¹²³⁴-⁹⁺⁻₀-₉₊₋ªº"
"""Raised and lowered digits and signs, as a character class."""
# fmt: off
_FOLDED_TAGS = frozenset((
    "<wide>", "<narrow>", "<noBreak>", "<initial>", "<medial>", "<final>", "<isolated>",
    "<vertical>", "<small>", "<square>", "<font>", "<compat>", "<super>", "<sub>",
))
# fmt: on
"""Kinds of compatibility characters (UAX #44, table 14) that are replaced. Not among them are
fractions and circled numbers, whose digits would join those beside them."""
_CAPITAL = "[A-ZÀ-ÖØ-ÞΑ-ΩА-Я]"
_LETTER = r"[^\W\d_]"

_INITIALS = re.compile(
    # Each letter has its full stop, or none but the last lacks it: `J. K.`, `U.S`.
    rf"(?<![\w.])(?:(?:{_LETTER}\.\s*)+{_LETTER}\.|(?:{_LETTER}\.)+{_LETTER}(?!\w))"
    # Capitals before a name: `J K Rowling`. `A` and `I` are words, so only in front of a text.
    rf"|(?:(?:^\s*|(?<=[\s.])(?![AI]\s)){_CAPITAL}\s+)(?:(?![AI]\s){_CAPITAL}\s+)*"
    rf"(?![AI]\s){_CAPITAL}(?=\s+{_CAPITAL}\w)"
)
_SINGLE_CAPITAL = re.compile(rf"(?<!\w){_CAPITAL}\s")
_FRONT_ARTICLE = re.compile(r"\W*(?:the|an|a)\s+\S", re.IGNORECASE)
_RAISED_RUN = re.compile(rf"(?<![\d{_RAISED}])[{_RAISED}]+")
_GROUPING = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_INSIDE_WORD = re.compile(
    rf"\.(?!\d)|(?<=[^\s\d\-\u2212{_CURRENCIES}])\.(?=\d)|(?<=\w)\*(?=\w)"  # U.S., v.2, M*A*S*H
)
_CONTEXTUAL = re.compile(
    rf"((?<=\d)[,:](?=\d)"  # 1,5 and 10:30
    rf"|(?<!\S)(?<!\d )[-\u2212](?=[{_CURRENCIES}]?\.?\d)"  # -5
    r"|(?<=[^\s\-\u2212])\u2212(?![^\s.,:])"  # an ion: Cl and a minus
    r"|(?<!\S)(?:([A-Za-z])\2{0,2}|[Aa][Bb])--?(?![^\s.,:])"  # A-, BBB-, C--
    r"|(?<!\S)\w{1,2}\*+(?![^\s.,:])"  # A*
    r"|(?<=[^\s#])#+|#+(?=[^\s#])"  # C#, #1
    r"|(?<!\S)[<>~](?=\.?\d))"  # <5
    r"|[,:\-\u2212*#<>~]"
)
_EMPHASIS = re.compile(r"(?<!\S)\*")
_UNIT = re.compile(f"[%‰°{_CURRENCIES}]")
_UNIT_GAP = re.compile(rf"(?<=\d)\s+(?=[%‰°{_CURRENCIES}])|(?<=[{_CURRENCIES}])\s+(?=\d)")
_JOINS_NEXT = re.compile(rf"(?:(?:^|[\W_]){_LETTER}|\d|[{_CURRENCIES}])\W*$")
_PUNCTUATION = re.compile(r"[.,:\-\u2212*#<>~]")


@dataclass(frozen=True, slots=True)
class NormalForm:
    """The words of a text."""

    spelled: tuple[str, ...]
    """The words in the text's own case."""
    words: tuple[str, ...]
    """The same words case-folded. Empty where the text has only marks that divide text."""
    front: int
    """1 where the first word is an article before a name, else 0."""

    @property
    def name(self) -> tuple[str, ...]:
        """The words without an article in front."""
        return self.words[self.front :]


@lru_cache(maxsize=1 << 14)
def normal_form(text: str) -> NormalForm:
    """The words of a text; see the module for what is merged."""
    spelled = tuple(_spaced(text).split())
    folded = " ".join(spelled).casefold()
    if not folded.isascii():
        folded = unicodedata.normalize("NFC", folded)
    words = tuple(folded.split())
    is_article = (
        len(words) > 1
        and words[0] in ARTICLES
        and not ARTICLES.issuperset(words)
        and _FRONT_ARTICLE.match(text) is not None
    )
    return NormalForm(spelled, words, int(is_article))


def normalise(text: str) -> str:
    """Normal form of a text as one string: that of `The F.C. Barcelona!` is `fc barcelona`.

    A text that has only marks that divide text (the band `!!!`) keeps its visible characters. Only
    a text without a visible character is empty.
    """
    return " ".join(normal_form(text).name) or visible(text).replace(" ", "")


def visible(text: str) -> str:
    """The text case-folded, in NFC, without format characters, with single spaces."""
    folded = unicodedata.normalize("NFC", text).casefold()
    shown = (" " if _is_gap(c) else c for c in folded if not _is_hidden(c))
    return unicodedata.normalize("NFC", " ".join("".join(shown).split()))


def complete_words(text: str) -> NormalForm:
    """The words at the beginning of a text that are the same in every continuation of it.

    The last word may still grow, and a number or a single letter may join what follows.
    """
    parts = text.split()[:-1]
    while parts and (_JOINS_NEXT.search(parts[-1]) or not normal_form(parts[-1]).words):
        parts.pop()
    return normal_form(" ".join(parts))


def _spaced(text: str) -> str:
    """The text with spaces between its words, and with those marks only that belong to words."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "." in text or _SINGLE_CAPITAL.search(text):
        text = _INITIALS.sub(_joined, text)
    text = text.translate(_FOLDED)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = _RAISED_RUN.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    if _PUNCTUATION.search(text):
        text = _INSIDE_WORD.sub("", _GROUPING.sub("", text))
        emphasis = _EMPHASIS.search(text)
        if emphasis:
            text = text[: emphasis.start()] + text[emphasis.start() :].replace("*", " ")
        text = _CONTEXTUAL.sub(lambda mark: (mark[1] or " ").replace("\u2212", "-"), text)
    return _UNIT_GAP.sub("", text) if _UNIT.search(text) else text


def _joined(initials: re.Match[str]) -> str:
    """Initials as one word."""
    return "".join(filter(str.isalpha, initials[0])) + " "


def _is_hidden(char: str) -> bool:
    """Whether a character is a format character or a variation selector. Tags are neither: they
    tell apart the flags of parts of countries."""
    code = ord(char)
    if 0xE0020 <= code <= 0xE007F:
        return False
    return unicodedata.category(char) == "Cf" or 0xFE00 <= code <= 0xFE0F or code >> 8 == 0xE01


def _is_gap(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Zl", "Zp", "Zs")


class _Folding(dict[int, str]):
    """What stands for each character, by its code; it is found at first use."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


def _fold(char: str) -> str:
    """What stands for one character in a normal form. Marks whose meaning depends on the characters
    beside them stay."""
    code, category = ord(char), unicodedata.category(char)
    if char in _KEPT or _IS_RAISED.match(char):
        return char
    if char in _REMOVED or _is_hidden(char) or _is_vowel_point(code):
        return ""
    if char in _REPLACED:
        return _REPLACED[char]
    tag, _, rest = unicodedata.decomposition(char).partition(" ")
    if tag in _FOLDED_TAGS and (category == "Zs" or not rest.startswith("0020")):
        return "".join(map(_fold, unicodedata.normalize("NFKC", char)))
    if _is_gap(char) or category in ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"):
        return " "
    if category == "So" or 0x1F3FB <= code <= 0x1F3FF or 0x2190 <= code <= 0x21FF:
        return f" {char} "  # emoji with their colours, and arrows
    return char


def _is_vowel_point(code: int) -> bool:
    """Whether a code is a Hebrew point or accent, or an Arabic vowel mark."""
    hebrew = 0x0591 <= code <= 0x05C7 and code not in (0x05BE, 0x05C0, 0x05C3, 0x05C6)
    return hebrew or 0x064B <= code <= 0x0652 or code == 0x0670


_KEPT = frozenset(".,:*#<>~%‰°@§\u2032\u2033\u2212")
_REMOVED = frozenset('"״`™®©℠·・ـ')
_REPLACED = {"İ": "I", "&": " and ", "|": " ", **dict.fromkeys("-\u2010\u2011\u2012\u2013", "-")}
_APOSTROPHES = "'\u2018\u2019\u201b\u02b9\u02bb\u02bc\u05f3\u00b4"
_REPLACED |= dict.fromkeys(_APOSTROPHES, " ")
_IS_RAISED = re.compile(f"[{_RAISED}]")
_FOLDED = _Folding()
