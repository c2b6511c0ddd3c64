"""GRACE's codebook (arXiv:2211.11031, algorithm 1): keys with radii, each with a value.

A log of what was written, and the entries that replaying it makes. Splits and expansions alter the
radii of neighbours, so an edit is taken back by replaying the log without it, never by deleting a
row. L: records of the log. N: entries. B: queries. I: width of a key. D: width of a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from editors.deltas.codebook_hooks import CodebookHooks, nearest
from editors.deltas.part import Part
from editors.request import EditRequest
from infra.errors import EditError
from infra.files.tensors import load_tensors, save_tensors

FORMAT = "corrigenda-codebook-1"
DEAD = -1.0
"""Radius of an entry that another answer has taken the place of."""
SAME_PLACE = 0.01
"""Keys nearer than this share of the deferral radius are one prompt, seen with other rounding."""
GAP = 1e-5
"""Share of a split radius that keeps two touching balls apart."""
CHUNK = 1024
"""Number of records whose distances are computed at once."""


class Placement(NamedTuple):
    """What one record does to the codebook."""

    radius: float
    """New radius of the nearest entry."""
    opened: float | None
    """Radius of the entry that the record opens; None if it opens none."""


def place(distance: float, radius: float, *, same_label: bool, eps: float) -> Placement:
    """Algorithm 1 of arXiv:2211.11031 for a key at `distance` d from the nearest entry's.

    Farther than eps + radius: add. Same answer: expand to d. Another answer: split, d/2 each. A
    split never widens a ball, as the paper's would where d/2 exceeds the radius: prompts that were
    left alone stay so. Two answers at one place cannot be split; the later one takes it over.
    """
    if distance > eps + radius:
        return Placement(radius, eps)
    if same_label:
        return Placement(max(radius, distance), None)
    if distance <= SAME_PLACE * eps:
        return Placement(DEAD, min(radius, eps))
    half = distance / 2
    return Placement(min(radius, half * (1 - GAP)), min(eps, half))


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One line of the log."""

    request: EditRequest
    """Kept whole: the next release writes it into the weights."""
    label: tuple[int, ...]
    """The target's tokens. Answers are compared as sequences; means of token ids collide."""
    key_I: Tensor
    """Input of the projection at the prompt's last token, float32 or wider."""
    value_D: Tensor
    """What the projection is to answer there."""
    eps: float
    """Deferral radius: what the entry has around it at first."""


@dataclass(frozen=True, eq=False)
class Codebook(Part):
    """Entries that answer instead of one projection, and the log that they come from."""

    kind: ClassVar[str] = "codebook"
    own_attention: ClassVar[bool] = True
    unit: ClassVar[str] = "codebook entries"

    target: str
    """Name of the projection in `named_modules`."""
    log: tuple[Record, ...] = ()
    """Append-only, in the order of writing."""
    entries: tuple[int, ...] = ()
    """Row of the log that each entry has its key, value and label from."""
    radii: tuple[float, ...] = ()
    """Of each entry; negative: dead."""

    def extended(self, records: Sequence[Record]) -> Codebook:
        """With these records written after those in the log, one by one.

        Raises EditError when their widths are not those of the log.
        """
        log = (*self.log, *records)
        if not records:
            return self
        shapes = {(record.key_I.shape, record.value_D.shape) for record in log}
        if len(shapes) > 1:
            raise EditError(f"records of {self.target} have unlike shapes: {sorted(shapes)}.")
        entries = torch.tensor((*self.entries, *[0] * len(records)))
        radii = torch.tensor((*self.radii, *[DEAD] * len(records)), dtype=torch.float64)
        size, old = len(self.entries), len(self.log)
        keys_LI = torch.stack([record.key_I.double() for record in log])
        half_L = keys_LI.square().sum(dim=1) / 2
        scores_CL = keys_LI[:0]
        for row in range(old, len(log)):
            if (row - old) % CHUNK == 0:
                scores_CL = half_L - keys_LI[row : row + CHUNK] @ keys_LI.T
            record, opened = log[row], log[row].eps
            alive = radii[:size] >= 0
            if alive.any():
                scores_N = scores_CL[(row - old) % CHUNK, entries[:size]]
                j = int(scores_N.masked_fill(~alive, torch.inf).argmin())
                other = log[int(entries[j])]
                distance = float((keys_LI[row] - other.key_I.double()).norm())
                same = other.label == record.label
                radii[j], opened = place(distance, float(radii[j]), same_label=same, eps=record.eps)
            if opened is not None:
                entries[size], radii[size] = row, opened
                size += 1
        return Codebook(
            self.target, log, tuple(entries[:size].tolist()), tuple(radii[:size].tolist())
        )

    def without(self, ids: Container[str]) -> Codebook:
        """As if the requests of these ids had never been written."""
        kept = [record for record in self.log if record.request.id not in ids]
        return Codebook(self.target).extended(kept)

    def join(self, other: Part) -> Codebook:
        """With the other's log written after this one's. Raises EditError for another module."""
        if not isinstance(other, Codebook) or self.target != other.target:
            raise EditError(f"codebooks of {self.target} and {other.target} do not join.")
        return self.extended(other.log)

    @property
    def size(self) -> int:
        """Number of entries, those included that answer no more."""
        return len(self.entries)

    @property
    def alive(self) -> tuple[tuple[Record, float], ...]:
        """Entries that answer, each with its radius."""
        pairs = zip(self.entries, self.radii, strict=True)
        return tuple((self.log[row], radius) for row, radius in pairs if radius >= 0)

    def lost(self) -> tuple[Record, ...]:
        """Records whose key now lies in no entry with their own label: later records took it."""
        if not self.log:
            return ()
        alive = self.alive
        keys_NI = torch.stack([record.key_I for record, _ in alive])
        queries = torch.stack([record.key_I for record in self.log])
        index_L, distance_L = nearest(queries.to(keys_NI.dtype), keys_NI)
        found = zip(self.log, index_L.tolist(), distance_L.tolist(), strict=True)
        return tuple(
            record
            for record, j, distance in found
            if distance > alive[j][1] or alive[j][0].label != record.label
        )

    @property
    def requests(self) -> tuple[EditRequest, ...]:
        """The requests in force, each once, in the order of their last writing.

        The next release writes these by a method that changes weights, from the base, and the
        codebook is dropped.
        """
        lost = {record.request.id for record in self.lost()}
        last = {record.request.id: row for row, record in enumerate(self.log)}
        rows = sorted(row for name, row in last.items() if name not in lost)
        return tuple(self.log[row].request for row in rows)

    def check(self, model: Any) -> None:
        """Raise EditError where the model has no such module, or one of other widths."""
        try:
            projection = model.get_submodule(self.target)
        except AttributeError:
            raise EditError(
                f"the codebook is for {self.target}, which {type(model).__name__} lacks."
            ) from None
        self._check_widths(projection)

    def hooks(self, model: Any) -> CodebookHooks:
        """Let the model answer by this codebook until the hooks are detached."""
        return CodebookHooks(
            model,
            model.get_decoder(),
            model.get_submodule(self.target),
            keys=[record.key_I for record, _ in self.alive],
            values=[record.value_D for record, _ in self.alive],
            radii=[radius for _, radius in self.alive],
        )

    def attach(self, model: Any) -> Callable[[], None]:
        """Let the model answer by this codebook; the returned function removes the hooks."""
        return self.hooks(model).detach

    def pack(self) -> tuple[dict[str, Tensor], str]:
        """As tensors: keys [L, I], values [L, D], entries [N], radii [N]; and the log as JSON."""
        keys = [record.key_I.detach().cpu() for record in self.log]
        values = [record.value_D.detach().cpu() for record in self.log]
        rows = [[*record.request.pack(), list(record.label), record.eps] for record in self.log]
        tensors = {
            "keys": torch.stack(keys) if keys else torch.zeros(0, 0),
            "values": torch.stack(values) if values else torch.zeros(0, 0),
            "entries": torch.tensor(self.entries, dtype=torch.long),
            "radii": torch.tensor(self.radii, dtype=torch.float64),
        }
        return tensors, json.dumps(rows)

    @classmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        """The codebook that `pack` packed."""
        log = tuple(
            Record(
                EditRequest.unpack(fields),
                tuple(label),
                key_I,
                value_D,
                eps,
            )
            for (*fields, label, eps), key_I, value_D in zip(
                json.loads(text), tensors["keys"], tensors["values"], strict=True
            )
        )
        entries, radii = tensors["entries"].tolist(), tensors["radii"].tolist()
        return cls(target, log, tuple(entries), tuple(radii))

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors, text = self.pack()
        save_tensors(tensors, path, {"format": FORMAT, "module": self.target, "log": text})

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        tensors, header = load_tensors(path, "a codebook", FORMAT)
        return cls.unpack(header["module"], tensors, header["log"])

    def _check_widths(self, projection: nn.Module) -> None:
        """Widths, from the module's attributes: its weight may be sharded."""
        found = tuple(
            next((getattr(projection, name) for name in names if hasattr(projection, name)), None)
            for names in (("in_features", "nx"), ("out_features", "nf"))
        )
        for record in self.log[:1]:
            made = len(record.key_I), len(record.value_D)
            if any(width not in (None, mine) for width, mine in zip(found, made, strict=True)):
                raise EditError(
                    f"the codebook of {self.target} has widths {made}, the module {found}: it was "
                    "made for another model."
                )
