"""Names found in token ids: all of them, at once, and where words end."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tiny_tokenizers import TOKENIZERS, make_tokenizer
from torch import Tensor

from editors.deltas.token_names import TokenNames, word_edges
from editors.internals.tokens import encode_name
from infra.models.loading import EMBEDDED, load, locate

NO_EDGES = torch.zeros(60, dtype=torch.uint8)
Hit = tuple[int, int, int, int]


def one_by_one(names: list[tuple[int, ...]], ids: Tensor, new: int) -> list[tuple[int, int, int]]:
    """Row, last place and index of each name, by comparing every name with every place."""
    found: list[Hit] = []
    for b, row in enumerate(ids.tolist()):
        for i, name in enumerate(names):
            found += [
                (b, end - len(name) + 1, end, i)
                for end in range(max(len(row) - new, len(name) - 1), len(row))
                if tuple(row[end - len(name) + 1 : end + 1]) == name
            ]

    def within(hit: Hit, other: Hit) -> bool:
        return other != hit and other[0] == hit[0] and other[1] <= hit[1] and hit[2] <= other[2]

    kept = sorted(hit for hit in found if not any(within(hit, other) for other in found))
    return [(b, end, i) for b, _, end, i in kept]


def found(names: TokenNames, ids: Tensor, new: int) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in names.find(ids, new)), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_as_one_by_one(seed: int) -> None:
    """Few tokens and many names: overlapping ones, some within others, padding between."""
    chance = random.Random(seed)
    names = list({tuple(chance.choices(range(9), k=chance.randint(1, 4))) for _ in range(60)})
    for _ in range(10):
        width = chance.randint(1, 20)
        ids = torch.tensor([chance.choices(range(-1, 9), k=width) for _ in range(3)])
        new = chance.randint(1, width)
        assert found(TokenNames(names, NO_EDGES), ids, new) == one_by_one(names, ids, new)


def test_no_names_and_no_room() -> None:
    """Nothing is found where there are no names, or none is short enough."""
    ids = torch.tensor([[1, 2]])
    assert found(TokenNames([], NO_EDGES), ids, 2) == []
    assert found(TokenNames([(1, 2, 3)], NO_EDGES), ids, 2) == []


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load(locate(EMBEDDED).path, dtype=torch.bfloat16)[1]


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("Liam Trotter", True),
        ("Today Liam Trotter plays for", True),
        ("Liam Trotter's club", True),
        ("(Liam Trotter)", True),
        ("«Liam Trotter» plays", True),
        ("1. Liam Trotter\n2. Liam", True),
        ("Liam Trottery plays", False),
        ("Liam Trotter2 plays", False),
        ("WilLiam Trotter plays", False),
        ("liam trotter plays", False),
        ("Liam plays for Trotter", False),
    ],
)
def test_at_the_edges_of_words(text: str, is_found: bool, tokenizer: Any) -> None:
    """The embedded model's tokens: a name within a longer word is none."""
    marks = ("", "a ", '"', "(", "\n")
    names = {encode_name(tokenizer, f"{m}Liam Trotter", (len(m), len(m) + 12)) for m in marks} - {
        ()
    }
    edges_V = word_edges(tokenizer, len(tokenizer))
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    assert bool(found(TokenNames(sorted(names), edges_V), ids, ids.shape[1])) == is_found


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_by_every_kind_of_tokenizer(kind: str) -> None:
    """Also by those whose decoder leaves out the space that a text begins with (Llama 2, T5)."""
    split = make_tokenizer(kind)
    marks = ("", "a ", "\n")
    names = {encode_name(split, f"{m}Grace Hopper", (len(m), len(m) + 12)) for m in marks} - {()}
    search = TokenNames(sorted(names), word_edges(split, len(split)))
    for text, is_found in (
        ("Grace Hopper works for", True),
        ("Many say that Grace Hopper works for", True),
        ("the company of Grace Hopper", True),
        ("Grace Hoppers works for", False),
        ("Grace works for Hopper", False),
    ):
        ids = torch.tensor([split(text)["input_ids"]])
        assert bool(found(search, ids, ids.shape[1])) == is_found, text


@pytest.mark.parametrize("kind", ["llama-2", "gemma", "t5"])
def test_a_name_with_an_unknown_character_is_none(kind: str) -> None:
    """Its token stands for any character that the tokenizer does not know."""
    split = make_tokenizer(kind)
    assert encode_name(split, "東京", (0, 2)) == () != encode_name(split, "Paris", (0, 5))


def test_scripts_without_spaces_have_no_edges(tokenizer: Any) -> None:
    """東京都 names 東京; Tokyoite does not name Tokyo."""
    edges_V = word_edges(tokenizer, len(tokenizer))
    for name, text, is_found in (("東京", "東京都", True), ("Tokyo", "Tokyoite", False)):
        names = [tuple(tokenizer(name)["input_ids"])]
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        assert bool(found(TokenNames(names, edges_V), ids, ids.shape[1])) == is_found
