"""Checks of a tiny model sharded over two processes, started by test_sharded.py.

Everything is compared with the same checkpoint loaded whole in every process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from editors_helpers import changes, propose, request, small_config, some_requests
from processes import run_checks
from tiny_models import TEXTS
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.deltas.codebook import Codebook
from editors.deltas.delta import Delta
from editors.editor import Corpus, EditorCall, Proposal
from editors.external_memory.extension_based.grace import GraceConfig, GraceValueConfig
from editors.internals.architecture import Architecture
from editors.internals.contexts import contexts
from editors.internals.discover import discover
from editors.internals.suffix import Site
from editors.internals.tokens import essence, in_context
from editors.request import EditRequest
from editors.statistics.key_moments import Statistics, fit
from editors.values.config import ValueConfig
from editors.values.search import FactRows, optimise
from infra.distributed.group import SINGLE_PROCESS
from infra.distributed.zero import ShardedModel, gathered, load_sharded, whole_shape
from infra.models.loading import load

LAYER = 1


class Checks:
    """Each public method is one check; each leaves the sharded model with no weight gathered."""

    def __init__(self, found: ShardedModel, plain: Any) -> None:
        self.model, self.tokenizer, self.group = found.model, found.tokenizer, found.group
        self.plain = plain
        self.here: Architecture
        self.there: Architecture

    def sharding_is_real(self) -> None:
        """Half of every weight's elements a rank, none gathered, the whole shape known."""
        whole = dict(self.plain.named_parameters())
        assert whole.keys() == dict(self.model.named_parameters()).keys()
        for name, parameter in self.model.named_parameters():
            assert parameter.shape == (0,) and whole_shape(parameter) == whole[name].shape
            part: Any = parameter
            assert part.ds_tensor.numel() == -(-whole[name].numel() // self.group.size)
        assert all(whole_shape(parameter) == parameter.shape for parameter in whole.values())

    def discovery(self) -> None:
        """Names, shapes, orientation, gains and output types as on the whole model."""
        self.here, self.there = discover(self.model), discover(self.plain)

        def facts(a: Architecture) -> list[Any]:
            return [(b.index, b.name, b.shape, b.transposed, b.returns_tuple) for b in a.blocks]

        assert facts(self.here) == facts(self.there)
        gains = [[block.gain for block in a.blocks] for a in (self.here, self.there)]
        assert gains[0] == gains[1], gains
        self.dropped()

    def hidden_and_logits(self) -> None:
        """Decoder and head apart, on padded rows that differ between ranks."""
        ids = torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]]) + 3 * self.group.rank
        mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
        with torch.no_grad():
            for stop_after in (None, LAYER):
                found, expected = (
                    a.hidden(ids, mask, stop_after=stop_after) for a in (self.here, self.there)
                )
                torch.testing.assert_close(found, expected)
            found, expected = (a.logits(expected[:, 2]) for a in (self.here, self.there))
        torch.testing.assert_close(found, expected)
        self.dropped()

    def gradient_of_delta(self) -> None:
        """Prepared together, then each rank steps with facts of its own: the same gradients, and
        no weight is kept from one step to the next."""
        rows = [in_context(self.tokenizer, request, "") for request in some_requests()]
        mine_F = torch.arange(len(rows)) % self.group.size == self.group.rank

        def gradients(architecture: Architecture) -> Tensor:
            site = Site(architecture, LAYER, few_passes=True)
            with torch.no_grad():
                [whole], h_FD, _ = site.prepare(rows, range(len(rows)))
            state = whole.select(mine_F)
            delta_FD = torch.full_like(h_FD[mine_F], 0.1, requires_grad=True)
            found: list[Tensor] = []
            for _ in range(4):
                hidden_MD = site.hidden(state, delta_FD)[state.row_M, state.slot_M]
                logp_MV = architecture.logits(hidden_MD).log_softmax(dim=-1)
                nll = -(state.weight_M * logp_MV.gather(1, state.token_M[:, None])[:, 0]).sum()
                found += torch.autograd.grad(nll, delta_FD)
                self.dropped()
                delta_FD = (delta_FD - 0.1 * found[-1]).detach().requires_grad_()
            return torch.stack(found)

        torch.testing.assert_close(
            gradients(self.here), gradients(self.there), rtol=1e-4, atol=1e-5
        )

    def writing(self) -> None:
        """A gathered write is that of the whole model, also through `.data`, and can be undone."""
        name = self.there.blocks[LAYER].name
        ours, theirs = (m.get_parameter(name) for m in (self.model, self.plain))
        before = self.read(ours)
        change = torch.linspace(-1, 1, before.numel()).reshape(before.shape)
        with torch.no_grad():
            with gathered([ours], write=True):
                ours.data.add_(change)
            theirs.add_(change)
            assert torch.equal(self.read(ours), theirs)
            ids = torch.tensor([[5, 6, 7]])
            found, expected = (m(input_ids=ids).logits for m in (self.model, self.plain))
            torch.testing.assert_close(found, expected)
            with gathered([ours], write=True):
                ours.copy_(before)
            theirs.copy_(before)
        assert torch.equal(self.read(ours), before)
        self.dropped()

    def writing_without_leave(self) -> None:
        """A write in a gather for reading is refused; one through `.data` is lost unseen."""
        parameter = self.here.blocks[LAYER].weight
        before = self.read(parameter)
        with gathered([parameter]):
            parameter.data.add_(1)
        assert torch.equal(self.read(parameter), before)
        try:
            with torch.no_grad(), gathered([parameter]):
                parameter.add_(1)
        except RuntimeError as error:
            assert "in-place modification" in str(error)
        else:
            raise AssertionError("the write was not refused")
        assert torch.equal(self.read(parameter), before)
        self.dropped()

    def statistics(self) -> None:
        """Shares of the rows, summed, are the serial sums; with a part, and with too few rows."""
        layers = (LAYER, LAYER + 1)
        for texts, settings in (
            (TEXTS, {"batch_tokens": 64}),
            (TEXTS, {"batch_tokens": 64, "part": (1, 2)}),
            (TEXTS[:1], {}),
            (TEXTS[:3], {"batch_tokens": 1}),
        ):
            found = self.fitted(self.here, texts, layers, settings | {"group": self.group})
            expected = self.fitted(self.there, texts, layers, settings)
            assert found.num_tokens == expected.num_tokens
            assert found.metadata == expected.metadata
            for layer in layers:
                torch.testing.assert_close(
                    found.moment(layer), expected.moment(layer), rtol=1e-4, atol=1e-4
                )
        nothing = self.fitted(self.here, TEXTS[:1], layers, {"part": (7, 8), "group": self.group})
        assert not nothing.num_tokens
        self.dropped()

    def fitted(
        self, architecture: Architecture, texts: list[str], layers: Any, settings: Any
    ) -> Statistics:
        return fit(
            architecture.model,
            self.tokenizer,
            texts,
            layers,
            max_tokens=10_000,
            architecture=architecture,
            **settings,
        )

    def values(self) -> None:
        """Facts dealt out are optimised as together: more facts than ranks, and fewer; some that
        finish early on one rank only."""
        texts = contexts(self.plain, self.tokenizer, num_prefixed=1, num_tokens=3)
        facts = [
            FactRows(
                tuple(in_context(self.tokenizer, request, text) for text in texts),
                essence(self.tokenizer, request.subject),
            )
            for request in some_requests()
        ]
        for chosen, stop_loss in ((facts, 0.05), (facts[:1], 0.05), (facts, 5.0), (facts, 10.0)):
            config = ValueConfig(steps=4, learning_rate=0.3, kl_weight=0.1, stop_loss=stop_loss)
            found = optimise(self.here, chosen, LAYER, config, group=self.group)
            expected = optimise(self.there, chosen, LAYER, config)
            assert [v.steps for v in found] == [v.steps for v in expected]
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one.pack(), other.pack(), rtol=1e-3, atol=1e-3)
        self.dropped()

    def editors(self) -> None:
        """Every editor, from its statistics to its delta; the delta in force and taken back."""
        clash = request("Neymar plays for", "Neymar", "Madrid", name="clash")
        requests = [*some_requests(), clash]
        for name, config in self.configs().items():
            made = [
                self.proposed(name, config, Base(model, self.tokenizer, "digest", group), requests)
                for model, group in ((self.model, self.group), (self.plain, SINGLE_PROCESS))
            ]
            found, expected = made
            reports = [[(r.id, r.status, r.steps) for r in p.reports] for p in made]
            assert reports[0] == reports[1], name
            assert sum(r.status == "quarantined" for r in found.reports) == 2
            for one, two in zip(found.delta.parts, expected.delta.parts, strict=True):
                assert (one.kind, one.target, one.size) == (two.kind, two.target, two.size)
            others = changes(expected.delta)
            for target, change in changes(found.delta).items():
                close(change.dense(), others[target].dense(), name)
            books = expected.delta.of(Codebook)
            for target, book in found.delta.of(Codebook).items():
                for one, two in zip(book.log, books[target].log, strict=True):
                    close(one.key_I, two.key_I, name)
                    close(one.value_D, two.value_D, name)
            self.in_force(found.delta)
            self.dropped()

    def configs(self) -> dict[str, Any]:
        """Settings of each editor that run in a moment."""
        values = {"steps": 4, "learning_rate": 0.3}
        spread = self.there.blocks[LAYER].gain is not None
        layers = (LAYER, LAYER + 1) if spread else (LAYER,)
        return {
            "memit": small_config(
                layers=layers, fisher_tokens=200, values=ValueConfig(**values), min_leverage=0
            ),
            "grace": GraceConfig(layer=LAYER, radius=0.1, values=GraceValueConfig(**values)),
            "ft-m": EDITORS["ft-m"].Config(layer=LAYER, epochs=2),
            "locft-bf": EDITORS["locft-bf"].Config(layer=LAYER, epochs=2),
        }

    def proposed(self, name: str, config: Any, base: Base, requests: list[EditRequest]) -> Proposal:
        editor = EDITORS[name](config)
        fitted = editor.fit(EditorCall(base), Corpus(TEXTS)) if editor.Fitted else None
        return propose(editor, EditorCall(base, fitted), requests)

    def in_force(self, delta: Delta) -> None:
        """The sharded model with a delta answers as the whole one, and without it as before."""
        row = some_requests()[0]
        ids = torch.tensor([self.tokenizer(row.prompt)["input_ids"]])
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            before = self.model(**given).logits
            with delta.applied(self.model), delta.applied(self.plain):
                found, expected = (m(**given).logits for m in (self.model, self.plain))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            assert not torch.equal(found, before)
            assert torch.equal(self.model(**given).logits, before)

    def read(self, parameter: Any) -> Tensor:
        with gathered([parameter]):
            return parameter.detach().clone()

    def dropped(self) -> None:
        """No weight is left whole."""
        whole = [n for n, p in self.model.named_parameters() if p.numel()]
        assert not whole, f"left gathered: {whole}"


CHECKS = (
    Checks.sharding_is_real,
    Checks.discovery,
    Checks.hidden_and_logits,
    Checks.gradient_of_delta,
    Checks.writing,
    Checks.writing_without_leave,
    Checks.statistics,
    Checks.values,
    Checks.editors,
)


def close(found: Tensor, expected: Tensor, name: str) -> None:
    """Equal to a thousandth of the largest number."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        found, expected, rtol=1e-3, atol=1e-3 * scale, msg=lambda m: f"{name}: {m}"
    )


def main(directory: Path, checkpoint: Path) -> None:
    with load_sharded(checkpoint, dtype=torch.float32, timeout_s=60) as found:
        plain, _ = load(checkpoint, dtype=torch.float32)
        checks = Checks(found, plain)
        run_checks(directory, {c.__name__: c.__get__(checks) for c in CHECKS})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
