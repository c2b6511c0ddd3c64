"""Splits text of any script into characters as people see them, and says which belong to one word.

A character is a letter with its combining marks, or a Hangul syllable, however it is encoded. In
many scripts of Asia nothing stands between words; there each character is a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_SPACELESS = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces: Thai, Lao, Tibetan, Burmese, Khmer, Tai scripts, Javanese,
Balinese, Han, kana, Bopomofo and Yi, in the order of their blocks."""
_JAMO = re.compile("[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?")
_PARTICLE = (
    "(?:에서|에게서|에게|으로서|으로써|으로|로서|로써|로|까지|부터|보다|처럼|께서|께|한테|하고|이나"
    "|이랑|랑|이라는|라는|이란|란|이며|에|은|는|이|가|을|를|의|와|과|도|만|나|며)"
)
PARTICLES = re.compile(f"{_PARTICLE}{{1,2}}$")
"""Korean particles at the end of a word; up to two follow a noun without a space (`서울에서는`)."""
_APOSTROPHES = "\u2018\u2019\u201b\u02bb\u02bc\u00b4`\uff07"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"
_FOLDED = str.maketrans(dict.fromkeys(_APOSTROPHES, "'") | dict.fromkeys(_DASHES, "-"))


@dataclass(frozen=True, slots=True)
class Character:
    """One character of a text."""

    start: int
    """Index in the text of its first code point."""
    end: int
    """Index after its last code point."""
    plain: str
    """The character in NFC and of usual width, with straight apostrophes and hyphens; one space for
    any white space."""

    @property
    def is_in_word(self) -> bool:
        """Whether it is a letter, a digit or an underscore."""
        return self.plain[0].isalnum() or self.plain[0] == "_"

    @property
    def is_spaceless(self) -> bool:
        """Whether its script puts nothing between words."""
        return _SPACELESS.match(self.plain) is not None

    @property
    def script(self) -> str:
        """The first word of its name in Unicode, which tells Han, Hiragana and Katakana apart."""
        return re.split("[ -]", unicodedata.name(self.plain[0], ""), maxsplit=1)[0]


def characters(text: str) -> list[Character]:
    """The characters of a text, without format characters."""
    found: list[Character] = []
    start = 0
    while start < len(text):
        jamo = _JAMO.match(text, start)
        end = jamo.end() if jamo else start + 1
        if text[start].isspace():
            while end < len(text) and text[end].isspace():
                end += 1
        while end < len(text) and unicodedata.category(text[end]) in ("Mn", "Mc", "Me", "Cf"):
            end += 1
        plain = "".join(c for c in text[start:end] if unicodedata.category(c) != "Cf")
        if plain:
            found.append(Character(start, end, _plain(plain)))
        start = end
    return found


def words(text: str) -> list[str]:
    """The words of a text, with its upper and lower case. A character of a script without spaces is
    a word."""
    found: list[str] = []
    is_open = False
    for char in characters(text):
        if char.is_spaceless or not char.is_in_word:
            found += [char.plain] if char.is_in_word else []
            is_open = False
        elif is_open:
            found[-1] += char.plain
        else:
            found.append(char.plain)
            is_open = True
    return found


def _plain(char: str) -> str:
    if char.isspace():
        return " "
    folded = unicodedata.normalize("NFC", char).translate(_FOLDED)
    kind = unicodedata.decomposition(folded[0]).partition(" ")[0]
    return unicodedata.normalize("NFKC", folded) if kind in ("<wide>", "<narrow>") else folded
