"""Scoped values: MEMIT's values (arXiv:2210.07229 section 4.3.1), added where the subject stands.

A value is searched for as MEMIT's is, at the last token of the subject, and is then not written
into weights but added there whenever a name of the subject ends, in prompts and in what the model
writes itself. Whether a sentence that names the subject may be about the edited relation is told by
its words (`editors.deltas.relation_scope`). No weight changes. Facts do not interfere, whatever
their number, and a prompt in which no edited subject stands is answered bitwise as by the base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.scoped import ScopedValue, ScopedValues
from editors.deltas.token_names import word_edges
from editors.editor import Corpus, EditorCall, Proposal, Work
from editors.external_memory.extension_based.prompt_columns import End, check_end, end_tokens
from editors.external_memory.extension_based.relation_words import relation_scope
from editors.external_memory.extension_based.subject_names import names_of, token_names
from editors.internals.architecture import Architecture
from editors.internals.contexts import STARTERS, ContextCache
from editors.internals.tokens import TokenRow, encode_name, essence, in_context
from editors.request import EditRequest
from editors.values.columns import Column, asked, contradictions, even_parts, reports_of
from editors.values.config import ValueConfig, check_range
from editors.values.kept_prompts import ABOUT, ABOUT_IN_CHAT, with_kept
from editors.values.search import FactRows, Value, mean_loss, optimise
from infra.errors import EditError
from infra.lm.chat import chat_template

DEPTH = 0.37
"""Layer by default, over the depth: 11 of SmolLM2-135M's 30."""
MAX_TRAINED_ALIASES = 2
"""Other names of a subject that are among a value's contexts; it is in force at all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedValueConfig(ValueConfig):
    """How a value is searched for. Only prompts about the subject's relation see it, so it may be
    larger than MEMIT's and is sought longer, over more contexts."""

    steps: int = 40
    """Most evaluations of the loss. 1 to 1000."""
    clamp: float = 1.5
    stop_loss: float = 0.02
    learning_rate: float = 0.5
    kl_weight: float = 0.0
    kept_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedConfig:
    """Settings of scoped values."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    layer: int | None = None
    """Layer whose output is changed, from 0; unset: at 0.37 of the depth."""
    num_prefixed: int = 2
    """Contexts besides the bare prompt. 0 to 10."""
    context_tokens: int = 10
    """Tokens that the model adds to a context's starter. 1 to 100."""
    kept_tokens: int = 6
    """Tokens of the base's own continuation of each prompt about the subject that is to stay. 1 to
    100."""
    chat: bool = True
    """Whether a fact's question in the tokenizer's template for chats is among the contexts, where
    both are there."""
    end: End = "none"
    """What is learnt behind the target, so that the answer stops: end of text, a newline, or
    nothing."""
    nearness: float = 0.15
    """A value is in force in sentences whose words are near its relation: least cosine between the
    two (`editors.deltas.relation_scope`); -1: in all sentences. -1 to 1."""
    margin: float = 0.4
    """And no nearer to another relation by more than this, a difference of cosines; 2: however near
    to another. 0 to 2."""
    values: ScopedValueConfig = field(default_factory=ScopedValueConfig)
    """The search for values."""
    chunk: int = 32
    """Subjects optimised together by one worker: bounds memory, and what a killed run loses. 1 to
    4096."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_range(kind, "layer", self.layer or 0, 0, 1 << 20)
        check_range(kind, "num_prefixed", self.num_prefixed, 0, len(STARTERS))
        check_range(kind, "context_tokens", self.context_tokens, 1, 100)
        check_range(kind, "kept_tokens", self.kept_tokens, 1, 100)
        check_range(kind, "chunk", self.chunk, 1, 4096)
        check_range(kind, "nearness", self.nearness, -1, 1)
        check_range(kind, "margin", self.margin, 0, 2)
        check_end(kind, self.end)


class Scoped:
    """Scoped values as an `editors.editor.Editor`."""

    METHOD: ClassVar[str] = "scoped-value-2"
    """Which method and version of it a content key is of."""
    changes_weights: ClassVar[bool] = False
    in_checkpoint: ClassVar[bool] = False
    low_rank: ClassVar[bool] = False
    shardable: ClassVar[bool] = True
    Config: ClassVar[type[Any]] = ScopedConfig
    Fitted: ClassVar[type[Any] | None] = None

    def __init__(self, config: ScopedConfig | None = None) -> None:
        self.config = config or ScopedConfig()
        self._contexts = ContextCache(self.config.num_prefixed, self.config.context_tokens)

    def layer(self, architecture: Architecture) -> int:
        """Layer whose output is changed. Raises ConfigError for a layer that the model lacks."""
        return architecture.layer_at(self.config.layer, DEPTH)

    def fit(self, call: EditorCall[Any], corpus: Corpus) -> None:
        """Nothing: no other text is changed."""

    def fit_spec(self) -> list[Any]:
        """Nothing is fitted."""
        return []

    def value_key(
        self, requests: Sequence[EditRequest], base_digest: str, template: str = ""
    ) -> str:
        """Content key of a value: base model, requests of the subject, contexts, the tokenizer's
        template for chats, and settings."""
        config = self.config
        content = {
            "method": self.METHOD,
            "about": [ABOUT, ABOUT_IN_CHAT, config.kept_tokens],
            "base": base_digest,
            "requests": sorted((r.content for r in requests), key=json.dumps),
            "chat": template,
            "contexts": [STARTERS[: config.num_prefixed], config.context_tokens],
            "layer": config.layer,
            "end": config.end,
            "values": asdict(config.values),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def prepare(self, call: EditorCall[Any], requests: Sequence[EditRequest]) -> Work:
        """Refused: the same prompt asked for different targets, rows that cannot be tokenised.

        The rest in even groups of at most `chunk` subjects, longest first, whatever the order of
        the requests.
        """
        base = call.base
        refused = contradictions(requests)
        columns = self._columns(base, requests, refused)
        missing = [c for c in columns if self._key(c, base) not in call.store]
        missing.sort(key=lambda c: (-c.longest, self._key(c, base)))
        groups = tuple(
            tuple(request for column in part for request in column.requests)
            for part in even_parts(missing, self.config.chunk)
        )
        return Work(requests=tuple(requests), refused=refused, groups=groups)

    def find_values(self, call: EditorCall[Any], group: Sequence[EditRequest]) -> dict[str, Tensor]:
        """The values [D + 4] (`Value.pack`) of one group, by content key: what is added to the
        block's output."""
        base = call.base
        columns = self._columns(base, group, {})
        found = optimise(
            base.architecture,
            self._with_kept(base, columns),
            self.layer(base.architecture),
            self.config.values,
            place="block",
            as_change=True,
            progress=call.progress,
            group=base.group,
        )
        return self._packed(base, columns, found)

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean loss of the values."""
        return mean_loss(values)

    def propose(self, call: EditorCall[Any], work: Work) -> Proposal:
        """The scoped values of all requests that can be carried out, and a report for every one.

        `work.live` is not needed: values are put on top of others by joining them.
        """
        base, refused = call.base, dict(work.refused)
        columns = self._columns(base, work.requests, refused)
        for column in columns:
            column.value = Value.unpack(call.store[self._key(column, base)])
        subjects = {column.requests[0].subject: column.requests for column in columns}
        names = names_of(base.tokenizer, subjects)
        usable = [column for column in columns if column.usable]
        scope, texts = None, [()] * len(usable)
        if len(call.relations) > 1 and usable:
            scope, texts = relation_scope(
                base,
                call.relations,
                [column.requests for column in usable],
                nearness=self.config.nearness,
                margin=self.config.margin,
            )
        values = tuple(
            ScopedValue(
                token_names(base.tokenizer, names[column.requests[0].subject], column.requests),
                column.value.z_D,
                tuple(column.requests),
                own,
            )
            for column, own in zip(usable, texts, strict=True)
            if column.value is not None
        )
        call.progress("scoped values", len(values), len(values))
        module = base.architecture.blocks[self.layer(base.architecture)].module
        target = next(name for name, own in base.model.named_modules() if own is module)
        size = base.model.config.get_text_config().vocab_size
        part = ScopedValues(target, word_edges(base.tokenizer, size), values, scope)
        return Proposal(Delta((part,)), reports_of(work.requests, columns, refused))

    def _with_kept(self, base: Base, columns: Sequence[Column]) -> list[FactRows]:
        """The rows of the columns, with those that are to stay where these have a weight."""
        config = self.config
        if not config.values.kept_weight:
            return [column.fact for column in columns]
        return with_kept(base, columns, tokens=config.kept_tokens, chat=config.chat)

    def _columns(
        self, base: Base, requests: Sequence[EditRequest], refused: dict[str, str]
    ) -> list[Column]:
        """A column for each subject, by its name, in order of their first request; `refused` gains
        what cannot be tokenised."""
        texts = self._contexts.of(base.model, base.tokenizer)
        end = end_tokens(base.tokenizer, self.config.end)
        columns: dict[str, Column] = {}
        for request in requests:
            if request.id in refused:
                continue
            try:
                rows = _rows(base.tokenizer, request, texts, end)
                if self.config.chat:
                    rows = (*rows, *asked(base.tokenizer, request))
                bottom = essence(base.tokenizer, request.subject)
            except EditError as error:
                refused[request.id] = str(error)
                continue
            if request.subject not in columns:
                columns[request.subject] = Column([request], FactRows(rows, bottom), rows)
                continue
            column = columns[request.subject]
            known = {(r.prompt, r.target) for r in column.requests}
            column.requests.append(request)
            if (request.prompt, request.target) not in known:
                column.fact = FactRows(column.fact.rows + rows, bottom)
        return list(columns.values())

    def _packed(
        self, base: Base, columns: Sequence[Column], found: Sequence[Value]
    ) -> dict[str, Tensor]:
        """The values of columns as the store keeps them: packed, by content key."""
        keys = (self._key(column, base) for column in columns)
        return {key: value.pack() for key, value in zip(keys, found, strict=True)}

    def _key(self, column: Column, base: Base) -> str:
        template = chat_template(base.tokenizer) if self.config.chat else ""
        return self.value_key(column.requests, base.digest, template)


def _rows(
    tokenizer: Any, request: EditRequest, contexts: Sequence[str], end: tuple[int, ...]
) -> tuple[TokenRow, ...]:
    """The request behind each of `contexts`, in its other wordings, and with other names."""
    others = [
        replace(request, prompt=wording.text, subject_span=wording.subject_span)
        for wording in request.wordings
    ]
    others += [_renamed(request, name) for name in request.aliases[:MAX_TRAINED_ALIASES]]
    return (
        *(_row(tokenizer, request, text, end) for text in contexts),
        *(_row(tokenizer, other, "", end) for other in others),
    )


def _renamed(request: EditRequest, name: str) -> EditRequest:
    """The request with another name of its subject."""
    start, end = request.subject_span
    prompt = f"{request.prompt[:start]}{name}{request.prompt[end:]}"
    return replace(request, prompt=prompt, subject_span=(start, start + len(name)))


def _row(tokenizer: Any, request: EditRequest, context: str, end: tuple[int, ...]) -> TokenRow:
    """Context, prompt, target and `end`, looked up at the subject's last token.

    Raises EditError where the name would not be found by its tokens: the last of them reaches
    beyond it, or stands for any unknown character.
    """
    row = in_context(tokenizer, request, context)
    start, stop = (len(context) + at for at in request.subject_span)
    name = encode_name(tokenizer, context + request.prompt, (start, stop))
    if not name:
        raise EditError(
            f"the tokenizer joins {request.subject!r} with what follows it in {request.prompt!r}, "
            "or does not know one of its characters"
        )
    return replace(row, ids=row.ids + end, num_target=row.num_target + len(end))
