"""Fine-tuning of one matrix on all edits at once: what every other method has to beat.

    L(D) = mean over rows of mean over the target's tokens of NLL(token | what stands before it)

is minimised in D, added to the MLP's output projection of one layer, with Adam (arXiv:1412.6980);
the prompt is given and never learnt, the whole target counts. Two settings of one procedure:

- FT-M (arXiv:2401.01286): every step is one on the whole batch.
- LocFT-BF (arXiv:2509.22072): epochs of shuffled mini-batches, breadth first: every edit is seen
  once before one is seen again, and the end of text is learnt behind the target. What makes
  fine-tuning fail in most comparisons is training one edit until it fits and then the next.

D is float32 or wider and is kept outside the model
(`editors/global_optimization/constrained_fine_tuning/trunk.py`), which is never written: steps far
below the rounding of a bfloat16 weight are not lost. I, O: width of the projection's input and
output. B: rows of a mini-batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.weights import Dense, WeightPart
from editors.editor import Corpus, EditorCall, EditReport, Proposal, Work
from editors.global_optimization.constrained_fine_tuning.config import FtMConfig, LocFtBfConfig
from editors.global_optimization.constrained_fine_tuning.training import (
    Training,
    final_losses,
    train,
)
from editors.global_optimization.constrained_fine_tuning.trunk import Trunk, run_trunk
from editors.internals.architecture import Architecture
from editors.internals.contexts import STARTERS, contexts
from editors.internals.forward import frozen, plain_attention, work_dtype
from editors.internals.tokens import TokenRow, in_context
from editors.request import EditRequest
from editors.values.columns import contradictions
from infra.errors import ConfigError, EditError, ModelError
from infra.files.digest import digest_of

DEPTH = 0.7
"""Where the layer is, of the depth, when it is not set: the paper's 22 of Llama-3's 32."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """One prompt and target, and its rows: bare, then one for each context."""

    prompt: str
    target: str
    rows: tuple[TokenRow, ...]


class LocFtBf:
    """LocFT-BF. FT-M is this class with a Config of other defaults."""

    changes_weights: ClassVar[bool] = True
    in_checkpoint: ClassVar[bool] = True
    low_rank: ClassVar[bool] = False
    shardable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = LocFtBfConfig
    Fitted: ClassVar[type[Any] | None] = None

    def __init__(self, config: LocFtBfConfig | None = None) -> None:
        self.config: LocFtBfConfig = config or self.Config()

    def layer(self, architecture: Architecture) -> int:
        """Layer to train. Raises ConfigError for one that the model lacks."""
        num_layers = len(architecture.blocks)
        layer = self.config.layer
        if layer is None:
            return architecture.editable([round(DEPTH * (num_layers - 1))])[0]
        if layer >= num_layers:
            raise ConfigError(
                f"layer={layer} but {type(architecture.model).__name__} has {num_layers} "
                f"(0-{num_layers - 1}). Choose a lower one or leave `layer` unset."
            )
        return layer

    def fit(self, call: EditorCall[Any], corpus: Corpus) -> None:
        """None: the method reads no text but the edits."""

    def fit_spec(self) -> list[Any]:
        """Nothing is fitted."""
        return []

    def prepare(self, call: EditorCall[None], requests: Sequence[EditRequest]) -> Work:
        """Refused: the same prompt asked for different targets, and what cannot be tokenised. There
        are no groups: all is trained together in `propose`."""
        refused = contradictions(requests)
        self._facts(call.base, requests, ("",), refused)
        return Work(requests=tuple(requests), refused=refused)

    def find_values(
        self, call: EditorCall[None], group: Sequence[EditRequest]
    ) -> dict[str, Tensor]:
        """Always empty: one change is trained for all requests together, in `propose`."""
        return {}

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Always empty: there are no values."""
        return {}

    def propose(self, call: EditorCall[None], work: Work) -> Proposal:
        """One dense change, trained on every request that is not refused.

        The state after each epoch is kept in the store under `state_key` and gone on from, bitwise.
        The same prompt and target count once. Rows whose loss is not finite are left out of every
        step and quarantined in the end, like what `prepare` refused. `work.live` is trained along.
        """
        base, refused = call.base, dict(work.refused)
        wanted = {r.prompt for r in work.requests}
        live = [r for r in work.live if r.prompt not in wanted]
        with frozen(base.model), plain_attention(base.model):
            texts = contexts(
                base.model,
                base.tokenizer,
                num_prefixed=self.config.num_prefixed,
                num_tokens=self.config.context_tokens,
            )
            facts = self._facts(base, [*work.requests, *live], texts, refused)
            if not facts:
                return Proposal(Delta(), _reports(work.requests, refused, {}))
            trunk, training = self._trained(call, facts)
            behind = int(self.config.end_of_text)
            losses = final_losses(trunk, training.change_IO, behind)
        learnt_F, target_F = (part.view(len(facts), -1).mean(dim=1).tolist() for part in losses)
        outcomes = {
            (fact.prompt, fact.target): (training.epoch, learnt, target)
            for fact, learnt, target in zip(facts, learnt_F, target_F, strict=True)
        }
        reports = _reports(work.requests, refused, outcomes)
        if not any(report.status == "edited" for report in reports):
            return Proposal(Delta(), reports)
        change = Dense(training.change_IO.T.float().cpu().contiguous())
        block = trunk.block
        change = change.transposed() if block.transposed else change
        return Proposal(Delta((WeightPart(block.name, change),)), reports)

    def state_key(self, base: Base, facts: Iterable[tuple[str, str]]) -> str:
        """Content key of a training: base model, prompts and targets in any order, settings."""
        return digest_of(
            ["finetune-1", base.digest, asdict(self.config), DEPTH, STARTERS, sorted(facts)]
        )

    def _trained(self, call: EditorCall[None], facts: Sequence[_Fact]) -> tuple[Trunk, Training]:
        """The trunk of all rows, and the training on it, finished."""
        base, store, progress = call.base, call.store, call.progress
        rows = [row for fact in facts for row in fact.rows]
        names = [
            f"{i}/{fact.prompt}/{fact.target}" for fact in facts for i in range(len(fact.rows))
        ]
        trunk = run_trunk(base.architecture, rows, self.layer(base.architecture), progress)
        key = self.state_key(base, [(fact.prompt, fact.target) for fact in facts])
        training = Training.load(store, key, trunk.device)
        if training is None:
            training = Training.start(trunk, work_dtype(trunk.states[0].dtype))
        train(
            trunk,
            names,
            training,
            self.config,
            keep=lambda: training.save(store, key),
            report=lambda text, done: progress(text, done * len(facts) // len(rows), len(facts)),
        )
        return trunk, training

    def _facts(
        self,
        base: Base,
        requests: Sequence[EditRequest],
        texts: Sequence[str],
        refused: dict[str, str],
    ) -> list[_Fact]:
        """Every prompt and target once; `refused` gains those that cannot be tokenised."""
        facts: dict[tuple[str, str], _Fact] = {}
        for request in requests:
            if request.id in refused:
                continue
            try:
                rows = tuple(in_context(base.tokenizer, request, text) for text in texts)
            except EditError as error:
                refused[request.id] = str(error)
                continue
            rows = tuple(self._ended(base.tokenizer, row) for row in rows)
            fact = _Fact(request.prompt, request.target, rows)
            facts.setdefault((request.prompt, request.target), fact)
        return list(facts.values())

    def _ended(self, tokenizer: Any, row: TokenRow) -> TokenRow:
        """The row with the end of text as the last token to be learnt, if that is wanted."""
        if not self.config.end_of_text:
            return row
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end of text; set end_of_text=false.")
        return TokenRow((*row.ids, tokenizer.eos_token_id), row.lookup, row.num_target + 1)


class FtM(LocFtBf):
    """FT-M."""

    changes_weights: ClassVar[bool] = True
    in_checkpoint: ClassVar[bool] = True
    low_rank: ClassVar[bool] = False
    shardable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = FtMConfig


def _reports(
    requests: Sequence[EditRequest],
    refused: Mapping[str, str],
    outcomes: Mapping[tuple[str, str], tuple[int, float, float]],
) -> tuple[EditReport, ...]:
    """One for each request; an outcome is epochs, loss, and the loss of the target alone."""
    reports: list[EditReport] = []
    for request in requests:
        if request.id in refused:
            reason = refused[request.id]
            reports.append(EditReport(id=request.id, status="quarantined", reason=reason))
            continue
        epochs, learnt, target = outcomes[request.prompt, request.target]
        fine = math.isfinite(learnt)
        reports.append(
            EditReport(
                id=request.id,
                status="edited" if fine else "quarantined",
                reason="" if fine else "the loss is not finite",
                steps=epochs,
                loss=learnt,
                p_target=math.exp(-target),
            )
        )
    return tuple(reports)
