"""MEMIT (arXiv:2210.07229): many facts written at once into the MLP projections of a few layers.

Values are optimised at the last edited layer L (`editors/values/search.py`), then each layer in
ascending order, on the model already modified below, takes its share of what is still missing
(`editors/local_modification/spread.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.base import Base
from editors.editor import Corpus, EditorCall, Proposal, Work
from editors.internals.architecture import Architecture
from editors.internals.carry import Carry
from editors.internals.contexts import STARTERS, ContextCache
from editors.internals.forward import frozen, plain_attention
from editors.internals.tokens import windows
from editors.local_modification import least_squares
from editors.local_modification.spread import layer_change, spread
from editors.request import EditRequest
from editors.statistics.fisher import fisher
from editors.statistics.key_moments import Statistics, fit
from editors.values.columns import Column, columns_of, contradictions, even_parts, reports_of
from editors.values.config import ValueConfig, check_range
from editors.values.kept_prompts import ABOUT, ABOUT_IN_CHAT, with_kept
from editors.values.search import Value, mean_loss, optimise
from infra.distributed.group import share
from infra.errors import ConfigError, ModelError
from infra.lm.chat import chat_template
from infra.lm.text_tokens import added_in_front

FIRST, LAST = 0.1, 0.37
"""Layers by default, over the depth: 3 to 11 of SmolLM2-135M's 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemitConfig:
    """Settings of MEMIT."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    layers: tuple[int, ...] = ()
    """Layers to edit, ascending, counted from 0; empty: those from 0.1 to 0.37 of the depth. What
    other text sees of an edit falls with the root of their number; the first few layers and those
    past the middle do more harm than they share."""
    cov_ratio: float = 0.1
    """w over the median leverage of the keys: how much the corpus resists. (0, 100]."""
    ridge: float = 1e-4
    """Added to C, over its median diagonal entry. [0, 1]."""
    null_space: float = 1.0
    """Share of the directions of least energy in C that an edit is confined to, as AlphaEdit
    (arXiv:2410.02355) does; C then counts for nothing else. 1 is MEMIT. (0, 1]."""
    min_leverage: float = 0.1
    """Least leverage of a request's key, over the width of C (what a key of ordinary text has on
    average); below, it is quarantined: its subject ends on an attention sink, and all text would
    follow the edit. [0, 1e9]."""
    num_prefixed: int = 1
    """Contexts besides the bare prompt. 0 to 10."""
    context_tokens: int = 10
    """Tokens that the model adds to a context's starter. 1 to 100."""
    wordings: bool = False
    """Whether a request's other wordings are among the contexts, and its question in the
    tokenizer's template for chats. They raise what is known in a chat; but a change of weights that
    is to serve them all serves the prompt less, and changes other chats, whose tokens are not in
    the statistics that hold ordinary text."""
    kept_tokens: int = 6
    """Where what the base says of the subject is to stay (`values.kept_weight`): tokens of its
    continuation of each prompt. 1 to 100."""
    values: ValueConfig = field(default_factory=ValueConfig)
    """The search for values."""
    chunk: int = 64
    """Facts optimised together: bounds memory, and what a killed run loses. 1 to 4096."""
    statistics_tokens: int = 16384
    """Tokens that C is estimated from; at least ten times the MLP's width is advised. At least
    1."""
    fisher_tokens: int = 4096
    """Tokens that the Fisher information at the site of values is estimated from; 0 does without.
    0 to 1e9."""
    window: int = 64
    """Longest run of text in the statistics, tokens, with what the tokenizer puts in front of a
    text: prompts are short, and first tokens, which short runs have more of, are to be protected.
    1 to 1048576."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if list(self.layers) != sorted(set(self.layers)) or any(i < 0 for i in self.layers):
            raise ConfigError(f"{kind}: layers={self.layers} must be ascending, distinct and >= 0.")
        check_range(kind, "cov_ratio", self.cov_ratio, 0, 100, open_low=True)
        check_range(kind, "ridge", self.ridge, 0, 1)
        check_range(kind, "null_space", self.null_space, 0, 1, open_low=True)
        check_range(kind, "min_leverage", self.min_leverage, 0, 1e9)
        check_range(kind, "num_prefixed", self.num_prefixed, 0, len(STARTERS))
        check_range(kind, "context_tokens", self.context_tokens, 1, 100)
        check_range(kind, "kept_tokens", self.kept_tokens, 1, 100)
        check_range(kind, "chunk", self.chunk, 1, 4096)
        check_range(kind, "statistics_tokens", self.statistics_tokens, 1, math.inf)
        check_range(kind, "fisher_tokens", self.fisher_tokens, 0, 1e9)
        check_range(kind, "window", self.window, 1, 1 << 20)


class Memit:
    """MEMIT as an `editors.editor.Editor`."""

    changes_weights: ClassVar[bool] = True
    in_checkpoint: ClassVar[bool] = True
    low_rank: ClassVar[bool] = True
    shardable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = MemitConfig
    Fitted: ClassVar[type[Any] | None] = Statistics

    def __init__(self, config: MemitConfig | None = None) -> None:
        self.config = config or MemitConfig()
        self._contexts = ContextCache(self.config.num_prefixed, self.config.context_tokens)

    def layers(self, architecture: Architecture) -> tuple[int, ...]:
        """Layers to edit. Raises ConfigError for layers the model lacks, ModelError for those whose
        block cannot be edited, and for more than one where the block normalises its MLP's output,
        since shares of a residual do not add up there."""
        num_layers = len(architecture.blocks)
        first, last = round(FIRST * num_layers), round(LAST * num_layers)
        layers = self.config.layers
        if not layers:
            layers = tuple(architecture.editable(range(first, last + 1)))
            spread = all(architecture.blocks[i].gain is not None for i in layers)
            layers = layers if spread else layers[-1:]
        name = type(architecture.model).__name__
        if layers[-1] >= num_layers:
            raise ConfigError(
                f"layers={layers} but {name} has {num_layers} (0-{num_layers - 1}). Choose lower "
                "layers or leave `layers` unset."
            )
        if len(layers) > 1 and any(architecture.blocks[i].gain is None for i in layers):
            raise ModelError(
                f"{name} normalises the MLP's output before adding it, so an edit cannot be spread "
                f"over layers={layers}. Give one layer or leave `layers` unset."
            )
        return layers

    def fit(self, call: EditorCall[Any], corpus: Corpus) -> Statistics:
        """Second moments of the keys of the layers to edit; on general text also the Fisher
        information at the site of values."""
        config, base = self.config, call.base
        architecture, part = base.architecture, corpus.part
        layers = self.layers(architecture)
        statistics = fit(
            base.model,
            base.tokenizer,
            corpus.texts,
            layers,
            max_tokens=config.statistics_tokens,
            window=config.window,
            part=part,
            progress=call.progress,
            architecture=architecture,
            group=base.group,
        )
        if corpus.general and config.fisher_tokens:
            rows = windows(
                base.tokenizer,
                corpus.texts,
                max_tokens=config.fisher_tokens,
                window=architecture.longest(config.window),
            )
            with frozen(base.model), plain_attention(base.model):
                statistics.site_DD, statistics.num_site = fisher(
                    architecture,
                    share(rows[part[0] :: part[1]], base.group),
                    layers[-1],
                    num_front=len(added_in_front(base.tokenizer)),
                    group=base.group,
                )
        return statistics

    def fit_spec(self) -> list[Any]:
        """What the statistics depend on besides model and text, for their content key."""
        config = self.config
        return [
            "moments-2",
            config.layers,
            config.statistics_tokens,
            config.window,
            config.fisher_tokens,
        ]

    def value_key(
        self,
        request: EditRequest,
        base_digest: str,
        joined: Sequence[EditRequest] = (),
        metric: str = "",
        template: str = "",
    ) -> str:
        """Content key of a value: base model, requests that share it, contexts, settings, the
        digest of the site's Fisher information, and the tokenizer's template for chats.

        Ids and old targets are no part of it, nor is the order of the requests.
        """
        config = self.config
        content = {
            "method": "memit-value-3",
            "base": base_digest,
            "requests": sorted((self._content(r) for r in (request, *joined)), key=json.dumps),
            "chat": template,
            "contexts": [STARTERS[: config.num_prefixed], config.context_tokens],
            "layer": config.layers[-1] if config.layers else "default",
            "values": asdict(config.values),
            "metric": metric,
        }
        if config.values.kept_weight:
            content["about"] = [ABOUT, ABOUT_IN_CHAT, config.kept_tokens]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _content(self, request: EditRequest) -> list[Any]:
        """What a value depends on of a request."""
        if self.config.wordings:
            return request.content
        return [request.prompt, *request.subject_span, request.target]

    def prepare(self, call: EditorCall[Statistics], requests: Sequence[EditRequest]) -> Work:
        """Refused: the same prompt asked for different targets, rows that cannot be tokenised, keys
        that cannot be told from ordinary text.

        The rest in even groups of at most `chunk` facts, longest first. Groups depend neither on
        the order of the requests nor, while whole groups become known, on how many already are.
        """
        base, fitted = call.base, call.fitted
        refused = contradictions(requests)
        columns = self._columns(base, requests, refused)
        with frozen(base.model), torch.no_grad():
            columns = self._screened(base.architecture, columns, fitted, refused)
        missing = [c for c in columns if self._key(c, base, fitted) not in call.store]
        missing.sort(key=lambda c: (-c.longest, self._key(c, base, fitted)))
        groups = tuple(
            tuple(request for column in part for request in column.requests)
            for part in even_parts(missing, self.config.chunk)
        )
        return Work(requests=tuple(requests), refused=refused, groups=groups)

    def find_values(
        self, call: EditorCall[Statistics], group: Sequence[EditRequest]
    ) -> dict[str, Tensor]:
        """The values [D + 4] (`Value.pack`) of one group of requests, by content key."""
        base, fitted = call.base, call.fitted
        columns = self._columns(base, group, {})
        layer = self.layers(base.architecture)[-1]
        facts = [column.fact for column in columns]
        if self.config.values.kept_weight:
            tokens, chat = self.config.kept_tokens, self.config.wordings
            facts = with_kept(base, columns, tokens=tokens, chat=chat)
        found = optimise(
            base.architecture,
            facts,
            layer,
            self.config.values,
            G_DD=fitted.site,
            progress=call.progress,
            group=base.group,
        )
        keys = [self._key(column, base, fitted) for column in columns]
        return dict(zip(keys, (value.pack() for value in found), strict=True))

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean loss of the values."""
        return mean_loss(values)

    def propose(self, call: EditorCall[Statistics], work: Work) -> Proposal:
        """A delta for all requests that can be carried out, and a report for every one.

        Requests whose tokens agree up to the subject's last one share key, value and column: their
        losses are averaged, since two values for one key would cancel out. Losses that are not
        finite are quarantined like what `prepare` refused. The keys of `work.live` are held where
        they are: with them, batch after batch equals one joint solve of keys and values that stay
        put (recursive least squares).
        """
        base, fitted = call.base, call.fitted
        columns = self._columns(base, work.requests, work.refused)
        for column in columns:
            column.value = Value.unpack(call.store[self._key(column, base, fitted)])
        found = [column for column in columns if column.usable]
        live = self._columns(base, work.live, {})
        with frozen(base.model), torch.no_grad():
            delta, conditions = spread(
                base.architecture,
                self.layers(base.architecture),
                found,
                live,
                fitted,
                partial(
                    layer_change,
                    cov_ratio=self.config.cov_ratio,
                    ridge=self.config.ridge,
                    null_space=self.config.null_space,
                ),
                call.progress,
            )
        return Proposal(delta, reports_of(work.requests, columns, work.refused), conditions)

    def _columns(
        self, base: Base, requests: Sequence[EditRequest], refused: dict[str, str]
    ) -> list[Column]:
        """Columns of the requests that are not refused, in this model's contexts."""
        texts = self._contexts.of(base.model, base.tokenizer)
        return columns_of(base.tokenizer, requests, texts, refused, wordings=self.config.wordings)

    def _key(self, column: Column, base: Base, fitted: Statistics) -> str:
        first, *joined = column.requests
        template = chat_template(base.tokenizer) if self.config.wordings else ""
        return self.value_key(first, base.digest, joined, fitted.site_digest, template)

    def _screened(
        self,
        architecture: Architecture,
        columns: list[Column],
        statistics: Statistics,
        refused: dict[str, str],
    ) -> list[Column]:
        """Columns whose bare keys can be told from ordinary text; the others go to `refused`."""
        if not columns:
            return []
        layers = self.layers(architecture)
        carry = Carry(architecture, [c.keys[0] for c in columns], layers[0], layers[-1])
        least_E = torch.full((len(columns),), torch.inf, dtype=torch.float64)
        for layer in layers:
            carry.advance(layer)
            K_IE = carry.keys()
            L_II = least_squares.factor(
                statistics.moment(layer).to(K_IE.device), ridge=self.config.ridge
            )
            least_E = torch.minimum(least_E, least_squares.leverage(K_IE, L_II).cpu() / len(K_IE))
        for column, least in zip(columns, least_E.tolist(), strict=True):
            for request in column.requests if least < self.config.min_leverage else ():
                refused[request.id] = (
                    f"the key of {request.subject!r} has a leverage of {least:.3f} of its width, "
                    f"below min_leverage={self.config.min_leverage}: other text would change too"
                )
        return [column for column in columns if column.requests[0].id not in refused]
