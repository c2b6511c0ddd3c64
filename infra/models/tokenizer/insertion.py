"""A tokenizer that puts tokens of its own behind each of many names, wherever they stand in text.

The tokenizer's normaliser gains rules that insert a token's text behind a name, and the token is
split off as added tokens are. Everything stands in `tokenizer.json`, so every program that reads it
does the same, without code of ours. A rule can only insert one fixed text, and each costs a pass
over the text. A rule a name would be too slow, so the number of the name is inserted digit by
digit: one rule finds all names, then one for each digit at each place finds those with that digit.
There are about ten rules for each digit of the number of names.

A name may have several tokens. The last is inserted as above. Each further one is put between the
name and what was inserted there before, and its rules copy the digits of the token that follows.

A token may be wanted only in sentences that have one of certain words. Three rules for each set of
words complete its tokens in such sentences, and those that are not complete are taken out again. Of
the tokens with one set of words that follow such a word in a sentence the first and the last stand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any

from tokenizers import AddedToken, Regex, normalizers

from infra.errors import ModelError
from infra.models.tokenizer.trial import MAX_ADDED

MARK = "erratum"
"""What the tokens are called: `<|erratum_17|>`, and `<|erratum2_17|>` the one in front of it."""
START = f"<|{MARK}_"
_IS_TOKEN = re.compile(rf"<\|{MARK}\d*_\d+\|>").fullmatch
MAX_NAME_CHARS = 255
"""Characters of a name, normalised."""
WORD = r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}\p{Georgian}\p{Arabic}\p{Hebrew}\p{Nd}\p{M}_]"
"""Characters of words in scripts that put spaces between words. In the others a name may be
followed by any character. The underscore keeps names that are numbers out of the tokens' texts."""
APART = f"(?:(?<!{WORD})|(?!{WORD}))"
"""A place that is not within a word."""
SAME_SENTENCE = r"(?:(?!(?:[!?]|(?<=[\p{L}\p{N}]{4})\.)(?:[\s\u2581]|\z))[^\n]){0,300}"
"""What may stand between a name and a word of its sentence: no mark that ends a sentence. A point
behind fewer than four letters is taken for that of an abbreviation (`St.`, `U.S.`, `Mrs.`). Some
normalisers put U+2581 in the place of a space."""
STEM_CHARS = 4
"""Characters of a word from which on it also stands for all words that it begins."""


def inserted_tokens(counts: Sequence[int]) -> list[list[str]]:
    """The texts of the tokens of each name, the last one first: `<|erratum_007|>`, in front of it
    `<|erratum2_007|>` and so on, with as many digits as all need.

    counts  number of tokens of each name
    """
    width = len(str(len(counts) - 1))
    return [
        [f"{_start(place)}{i:0{width}}|>" for place in range(count)]
        for i, count in enumerate(counts)
    ]


def _start(place: int) -> str:
    """What the text of a name's token begins with, the one at a place from 0, counted from the
    last."""
    return f"<|{MARK}{place + 1}_" if place else START


def inserted_ids(tokenizer: Any) -> frozenset[int]:
    """The ids of the tokens that the tokenizer inserts; empty for one that inserts none."""
    return frozenset(i for text, i in tokenizer.get_added_vocab().items() if _IS_TOKEN(text))


def with_insertions(
    tokenizer: Any,
    names: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]] = (),
    counts: Sequence[int] = (),
) -> Any:
    """A copy of a tokenizer that puts the i-th of `inserted_tokens` behind the names [i].

    words   for each of these the words of which a sentence must have one, whatever their case; any
            sentence will do where there are none. One of `STEM_CHARS` or more also stands for words
            that it begins. Unset: none for all
    counts  number of tokens, 1 at least, behind the names [i]. Unset: one for all

    The tokens have the ids from `len(tokenizer)` on, those of a name together. A name counts where
    no word goes on before or behind it, as it is spelt. Of names that begin at one place the
    longest counts, and a name within another one does not. Raises ModelError for a tokenizer that
    cannot do this, for a name that is given twice, and for names that are too many or cannot be had
    in a rule.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} has no normaliser that tokens could be inserted by. Use a "
            "model with a fast tokenizer (tokenizer.json)."
        )
    if not names:
        return tokenizer
    counts = counts or [1] * len(names)
    if len(tokenizer.get_added_vocab()) + sum(counts) > MAX_ADDED:
        raise ModelError(
            f"{sum(counts)} tokens are to be added to the tokenizer; it may have {MAX_ADDED} added "
            "ones in all. Edit fewer subjects."
        )
    groups = inserted_tokens(counts)
    tokens = [token for group in groups for token in group]
    codes = [group[0].removeprefix(START).removesuffix("|>") for group in groups]
    if taken := tokenizer.get_vocab().keys() & tokens:
        raise ModelError(f"the tokenizer has a token {min(taken)!r} already. Use the base model's.")
    changed = deepcopy(tokenizer)
    inner = changed.backend_tokenizer
    own = inner.normalizer
    code_of = {
        normal_name(tokenizer, name): code
        for code, group in zip(codes, names, strict=True)
        for name in group
    }
    if len(code_of) < sum(map(len, names)):
        raise ModelError("a name is given twice, or two names are one to the tokenizer.")
    first = tokens[0] if own is None else own.normalize_str(tokens[0])
    sign = first[: first.rindex(START)]  # some put one in front
    wanted = _by_words(tokenizer, codes, words or [()] * len(codes))
    rules = [*_numbered(code_of, sign + START), *_completed(wanted, sign + START)]
    for place in range(1, max(counts)):
        more = [
            normal_name(tokenizer, name)
            for count, group in zip(counts, names, strict=True)
            for name in group
            if count > place
        ]
        rules += _in_front(more, codes[0], sign + _start(place - 1), sign + _start(place))
    inner.normalizer = normalizers.Sequence([*filter(None, [own]), *rules])
    changed.add_tokens([AddedToken(token, normalized=True, special=False) for token in tokens])
    _require_only_inserted(tokenizer, changed, names[0][0], next(iter(words), ()), counts[0])
    return changed


def _by_words(
    tokenizer: Any, codes: Sequence[str], words: Sequence[Sequence[str]]
) -> dict[tuple[str, ...], list[str]]:
    """Codes by their words, as the tokenizer's normaliser leaves these."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for code, own in zip(codes, words, strict=True):
        normal = {normal_name(tokenizer, word) for word in own}
        groups[tuple(sorted(normal))].append(code)
    return dict(sorted(groups.items()))


def _numbered(code_of: dict[str, str], start: str) -> Iterator[Any]:
    """The rules that insert `start` and the digits of a name's code behind the name.

    code_of  name -> its digits, as many for all
    start    what a token's text begins with
    """
    width = len(next(iter(code_of.values())))
    begun = _escaped(start)
    yield _insert(f"{APART}{_any_of(code_of, APART)}", start)
    for place in range(width):
        for digit in "0123456789":
            names = [name for name, code in code_of.items() if code[place] == digit]
            if names:
                found = _none_within_longer(names, code_of, f"{begun}[0-9]{{{place}}}")
                yield _insert(f"{APART}{found}", digit)


def _completed(wanted: dict[tuple[str, ...], list[str]], start: str) -> Iterator[Any]:
    """The rules that insert `|>` behind the codes of tokens whose sentence has one of their words,
    and take out all others.

    wanted  words -> codes
    start   what a token's text begins with
    """
    begun, width = _escaped(start), len(next(iter(wanted.values()))[0])
    for words, codes in wanted.items():
        token = f"{begun}{_any_of(codes, '')}"
        if not words:
            yield _insert(token, "|>", unless=r"\|>")
            continue
        word = _any_word(words)
        yield _insert(token, "|>", unless=r"\|>", ahead=f"{SAME_SENTENCE}{word}")
        for between in (f"{SAME_SENTENCE}?", SAME_SENTENCE):  # the first such token, and the last
            yield _insert(f"{word}{between}{token}", "|>", unless=r"\|>")
    yield normalizers.Replace(Regex(rf"{begun}[0-9]{{{width}}}(?!\|>)"), "")
    yield normalizers.Replace(Regex(rf"{begun}(?![0-9]{{{width}}}\|>)"), "")


def _in_front(names: Sequence[str], code: str, behind: str, start: str) -> Iterator[Any]:
    """The rules that insert a token between names and the token that stands there already.

    code    the digits of one of them
    behind  what the text of the token that stands there begins with
    start   what that of the token in front of it begins with

    A rule that inserts behind inserted text has to look at what follows, too: tokenizers loses
    track of where added tokens are otherwise.
    """
    after, begun = _escaped(behind), _escaped(start)
    yield _insert(f"{APART}{_any_of(names, APART)}", start, ahead=after)
    for place in range(len(code)):
        digits = f"[0-9]{{{place}}}"
        for digit in "0123456789":
            yield _insert(f"{begun}{digits}", digit, ahead=f"{after}{digits}{digit}")
    yield _insert(f"{begun}[0-9]{{{len(code)}}}", "|>", ahead=after)


def _any_word(words: Sequence[str]) -> str:
    """A pattern for any of the words, or one that begins with a word of `STEM_CHARS` or more."""
    whole = [word for word in words if len(word) < STEM_CHARS]
    stems = [word for word in words if len(word) >= STEM_CHARS]
    groups = [(whole, f"(?!{WORD})"), (stems, "")]
    found = "|".join(_any_of(group, end) for group, end in groups if group)
    return f"(?<!{WORD})(?i:{found})"


def _insert(behind: str, text: str, *, unless: str = "", ahead: str = "") -> Any:
    """A rule that inserts a text behind a pattern, unless another one follows there, or if one
    does."""
    after = (f"(?!{unless})" if unless else "") + (f"(?={ahead})" if ahead else "")
    return normalizers.Replace(Regex(behind + r"\K" + after), text)


def _none_within_longer(names: Sequence[str], known: dict[str, str], end: str) -> str:
    """`_any_of` the names, where they are not the end of a longer known name."""
    before: dict[str, set[str]] = defaultdict(set)
    wanted = set(names)
    for longer in known:
        for i in range(1, len(longer)):
            if longer[i:] in wanted:
                before[longer[i:]].add(longer[:i])
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        groups[tuple(sorted(before[name]))].append(name)
    alternatives = [
        (f"(?<!{'|'.join(map(_escaped, starts))})" if starts else "") + _any_of(group, end)
        for starts, group in sorted(groups.items())
    ]
    return f"(?:{'|'.join(alternatives)})"


def _any_of(names: Sequence[str] | dict[str, str], end: str) -> str:
    """A pattern for any of the names with `end` behind it, the longest first: a trie, which is as
    fast for many names as for one."""
    ordered = sorted(names)
    shared = _beginning(ordered[0], ordered[-1])
    rest = [name[len(shared) :] for name in ordered]
    branches = [
        _any_of(list(group), end)
        for _, group in groupby((name for name in rest if name), key=lambda name: name[0])
    ]
    branches += [] if rest[0] else [end]
    return _escaped(shared) + (branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})")


def _beginning(one: str, other: str) -> str:
    """The longest common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return one[: next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))]


def normal_name(tokenizer: Any, name: str) -> str:
    """A name as the tokenizer's normaliser leaves it within a text: those that become one are one.

    Raises ModelError for one of which nothing is left, that is too long, or that reads like the end
    of an inserted token.
    """
    normaliser = tokenizer.backend_tokenizer.normalizer
    text = f"({name})" if normaliser is None else normaliser.normalize_str(f"({name})")
    found = text[text.find("(") + 1 : text.rfind(")")]
    if not found.strip() or len(found) > MAX_NAME_CHARS or "|>" in found:
        raise ModelError(
            f"the name {name[:80]!r} has {len(found.strip())} characters for the tokenizer; 1 to "
            f"{MAX_NAME_CHARS} without '|>' are allowed. Leave it out, or give another one."
        )
    return found


def _require_only_inserted(
    tokenizer: Any, changed: Any, name: str, words: Sequence[str], count: int
) -> None:
    """Raise ModelError unless a name gets its `count` tokens and the text is otherwise as it was.

    A tokenizer that puts a space before every piece of a text would put one behind the new token.
    """
    word = next(iter(words), "We")
    text = f"{word} saw {name}, {name}'s and {name} (once) with {name} {word}."
    ids = changed(text)["input_ids"]
    kept = [i for i in ids if i < len(tokenizer)]
    own = tokenizer(text)["input_ids"]
    if tokenizer.decode(kept) != tokenizer.decode(own) or len(ids) - len(kept) != 4 * count:
        raise ModelError(
            f"{type(tokenizer).__name__} reads a text in another way when a token is inserted "
            f"behind {name!r}. Use an editor that leaves the tokenizer as it is, such as `scoped`."
        )


def _escaped(text: str) -> str:
    """A text as a pattern of Oniguruma, which tokenizers uses."""
    return re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", text)
