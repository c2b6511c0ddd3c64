"""GRACE (arXiv:2211.11031): fixes that take effect at once and are taken back exactly.

No weight changes. A codebook answers for one MLP projection at the last token of a prompt whose
input there is within a radius of a known key, and leaves every other prompt bitwise as it was.
Paraphrases are other keys: nothing generalises. Values are found for all requests in any order
(`editors/values/search.py`); the codebook is then assembled one request after the other.
C: rows. E: facts. I: width of a key. D: hidden size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.base import Base
from editors.deltas.codebook import Codebook, Record
from editors.deltas.delta import Delta
from editors.editor import Corpus, EditorCall, Proposal, Work
from editors.external_memory.extension_based.prompt_columns import (
    End,
    check_end,
    columns_of,
    end_tokens,
)
from editors.internals.architecture import Architecture
from editors.internals.contexts import STARTERS, ContextCache
from editors.internals.forward import frozen
from editors.request import EditRequest
from editors.statistics.key_samples import KeySample, at_last_tokens, sample
from editors.values.columns import Column, contradictions, even_parts, reports_of
from editors.values.config import ValueConfig, check_range
from editors.values.search import Value, mean_loss, optimise
from infra.errors import ConfigError, EditError

DEPTH = 0.6
"""Layer by default, over the depth: the keys of like prompts are apart there, and enough blocks
follow for the later tokens of an answer to read the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceValueConfig(ValueConfig):
    """How a value is searched for. There is no KL term and no decay, since no other prompt is
    answered with the value."""

    steps: int = 100
    """Most evaluations of the loss; SmolLM2-135M takes 13 to 22. 1 to 1000."""
    learning_rate: float = 0.5
    clamp: float = 100
    kl_weight: float = 0
    """Has no row to be measured on. 0."""
    decay: float = 0
    stop_loss: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceConfig:
    """Settings of GRACE."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    layer: int | None = None
    """Layer whose projection is answered for, from 0; unset: at 0.6 of the depth. In the last layer
    only the first token of an answer can be set."""
    radius: float | None = None
    """Deferral radius, absolute; unset: calibrated by the next two. (0, 1e9]."""
    quantile: float = 0.01
    """Of the distances between unrelated prompts. (0, 1]."""
    radius_share: float = 0.05
    """Deferral radius over that distance. Prompts of one template with another subject come as near
    as 0.1 of it in SmolLM2-135M. (0, 1]."""
    num_prompts: int = 256
    """Unrelated prompts that are looked at. 2 to 65536."""
    prompt_tokens: int = 16
    """Their length. 1 to 4096."""
    num_keys: int = 1
    """Keys of a fact: the bare prompt's, then in contexts. 1 to 11."""
    context_tokens: int = 10
    """Tokens that the model adds to a context's starter. 1 to 100."""
    end: End = "text"
    """What is learnt behind the target, so that the answer stops: end of text, a newline, or
    nothing. A tokenizer without the token has nothing."""
    values: GraceValueConfig = field(default_factory=GraceValueConfig)
    """The search for values; it starts at the layer's own output."""
    chunk: int = 32
    """Facts optimised together: bounds memory, and what a killed run loses. 1 to 4096."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_range(kind, "layer", self.layer or 0, 0, 1 << 20)
        check_range(
            kind, "radius", 1 if self.radius is None else self.radius, 0, 1e9, open_low=True
        )
        check_range(kind, "quantile", self.quantile, 0, 1, open_low=True)
        check_range(kind, "radius_share", self.radius_share, 0, 1, open_low=True)
        check_range(kind, "num_prompts", self.num_prompts, 2, 65536)
        check_range(kind, "prompt_tokens", self.prompt_tokens, 1, 4096)
        check_range(kind, "num_keys", self.num_keys, 1, 1 + len(STARTERS))
        check_range(kind, "context_tokens", self.context_tokens, 1, 100)
        check_range(kind, "chunk", self.chunk, 1, 4096)
        check_end(kind, self.end)
        for name in ("kl_weight", "kept_weight"):
            if weight := getattr(self.values, name):
                raise ConfigError(
                    f"{kind}: values.{name}={weight} has no row to be measured on; set it to 0."
                )


class Grace:
    """GRACE as an `editors.editor.Editor`."""

    changes_weights: ClassVar[bool] = False
    in_checkpoint: ClassVar[bool] = False
    low_rank: ClassVar[bool] = False
    shardable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = GraceConfig
    Fitted: ClassVar[type[Any] | None] = KeySample

    def __init__(self, config: GraceConfig | None = None) -> None:
        self.config = config or GraceConfig()
        self._contexts = ContextCache(self.config.num_keys - 1, self.config.context_tokens)

    def layer(self, architecture: Architecture) -> int:
        """Layer whose projection the codebook answers for. Raises ConfigError for a layer that the
        model lacks."""
        return architecture.layer_at(self.config.layer, DEPTH)

    def fit(self, call: EditorCall[Any], corpus: Corpus) -> KeySample:
        """Keys of unrelated prompts at the layer."""
        return sample(
            call.base,
            corpus.texts,
            self.layer(call.base.architecture),
            num_prompts=self.config.num_prompts,
            prompt_tokens=self.config.prompt_tokens,
            part=corpus.part,
            progress=call.progress,
        )

    def fit_spec(self) -> list[Any]:
        """What the keys depend on besides model and text, for their content key."""
        config = self.config
        return ["keys-2", config.layer, config.num_prompts, config.prompt_tokens]

    def radius(self, fitted: KeySample | None) -> float:
        """The deferral radius. Raises EditError where it cannot be calibrated or would be zero."""
        if self.config.radius is not None:
            return self.config.radius
        distance = fitted.distance(self.config.quantile) if fitted else 0.0
        if not distance > 0:
            raise EditError(
                f"unrelated prompts are {distance} apart, which is no scale for a radius; give "
                "more texts, or set `radius`."
            )
        return self.config.radius_share * distance

    def value_key(self, request: EditRequest, base_digest: str) -> str:
        """Content key of a value: base model, prompt, target, contexts and settings."""
        config = self.config
        content = {
            "method": "grace-value-1",
            "base": base_digest,
            "request": [request.prompt, request.target],
            "contexts": [STARTERS[: config.num_keys - 1], config.context_tokens],
            "layer": config.layer,
            "end": config.end,
            "values": asdict(config.values),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def prepare(self, call: EditorCall[KeySample], requests: Sequence[EditRequest]) -> Work:
        """Refused: the same prompt asked for different targets, rows that cannot be tokenised.

        The rest in even groups of at most `chunk` facts, longest first, whatever the order of the
        requests.
        """
        base = call.base
        self.radius(call.fitted)
        refused = contradictions(requests)
        columns = self._columns(base, requests, refused)
        missing = [c for c in columns if self._key(c, base) not in call.store]
        missing.sort(key=lambda c: (-c.longest, self._key(c, base)))
        groups = tuple(
            tuple(column.requests[0] for column in part)
            for part in even_parts(missing, self.config.chunk)
        )
        return Work(requests=tuple(requests), refused=refused, groups=groups)

    def find_values(
        self, call: EditorCall[KeySample], group: Sequence[EditRequest]
    ) -> dict[str, Tensor]:
        """The values [D + 4] (`Value.pack`) of one group, by content key: what the projection is
        to answer at the last token of the bare prompt."""
        base = call.base
        columns = self._columns(base, group, {})
        found = optimise(
            base.architecture,
            [column.fact for column in columns],
            self.layer(base.architecture),
            self.config.values,
            place="projection",
            progress=call.progress,
            group=base.group,
        )
        keys = [self._key(column, base) for column in columns]
        return dict(zip(keys, (value.pack() for value in found), strict=True))

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean loss of the values."""
        return mean_loss(values)

    def propose(self, call: EditorCall[KeySample], work: Work) -> Proposal:
        """One codebook of all requests that can be carried out, and a report for every one.

        Quarantined besides what `prepare` refused: losses that are not finite, and prompts whose
        key cannot be told from that of a prompt with another answer. `work.live` is not needed: a
        codebook is put on top of another by joining them.
        """
        base, refused = call.base, dict(work.refused)
        columns = self._columns(base, work.requests, refused)
        for column in columns:
            column.value = Value.unpack(call.store[self._key(column, base)])
        usable = [column for column in columns if column.usable]
        with frozen(base.model), torch.no_grad():
            book = self._assembled(base, usable, self.radius(call.fitted))
        call.progress("codebook", len(usable), len(usable))
        while lost := {record.request.id for record in book.lost()}:
            reason = "its key cannot be told from that of a prompt with another target"
            refused |= dict.fromkeys(sorted(lost), reason)
            book = book.without(lost)
        return Proposal(Delta((book,)), reports_of(work.requests, columns, refused))

    def _assembled(self, base: Base, columns: Sequence[Column], eps: float) -> Codebook:
        """Every row's key, written in order; those that a split left outside again, if it helps.

        One offset is found over all contexts; each key answers with its own output plus that, which
        is what was optimised there.
        """
        layer = self.layer(base.architecture)
        book = Codebook(base.architecture.blocks[layer].name.removesuffix(".weight"))
        if not columns:
            return book
        rows = [row.ids[: row.lookup + 1] for column in columns for row in column.keys]
        keys_CI, outputs_CD = (x.cpu() for x in at_last_tokens(base.architecture, rows, layer))
        records: list[Record] = []
        at = 0
        for column in columns:
            bare = column.keys[0]
            assert column.value is not None
            delta_D = column.value.z_D.to(outputs_CD) - outputs_CD[at]
            for request in column.requests:
                for i in range(at, at + len(column.keys)):
                    value_D = column.value.z_D if i == at else outputs_CD[i] + delta_D
                    label = bare.ids[len(bare.ids) - bare.num_target :]
                    records.append(Record(request, label, keys_CI[i], value_D.to(outputs_CD), eps))
            at += len(column.keys)
        book = book.extended(records)
        again = book.extended(book.lost())
        return again if len(again.lost()) < len(book.lost()) else book

    def _columns(
        self, base: Base, requests: Sequence[EditRequest], refused: dict[str, str]
    ) -> list[Column]:
        """Columns of the requests that are not refused, in this model's contexts."""
        end = end_tokens(base.tokenizer, self.config.end)
        texts = self._contexts.of(base.model, base.tokenizer)
        return columns_of(base.tokenizer, requests, texts, end, refused)

    def _key(self, column: Column, base: Base) -> str:
        return self.value_key(column.requests[0], base.digest)
