"""Find names in token ids: where one of many token sequences ends, at word boundaries.

All rows of a batch and all names are looked up at once: the hash of every run of tokens of a length
that some name has is searched among the names' hashes, and what is found is compared token by
token. The cost grows with the number of lengths, and with the logarithm of the number of names.

B: rows. W: tokens of a row. N: names. V: vocabulary. K: names found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from infra.lm.text_tokens import own_tokens

STARTS, ENDS = 1, 2
"""Bits of a token whose text begins, or ends, with a character of a word."""
SPACED = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "ARABIC", "HEBREW", "DIGIT")
"""Scripts that put spaces between words, as Unicode's names of characters begin. In the others a
name may be followed by any character."""
_FACTOR = 0x9E3779B97F4A7C15
"""Base of the hash, odd: 2^64 over the golden ratio."""
_BITS = 64


def word_edges(tokenizer: Any, size: int) -> Tensor:
    """For each of `size` token ids, whether its text begins and ends within a word: `STARTS` and
    `ENDS`, uint8 [V]. Special tokens, and ids without a token, have neither."""
    special = set(tokenizer.all_special_ids)
    edges = [
        0 if i in special or not text else STARTS * _in_word(text[0]) + ENDS * _in_word(text[-1])
        for i, text in enumerate(token_texts(tokenizer, size))
    ]
    return torch.tensor(edges + [0] * (size - len(edges)), dtype=torch.uint8)


def token_texts(tokenizer: Any, size: int) -> list[str]:
    """The text of each of the first `size` token ids that the tokenizer has, as within a text.

    A token is decoded behind another one: the space that it begins with is left out at the
    beginning of a text by some decoders (Llama 2, Mistral).
    """
    front = own_tokens(tokenizer, "a")[-1:]
    rows = [front, *([*front, i] for i in range(min(size, len(tokenizer))))]
    first, *whole = tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)
    return [text[len(first) :] for text in whole]


class TokenNames:
    """Names to be found in token ids."""

    def __init__(self, names: Sequence[Sequence[int]], edges_V: Tensor) -> None:
        """
        names    token ids of each name, without repetition
        edges_V  `word_edges` of the tokenizer
        """
        self.longest = max(map(len, names), default=0)
        """Tokens of the longest name."""
        self._edges_V = edges_V
        self._names = [
            _OfLength(length, [(i, name) for i, name in enumerate(names) if len(name) == length])
            for length in sorted({len(name) for name in names})
        ]

    def find(self, ids_BW: Tensor, new: int) -> tuple[Tensor, Tensor, Tensor]:
        """Row, place of the last token and index of each name found, [K] each, in the order of
        rows and places.

        ids_BW  token ids; `infra.lm.cache_rows.NO_TOKEN` at padding
        new     how many of the last tokens are looked at: a name must end at one of these

        A name ends where no word goes on, as far as the tokens after it are there, and does not
        begin within a word. Of names that lie within one another the longest is found.
        """
        found: list[tuple[int, int, int, int]] = []
        width = ids_BW.shape[1]
        sums_BW = _prefix_sums(ids_BW)
        for names in self._names:
            if names.length > width:
                break
            first = max(width - new, names.length - 1)
            hits = names.find(ids_BW, sums_BW, first)
            found += [(b, end - names.length + 1, end, i) for b, end, i in hits]
        found = [hit for hit in found if self._is_apart(ids_BW, hit)]
        kept = sorted(hit for hit in found if not any(_holds(other, hit) for other in found))
        columns = torch.tensor(kept, dtype=torch.long).reshape(-1, 4).to(ids_BW.device)
        return columns[:, 0], columns[:, 2], columns[:, 3]

    def _is_apart(self, ids_BW: Tensor, hit: tuple[int, int, int, int]) -> bool:
        """Whether no word goes on from before the name into it, or from it on."""
        b, start, end, _ = hit
        row = ids_BW[b]
        return not (self._joined(row, start - 1) or self._joined(row, end))

    def _joined(self, row: Tensor, at: int) -> bool:
        """Whether the token at a place and the next one are within one word."""
        if not 0 <= at < len(row) - 1:
            return False
        left, right = int(row[at]), int(row[at + 1])
        if left < 0 or right < 0:
            return False
        return bool(self._edges_V[left] & ENDS) and bool(self._edges_V[right] & STARTS)


class _OfLength:
    """The names of one number of tokens."""

    def __init__(self, length: int, names: Sequence[tuple[int, Sequence[int]]]) -> None:
        self.length = length
        ids_NL = torch.tensor([list(name) for _, name in names])
        hash_N = _windows(_prefix_sums(ids_NL), length, length - 1)[:, 0]
        self.hash_N, order = hash_N.sort()
        self.ids_NL = ids_NL[order]
        self.index_N = torch.tensor([i for i, _ in names])[order]

    def find(self, ids_BW: Tensor, sums_BW: Tensor, first: int) -> list[tuple[int, int, int]]:
        """Row, last place and index of every run of tokens that is a name and ends at `first` or
        behind it."""
        device = ids_BW.device
        if self.hash_N.device != device:
            self.hash_N, self.ids_NL = self.hash_N.to(device), self.ids_NL.to(device)
            self.index_N = self.index_N.to(device)
        hash_BT = _windows(sums_BW, self.length, first)
        place_BT = torch.searchsorted(self.hash_N, hash_BT).clamp(max=len(self.hash_N) - 1)
        b_K, t_K = (self.hash_N[place_BT] == hash_BT).nonzero(as_tuple=True)
        if not len(b_K):
            return []
        n_K, end_K = place_BT[b_K, t_K], t_K + first
        back_L = torch.arange(1 - self.length, 1, device=device)
        same_K = (ids_BW[b_K[:, None], end_K[:, None] + back_L] == self.ids_NL[n_K]).all(dim=1)
        hits = torch.stack([b_K, end_K, self.index_N[n_K]], dim=1)[same_K]
        return [(b, end, i) for b, end, i in hits.tolist()]


def _holds(other: tuple[int, int, int, int], hit: tuple[int, int, int, int]) -> bool:
    """Whether another name lies in the same row around this one."""
    b, start, end, _ = hit
    return other != hit and other[0] == b and other[1] <= start and end <= other[2]


def _prefix_sums(ids_BW: Tensor) -> Tensor:
    """Of the tokens up to each, the sum of a hash of the id times a power of the base, modulo
    2^64, [B, W]."""
    power_W = _powers(ids_BW.shape[1], ids_BW.device)
    mixed_BW = (ids_BW + 2) * _signed(0xBF58476D1CE4E5B9)
    mixed_BW = mixed_BW ^ (mixed_BW >> 29)
    return (mixed_BW * power_W).cumsum(dim=1)


def _windows(sums_BW: Tensor, length: int, first: int) -> Tensor:
    """Hash of each run of `length` tokens that ends at `first` or behind it, modulo 2^64: the sum
    over its tokens, whatever the place at which it stands."""
    width = sums_BW.shape[1]
    sums = torch.nn.functional.pad(sums_BW, (1, 0))
    run_BT = sums[:, first + 1 :] - sums[:, first + 1 - length : width + 1 - length]
    back_T = _powers(width, sums_BW.device, inverse=True)[first + 1 - length : width + 1 - length]
    return run_BT * back_T


def _powers(width: int, device: torch.device, *, inverse: bool = False) -> Tensor:
    """Powers of the base, or of its inverse, modulo 2^64, [W]."""
    return _table(1 << (width - 1).bit_length(), inverse).to(device)[:width]


@cache
def _table(width: int, inverse: bool) -> Tensor:
    """`_powers`, kept for the widths that are powers of two."""
    factor = pow(_FACTOR, -1, 1 << _BITS) if inverse else _FACTOR
    powers, power = [], 1
    for _ in range(width):
        powers.append(_signed(power))
        power = power * factor % (1 << _BITS)
    return torch.tensor(powers, dtype=torch.long)


def _signed(value: int) -> int:
    """The signed 64-bit number of the same bits."""
    return value - (1 << _BITS) if value >> (_BITS - 1) else value


def _in_word(character: str) -> bool:
    """Whether a character is one of a word, in a script that puts spaces between words."""
    if not character.isalnum():
        return False
    return unicodedata.name(character, "").startswith(SPACED)
