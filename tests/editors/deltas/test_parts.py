"""What every kind of part in `PARTS` keeps to, and a kind defined here: a new one is one file and
one line."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from editors_helpers import request
from tiny_models import make_model, make_tokenizer
from torch import Tensor, nn

from editors.deltas import PARTS
from editors.deltas.codebook import Codebook, Record
from editors.deltas.delta import Delta
from editors.deltas.errata import Errata, Erratum
from editors.deltas.part import Part
from editors.deltas.scoped import ScopedValue, ScopedValues
from editors.deltas.weights import LowRank, WeightPart
from infra.errors import EditError
from infra.models.checkpoint import Checkpoint
from infra.models.loading import load
from pipeline.edit.attach import AttachDelta, as_exported

MODULE = "transformer.h.1.mlp.c_proj"
IDS = torch.tensor([[5, 6, 300, 8]])
"""Ids of the tokenizer and, 300, of the first row that it has no token for."""


@dataclass(frozen=True)
class BiasPart(Part):
    """A change of a bias vector: the throw-away kind."""

    kind: ClassVar[str] = "bias"
    in_checkpoint: ClassVar[bool] = True
    unit: ClassVar[str] = "numbers"

    target: str
    change_D: Tensor

    @property
    def size(self) -> int:
        return len(self.change_D)

    def pack(self) -> tuple[dict[str, Tensor], str]:
        return {"change": self.change_D}, "a text"

    @classmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        assert text == "a text"
        return cls(target, tensors["change"])

    def check(self, model: nn.Module) -> None:
        if self.target not in dict(model.named_parameters()):
            raise EditError(f"the model lacks {self.target}.")

    def attach(self, model: nn.Module) -> Callable[[], None]:
        bias = model.get_parameter(self.target)
        original = bias.data
        bias.data = original + self.change_D
        return lambda: setattr(bias, "data", original)

    def join(self, other: Part) -> Self:
        if not isinstance(other, BiasPart):
            raise EditError(f"parts of {self.target} do not join.")
        return replace(self, change_D=self.change_D + other.change_D)

    def without(self, ids: Container[str]) -> Self:
        raise EditError("edits cannot be told apart.")

    def compose(self, stored: Callable[[str], Tensor]) -> dict[str, Tensor]:
        return {self.target: stored(self.target) + self.change_D}


def bias(seed: int) -> Part:
    return BiasPart(f"{MODULE}.bias", random(seed, 32))


def weight(seed: int) -> Part:
    return WeightPart(f"{MODULE}.weight", LowRank(random(seed, 128, 2), random(seed, 2, 32)))


def codebook(seed: int) -> Part:
    item = request(f"Prompt {seed} is", "Prompt", "x", name=str(seed))
    entry = Record(item, (seed,), random(seed, 128).double(), random(seed, 32), eps=1e9)
    return Codebook(MODULE).extended([entry])


def scoped(seed: int) -> Part:
    item = request(f"Prompt {seed} is", "Prompt", "x", name=str(seed))
    value = ScopedValue(((seed + 5,), (seed, 6)), random(seed, 32), (item,))
    return ScopedValues("transformer.h.1", torch.zeros(304, dtype=torch.uint8), (value,))


def errata(seed: int) -> Part:
    item = request(f"Prompt {seed} is", "Prompt", "x", name=str(seed))
    erratum = Erratum((f"Prompt {seed}",), random(seed, 32), (item,))
    return Errata("transformer.wte", len(make_tokenizer()), 304, (erratum,))


EXAMPLES: dict[str, Callable[[int], Part]] = {
    "": weight,
    "codebook": codebook,
    "scoped": scoped,
    "errata": errata,
    "bias": bias,
}
"""A part of each kind that fits the model, another for each seed."""


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture()
def model() -> Any:
    model = make_model("gpt2", torch.float32)
    model.resize_token_embeddings(304, mean_resizing=False)
    return model


@pytest.fixture()
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The throw-away kind's one line."""
    monkeypatch.setitem(PARTS, "bias", BiasPart)


@pytest.fixture(params=EXAMPLES, ids=lambda kind: kind or "weight")
def make(request: pytest.FixtureRequest, known: None) -> Iterator[Callable[[int], Part]]:
    """Examples of one kind."""
    yield EXAMPLES[request.param]


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(input_ids=IDS).logits


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_as(model: nn.Module, before: Mapping[str, Tensor]) -> bool:
    """Weights bitwise, and no hook left."""
    return all(torch.equal(before[name], x) for name, x in model.state_dict().items()) and not any(
        m._forward_hooks or m._forward_pre_hooks for m in model.modules()
    )


def test_every_kind_is_tested(known: None) -> None:
    """Each kind is in the registry by its own name, and has an example here."""
    assert EXAMPLES.keys() == PARTS.keys()
    assert all(part.kind == kind == EXAMPLES[kind](1).kind for kind, part in PARTS.items())


def test_pack_and_file_keep_every_bit(make: Callable[[int], Part], tmp_path: Path) -> None:
    """Unpacked, and read from a file, a part has its digest; the file has the same bytes each
    time; a part of other numbers has another digest."""
    part, delta = make(1), Delta((make(1),))
    again = type(part).unpack(part.target, *part.pack())
    assert again.digest == part.digest != make(2).digest
    for name in ("one", "two"):
        delta.save(tmp_path / name, {"note": "x"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded = Delta.load(tmp_path / "one")
    assert loaded.digest == delta.digest != Delta((make(2),)).digest
    assert [(p.kind, p.target, p.size) for p in loaded.parts] == [
        (part.kind, part.target, part.size)
    ]


def test_attached_it_acts_and_taken_off_it_is_gone(make: Callable[[int], Part], model: Any) -> None:
    """In force the answers change; afterwards weights, hooks and answers are bitwise as before."""
    before, plain, delta = snapshot(model), logits(model), Delta((make(1),))
    undo = delta.apply_(model)
    edited = logits(model)
    assert not torch.equal(edited, plain)
    undo.close()
    assert is_as(model, before) and torch.equal(logits(model), plain)
    with pytest.raises(RuntimeError), delta.applied(model):
        assert torch.equal(logits(model), edited)
        raise RuntimeError
    assert is_as(model, before)


def test_what_does_not_fit_is_refused_before_anything_is_written(
    make: Callable[[int], Part], model: Any, known: None
) -> None:
    """Among parts that fit, one of a module that the model lacks: nothing of any is left."""
    part: Any = make(1)
    before = snapshot(model)
    rest = [EXAMPLES[kind](1) for kind in PARTS if kind != part.kind]
    with pytest.raises(EditError, match="absent"):
        Delta((*rest, replace(part, target="absent"))).apply_(model)
    assert is_as(model, before)


def test_counts(make: Callable[[int], Part]) -> None:
    """Records count parts that have a unit, with 0 for those that are absent, and no others."""
    part = make(1)
    counts = Delta((part,)).counts()
    assert counts.keys() == {kind for kind, other in PARTS.items() if other.unit}
    assert {kind: n for kind, n in counts.items() if n} == (
        {part.kind: part.size} if part.unit else {}
    )
    assert not any(Delta().counts().values())


def test_parts_of_one_place_are_joined(make: Callable[[int], Part]) -> None:
    """Two parts of one kind and target are refused side by side and add up by `concatenate`; a part
    of another kind does not join."""
    one, other = make(1), make(2)
    with pytest.raises(EditError, match="two parts"):
        Delta((one, other))
    both = Delta((one,)).concatenate(Delta((other,)), Delta())
    assert both.digest == Delta((one.join(other),)).digest != Delta((one,)).digest
    for kind, example in EXAMPLES.items():
        if kind != one.kind:
            with pytest.raises(EditError, match=r"join|different models"):
                one.join(example(1))


def test_a_checkpoint_holds_it_or_it_is_attached(
    make: Callable[[int], Part], model: Any, tmp_path: Path
) -> None:
    """A checkpoint with the weights composed and completed, with what is attached beside it,
    answers as the delta on the base, and is served with the attention that the parts beside it
    need."""
    delta = Delta((make(1),))
    delta.save(tmp_path / "delta")
    with delta.applied(model):
        expected = logits(model)
    model.save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    base, checkpoint = Checkpoint(tmp_path / "base"), tmp_path / "checkpoint"
    base.export(checkpoint, delta.weights(base))
    delta.complete(checkpoint)
    made, tokenizer = load(checkpoint, dtype=torch.float32)
    beside = Delta.load(tmp_path / "delta", beside_weights=True)
    assert make(1).in_checkpoint != bool(beside.parts)
    served = as_exported("served", tmp_path, tmp_path / "delta")
    assert served.own_attention == beside.own_attention == delta.own_attention
    assert (served.attach is None) == make(1).in_checkpoint
    AttachDelta(tmp_path / "delta", beside_weights=True)(made, tokenizer)
    size = len(make_tokenizer())
    torch.testing.assert_close(logits(made)[..., :size], expected[..., :size])


def test_all_kinds_at_once(model: Any, known: None, tmp_path: Path) -> None:
    """One delta of every kind, in any order: one digest, one file, and a way back; no adapter says
    what it says, and a codebook in it needs the model's own attention."""
    parts = [example(1) for example in EXAMPLES.values()]
    delta, turned = Delta(tuple(parts)), Delta(tuple(reversed(parts)))
    assert delta.digest == turned.digest and delta.own_attention and delta.low_rank() is None
    delta.save(tmp_path / "delta")
    turned.save(tmp_path / "turned")
    assert (tmp_path / "delta").read_bytes() == (tmp_path / "turned").read_bytes()
    before = snapshot(model)
    with delta.applied(model):
        edited = logits(model)
    assert is_as(model, before)
    with Delta.load(tmp_path / "delta").applied(model):
        assert torch.equal(logits(model), edited)
    assert Delta((weight(1),)).low_rank()


def test_edits_are_taken_out_where_they_can_be_told_apart() -> None:
    """A codebook without an id is that of the others, and none without the last; a change of
    weights refuses."""
    both = Delta((codebook(1),)).concatenate(Delta((codebook(2),)))
    assert both.without({"1"}).digest == Delta((codebook(2),)).digest
    assert both.without({"1", "2"}).digest == Delta().digest
    with pytest.raises(EditError, match="anew"):
        Delta((weight(1),)).without({"1"})


def test_a_failed_attachment_leaves_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch, known: None
) -> None:
    """Where the last part cannot be attached, those before it are taken off again."""

    def fails(self: Codebook, model: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Codebook, "attach", fails)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="memory"):
        Delta((weight(1), bias(1), codebook(1))).apply_(model)
    assert is_as(model, before)


def test_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    """A file with a part of a kind that is not in the registry says which."""
    Delta((bias(1), weight(1))).save(tmp_path / "delta")
    with pytest.raises(EditError, match="kind 'bias'"):
        Delta.load(tmp_path / "delta")
