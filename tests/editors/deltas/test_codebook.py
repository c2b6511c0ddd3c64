"""The codebook's rules against a slow list of balls; removal by replay; files; lookups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import request
from hypothesis import given, settings
from hypothesis import strategies as st

from editors.deltas.codebook import GAP, SAME_PLACE, Codebook, Record, place
from editors.deltas.codebook_hooks import nearest
from editors.deltas.delta import Delta
from infra.errors import EditError

NAME = "model.layers.1.mlp.down_proj"
Line = tuple[tuple[int, int], int, int]
"""Key, label, deferral radius."""
lines = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 9), st.integers(0, 9)), st.integers(0, 2), st.integers(1, 3)
    ),
    max_size=14,
)


def record(line: Line, index: int, width: int = 1) -> Record:
    key, label, eps = line
    return Record(
        request=request(f"Prompt {index} is", "Prompt", f"target {label}", name=str(index)),
        label=(label, 5 - label),
        key_I=torch.tensor(key, dtype=torch.float64) * (1 + 1e-9 * index),  # no exact ties
        value_D=torch.full((width,), float(index)),
        eps=float(eps),
    )


def records(written: list[Line]) -> list[Record]:
    return [record(line, index) for index, line in enumerate(written)]


def slow(written: list[Record]) -> list[tuple[int, float]]:
    """Algorithm 1 as it is read: (record, radius) of each ball, dead ones left out."""
    balls: list[list[Any]] = []
    for row, new in enumerate(written):
        found = sorted(
            (float((new.key_I - written[ball[0]].key_I).norm()), i) for i, ball in enumerate(balls)
        )
        if not found or found[0][0] > new.eps + balls[found[0][1]][1]:
            balls.append([row, new.eps])
            continue
        d, ball = found[0][0], balls[found[0][1]]
        if written[ball[0]].label == new.label:
            if d > ball[1]:
                ball[1] = d
        elif d <= SAME_PLACE * new.eps:
            balls.append([row, min(ball[1], new.eps)])
            balls.remove(ball)
        else:
            ball[1] = min(ball[1], d / 2 * (1 - GAP))
            balls.append([row, min(new.eps, d / 2)])
    return [(ball[0], ball[1]) for ball in balls]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(written=lines)
def test_replay_equals_a_slow_list_of_balls(written: list[Line]) -> None:
    """Add, expand, split and supersede, in any order, give the balls of the plain algorithm."""
    log = records(written)
    book = Codebook(NAME).extended(log)
    found = [(row, r) for row, r in zip(book.entries, book.radii, strict=True) if r >= 0]
    expected = slow(log)
    assert [row for row, _ in found] == [row for row, _ in expected], f"{found} != {expected}"
    assert [r for _, r in found] == pytest.approx([r for _, r in expected], rel=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(written=lines, cut=st.integers(0, 14), gone=st.sets(st.integers(0, 13)))
def test_removal_is_never_having_added(written: list[Line], cut: int, gone: set[int]) -> None:
    """Bitwise: without some ids = the others alone; written in two goes = in one."""
    log = records(written)
    book = Codebook(NAME).extended(log)
    ids = {str(i) for i in gone}
    others = [line for line in log if line.request.id not in ids]
    assert book.without(ids).digest == Codebook(NAME).extended(others).digest
    first, second = (Codebook(NAME).extended(part) for part in (log[:cut], log[cut:]))
    assert first.extended(log[cut:]).digest == book.digest == first.join(second).digest


def test_deleting_a_row_would_not_be_exact() -> None:
    """A split shrinks a neighbour: replay gives its radius back, dropping the row would not."""
    log = [record(((0, 0), 0, 2), 0), record(((3, 0), 1, 2), 1)]
    book = Codebook(NAME).extended(log)
    assert book.radii[0] == pytest.approx(1.5, rel=1e-4)
    assert book.without({"1"}).radii == (2.0,)


def test_rules_one_by_one() -> None:
    """Each branch of algorithm 1; a split never widens either ball beyond what it was allowed."""
    assert place(2.1, 1.0, same_label=False, eps=1.0) == (1.0, 1.0)
    assert place(1.5, 1.0, same_label=True, eps=1.0) == (1.5, None)
    assert place(0.5, 1.0, same_label=True, eps=1.0) == (1.0, None)
    assert place(1.0, 1.0, same_label=False, eps=1.0) == (0.5 * (1 - GAP), 0.5)
    assert place(1.1, 0.2, same_label=False, eps=1.0) == (0.2, 0.55)
    assert place(4.0, 3.5, same_label=False, eps=1.0) == (2 * (1 - GAP), 1.0)


def test_labels_are_sequences_not_means() -> None:
    """(1, 3), (2, 2) and (3, 1) have one mean and are three answers."""
    log = [
        Record(
            request(f"Prompt {i} is", "Prompt", "x"),
            label,
            torch.tensor([0.1 * i]),
            torch.ones(1),
            1.0,
        )
        for i, label in enumerate([(1, 3), (2, 2), (3, 1)])
    ]
    assert len(Codebook(NAME).extended(log).alive) == 3


def test_a_later_answer_at_one_place_takes_it_over() -> None:
    """The same key with another target: the later one answers, the earlier is no longer in force,
    and taking the later one back brings the earlier one back."""
    log = [record(((3, 4), 0, 1), 0), record(((3, 4), 1, 1), 1)]
    book = Codebook(NAME).extended(log)
    assert [r.request.id for r, _ in book.alive] == ["1"] == [q.id for q in book.requests]
    assert [r.request.id for r in book.lost()] == ["0"]
    assert [q.id for q in book.without({"1"}).requests] == ["0"]


def test_nearest_is_the_nearest() -> None:
    """One product for a batch finds what every pair by itself does; a key is at zero from itself,
    far from the origin too."""
    torch.manual_seed(0)
    keys_NI, query_BI = torch.randn(40, 16), torch.randn(25, 16)
    index_B, distance_B = nearest(query_BI, keys_NI)
    pairs_BN = torch.stack([(keys_NI - query_I).norm(dim=1) for query_I in query_BI])
    assert torch.equal(index_B, pairs_BN.argmin(1))
    torch.testing.assert_close(distance_B, pairs_BN.amin(1))
    far_NI = keys_NI + 1000
    index_B, distance_B = nearest(far_NI, far_NI)
    assert torch.equal(index_B, torch.arange(40)) and not distance_B.any()


def test_files_keep_every_bit(tmp_path: Path) -> None:
    """A codebook by itself, and in a delta: log, radii and requests survive, in no pickle."""
    log = [record(((i, i * i % 7), i % 3, 2), i) for i in range(8)]
    book = Codebook(NAME).extended(log)
    book.save(tmp_path / "book.safetensors")
    again = Codebook.load(tmp_path / "book.safetensors")
    assert again.digest == book.digest and again.requests == book.requests
    assert again.without({"3"}).digest == book.without({"3"}).digest
    delta = Delta((book,))
    delta.save(tmp_path / "delta.safetensors")
    loaded = Delta.load(tmp_path / "delta.safetensors")
    assert loaded.digest == delta.digest != Delta().digest
    assert loaded.of(Codebook)[NAME].digest == book.digest
    assert Delta().concatenate(delta, loaded).of(Codebook)[NAME].log[8:][0].eps == 2.0
    with pytest.raises(EditError, match="a codebook"):
        Codebook.load(tmp_path / "delta.safetensors")
    with pytest.raises(EditError, match="cannot be read"):
        Codebook.load(tmp_path / "absent")


def test_refuses_what_does_not_fit(llama: Any) -> None:
    """Another module, other widths, a module the model lacks: named, and nothing left attached."""
    book = Codebook(NAME).extended([record(((1, 2), 0, 1), 0)])
    with pytest.raises(EditError, match="do not join"):
        book.join(Codebook("other"))
    with pytest.raises(EditError, match="unlike shapes"):
        book.extended([record(((1, 2), 0, 1), 1, width=3)])
    with pytest.raises(EditError, match="another model"):
        Delta((book,)).apply_(llama)
    with pytest.raises(EditError, match="lacks"):
        Delta((replace(book, target="absent"),)).apply_(llama)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.modules())
