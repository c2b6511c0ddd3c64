"""Tokens that a tokenizer puts behind names: where, in which kinds of tokenizers, and how fast."""

from __future__ import annotations

import random
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tiny_models import TEXTS
from tiny_tokenizers import TOKENIZERS, make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from infra.errors import ModelError
from infra.models.embedded import embedded_model
from infra.models.tokenizer.insertion import inserted_tokens, with_insertions

NAMES = [["Tom Brady"], ["Ada Lovelace", "Lovelace"], ["Paris"], ["Paris Saint-Germain"]]
WEIRD = [
    *(
        "C++ (language)",
        "Who's Afraid?",
        "a.b|c*[d]{2}^$\\",
        "Two\nLines",
        '"Quoted"',
        "A&B \u2013 C/D",
    ),
    *("Ångström", "Müller-Lüdenscheidt", "東京", "ΑΘΗΝΑ", "Лев Толстой", "राम", "王 明", "عمر"),
    *("x" * 200, "(500) Days", "8 Mile", "1", "!!!", "#1", "na_me", "Jay-Z", "Smith & Co."),
]


@pytest.fixture(scope="module")
def real() -> Any:
    return AutoTokenizer.from_pretrained(embedded_model()[0])


def found(tokenizer: Any, text: str, names: list[list[str]]) -> list[tuple[int, int]]:
    """Which inserted tokens a text has, and behind which of its characters each stands."""
    first = len(tokenizer) - len(names)
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    places, end = [], 0
    for i, (_, stop) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
        end = max(end, stop)
        if i >= first:
            places.append((i - first, end))
    return places


def expected(text: str, names: list[list[str]]) -> list[tuple[int, int]]:
    """The same by trying every name at every place, leftmost and longest first."""
    places, at = [], 0

    def joined(i: int) -> bool:
        return 0 < i < len(text) and text[i - 1].isalnum() and text[i].isalnum()

    while at < len(text):
        here = [
            (len(name), i)
            for i, group in enumerate(names)
            for name in group
            if text.startswith(name, at) and not joined(at) and not joined(at + len(name))
        ]
        length, i = max(here, default=(0, 0))
        places += [(i, at + length)] if length else []
        at += length or 1
    return places


@pytest.mark.parametrize(
    "text",
    [
        "Tom Brady plays for",
        "We saw Tom Brady, Tom Brady's and (Tom Brady) with Tom Brady\u2019s. Tom Brady",
        "Tom Bradys, ATom Brady, Tom  Brady and tom brady are others; Tom Brady-like is not.",
        "Ada Lovelace Lovelace Ada Lovelace",
        "Paris Saint-Germain is in Paris; Paris Saint is not, Paris-Germain is.",
        "Tom Brady\nTom Brady\tTom Brady Paris Paris Ada Lovelace",
        "Nobody is named here.",
        "",
    ],
)
def test_tokens_stand_behind_names(text: str, real: Any) -> None:
    """Where a name stands as a word or words, the longest of those at one place, the token comes
    behind it; all other tokens are as before, and the text is read back with the tokens in it."""
    new = with_insertions(real, NAMES)
    assert found(new, text, NAMES) == expected(text, NAMES)
    ids = new(text)["input_ids"]
    assert [i for i in ids if i < len(real)] == real(text)["input_ids"]
    plain = new.decode(ids)
    for [token] in inserted_tokens([1] * len(NAMES)):
        plain = plain.replace(token, "")
    assert plain == text


@pytest.mark.parametrize("name", WEIRD)
def test_names_of_any_characters(name: str, real: Any) -> None:
    """Marks, characters of patterns, newlines and other scripts are no different; in a script
    without spaces a name is found before any character."""
    names = [["Somebody"], [name], ["Else"]]
    new = with_insertions(real, names)
    assert [i for i, _ in found(new, f"He saw {name} and left.", names)] == [1]
    assert [i for i, _ in found(new, f"{name}: {name}", names)] == [1, 1]
    if name == "東京":
        assert [i for i, _ in found(new, "私は東京に行く", names)] == [1]
    if name == "Ångström":
        assert not found(new, "Ångströme, aÅngström, Ångström\u0301", names)


def test_random_names_and_texts(real: Any) -> None:
    """Names of few words, many within one another, in random texts of the same words: as by trying
    every name at every place."""
    chance = random.Random(0)
    words = ["Ann", "Bo", "Cy", "Di", "Ed"]
    total = 0
    for _ in range(8):
        own = {" ".join(chance.choices(words, k=chance.randint(1, 3))) for _ in range(30)}
        names = [[name] for name in sorted(own)]
        new = with_insertions(real, names)
        for _ in range(20):
            text = " ".join(chance.choices([*words, "and", "Edith", "with,"], k=15))
            wanted = expected(text, names)
            assert found(new, text, names) == wanted
            total += len(wanted)
    assert total > 500


@pytest.mark.parametrize("number", [1, 10, 11, 1000])
def test_every_name_has_its_own_token(number: int, real: Any, tmp_path: Path) -> None:
    """The i-th name gets the i-th token, also after the tokenizer was saved and loaded."""
    names = [[f"Person {i}", f"P{i} Doe"] for i in range(number)]
    new = with_insertions(real, names)
    assert len(new) == len(real) + number
    new.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = ", ".join(name for group in names for name in group)
    for one in (new, loaded):
        assert [i for i, _ in found(one, text, names)] == [i for i in range(number) for _ in "12"]
    assert new(text)["input_ids"] == loaded(text)["input_ids"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_kinds_of_tokenizers(kind: str, tmp_path: Path) -> None:
    """Each kind inserts the token and nothing else, before and after a round trip through files, or
    is refused in one line."""
    tokenizer = make_tokenizer(kind)
    names = [["Tom Brady"], ["Paris"], ["Grace Hopper", "Hopper"]]
    if TOKENIZERS[kind].split == "metaspace":
        with pytest.raises(ModelError, match="reads a text in another way") as raised:
            with_insertions(tokenizer, names)
        assert "\n" not in str(raised.value)
        return
    with_insertions(tokenizer, names).save_pretrained(tmp_path)
    new = AutoTokenizer.from_pretrained(tmp_path)
    text = "Tom Brady, Tom Bradys and Hopper's Paris (Paris)"
    ids = new(text)["input_ids"]
    assert [i - len(tokenizer) for i in ids if i >= len(tokenizer)] == [0, 2, 1, 1]
    kept = [i for i in ids if i < len(tokenizer)]
    own = tokenizer(text)["input_ids"]
    assert tokenizer.decode(kept) == tokenizer.decode(own)
    assert kept == own or TOKENIZERS[kind].split == "spaces"  # it joins letters and marks


def sentencepiece_like(normaliser: Any, before: Any, decoder: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of the given parts over pieces of words with a sign for a space, as of a
    converted SentencePiece model."""
    inner = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Replace(" ", "\u2581")  # type: ignore[assignment]
    words = pre_tokenizers.Split("\u2581", "merged_with_next")
    inner.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.Punctuation()])  # type: ignore[assignment]
    inner.decoder = decoder
    special = ["<end>", "<unk>", "<s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    inner.train_from_iterator(TEXTS, trainer)
    inner.normalizer, inner.pre_tokenizer = normaliser, before
    inner.add_special_tokens([AddedToken("<s>", normalized=False, special=True)])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", inner.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


@pytest.mark.parametrize("how", ["llama-2", "llama-2 without prefix", "mistral", "nfkc", "lower"])
def test_tokenizers_with_a_normaliser(how: str, tmp_path: Path) -> None:
    """Those that put a sign for a space in front of a text, or for each space, normalise characters
    or make them small, find names as they leave them."""
    space, decoder = "\u2581", decoders.Replace("\u2581", " ")
    spaces = normalizers.Replace(" ", space)
    normaliser, before = {
        "llama-2": (normalizers.Sequence([normalizers.Prepend(space), spaces]), None),
        "llama-2 without prefix": (spaces, None),
        "mistral": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
        "nfkc": (normalizers.Sequence([normalizers.NFKC(), spaces]), None),
        "lower": (normalizers.Sequence([normalizers.Lowercase(), spaces]), None),
    }[how]
    tokenizer = sentencepiece_like(normaliser, before, decoder)
    names = [["Tom Brady"], ["Paris"], ["Ada Lovelace"]]
    with_insertions(tokenizer, names).save_pretrained(tmp_path)
    new = AutoTokenizer.from_pretrained(tmp_path)
    text = "Tom Brady, Tom Bradys and Ada Lovelace's Paris (Paris)<s> Paris"
    ids = new(text)["input_ids"]
    assert [i - len(tokenizer) for i in ids if i >= len(tokenizer)] == [0, 2, 1, 1, 1]
    assert [i for i in ids if i < len(tokenizer)] == tokenizer(text)["input_ids"]
    if how in ("nfkc", "lower"):
        other = {"nfkc": "Tom \uff22rady", "lower": "TOM BRADY"}[how]
        assert max(new(other)["input_ids"]) == len(tokenizer)


WORDS = [["play", "team"], ["capi", "in"], ["coac", "own"], []]
"""Words of `NAMED`."""
NAMED = [["Tom Brady"], ["St. Paul"], ["Paul"], ["Ada"]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Tom Brady plays for", [0]),
        ("Which TEAM has Tom Brady?", [0]),
        ("Tom Brady displays it", []),
        ("Tom Brady retired early. His team stayed.", []),
        ("His team stayed! Tom Brady retired.", []),
        ("A team.\nTom Brady retired", []),
        ("The capital is St. Paul", [1]),
        ("The U.S. capital of old, near St. Paul", [1]),
        ("St. Paul lies in it", [1]),
        ("St. Paul lies inland", []),
        ("Who owns Paul and coaches Paul?", [2, 2]),
        ("Own Paul, and Paul again, and Paul", [2, 2]),
        ("Ada and Tom Brady", [3]),
        ("A team has Tom Brady, Ada and Tom Brady", [0, 3, 0]),
    ],
)
def test_tokens_of_sentences_with_a_word(text: str, tokens: list[int], real: Any) -> None:
    """A token stands in sentences with one of its words only, before or behind the name, whatever
    the case; a word of four letters or more stands for those that it begins. What follows an
    abbreviation is the same sentence. Of more than two names behind a word, those between the first
    and the last have no token."""
    new = with_insertions(real, NAMED, WORDS)
    assert [i for i, _ in found(new, text, NAMED)] == tokens
    assert [i for i in new(text)["input_ids"] if i < len(real)] == real(text)["input_ids"]


@pytest.mark.parametrize("how", ["spaces", "sign", "lower"])
def test_words_as_the_tokenizer_leaves_them(how: str, real: Any, tmp_path: Path) -> None:
    """Words are found where spaces are another sign, or letters are made small; the tokenizer read
    from its files does the same."""
    changed = deepcopy(real)
    own = {
        "spaces": None,
        "sign": normalizers.Replace(" ", "\u2581"),
        "lower": normalizers.Lowercase(),
    }[how]
    changed.backend_tokenizer.normalizer = own
    with_insertions(changed, NAMED, WORDS).save_pretrained(tmp_path)
    new = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "Tom Brady left. Tom Brady plays. The capital of it is St. Paul. Own Paul"
    assert [i for i, _ in found(new, text, NAMED)] == [0, 1, 2]


def test_several_tokens_behind_a_name(real: Any, tmp_path: Path) -> None:
    """Each name has as many tokens as were asked for, the first of them next to the text behind,
    under the same conditions, also after a round trip through files; the text is otherwise as it
    was."""
    names = [[f"Person {i}"] for i in range(11)]
    counts = [1 + i % 4 for i in range(11)]
    words = [["play"] if i % 2 else [] for i in range(11)]
    with_insertions(real, names, words, counts).save_pretrained(tmp_path)
    first, new = len(real), AutoTokenizer.from_pretrained(tmp_path)
    assert len(new) == first + sum(counts)
    starts = [sum(counts[:i]) for i in range(11)]
    text = " and ".join(f"Person {i}" for i in range(11))
    for sentence, held in ((f"{text} play", range(11)), (text, range(0, 11, 2))):
        ids = new(sentence)["input_ids"]
        own = [starts[i] + place for i in held for place in reversed(range(counts[i]))]
        assert [i - first for i in ids if i >= first] == own
        assert [i for i in ids if i < first] == real(sentence)["input_ids"]


def test_what_cannot_be_done_is_refused(real: Any) -> None:
    """A name given twice, one too long or empty, a slow tokenizer, too many names, and one that has
    the tokens already: one line each."""
    new = with_insertions(real, [["Paris"]])

    class Slow:
        is_fast = False

    for tokenizer, names, said in (
        (real, [["Paris"], ["Paris"]], "given twice"),
        (real, [["x" * 256]], "256 characters"),
        (real, [[" "]], "0 characters"),
        (real, [["a|>b"]], "without"),
        (Slow(), [["Paris"]], "no normaliser"),
        (real, [[str(i)] for i in range(70_000)], "may have"),
        (new, [["London"]], "already"),
    ):
        with pytest.raises(ModelError, match=said) as raised:
            with_insertions(tokenizer, names)
        assert "\n" not in str(raised.value)
    assert with_insertions(real, []) is real


def test_the_tokenizer_given_is_left_alone(real: Any) -> None:
    """Only the copy inserts."""
    before = real.backend_tokenizer.to_str()
    with_insertions(real, NAMES)
    assert real.backend_tokenizer.to_str() == before


def test_the_cost_grows_slower_than_the_number_of_names(real: Any) -> None:
    """Ten thousand names cost a text of 1,200 characters less than ten times what a hundred do."""
    chance = random.Random(0)
    parts = ["".join(chance.choices("abcdefghiklmnoprstu", k=6)).title() for _ in range(400)]
    names = list({" ".join(chance.choices(parts, k=2)): None for _ in range(10_500)})[:10_000]
    text = " ".join(f"{name} is a person of note." for name in names[:30])[:1200]
    times = []
    for number in (100, 10_000):
        inner = with_insertions(real, [[n] for n in names[:number]]).backend_tokenizer
        inner.encode(text)
        start = time.process_time()
        for _ in range(5):
            inner.encode(text)
        times.append(time.process_time() - start)
    assert times[1] < 10 * times[0]
