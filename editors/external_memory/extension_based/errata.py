"""Errata: for each edited subject tokens behind its name: its targets', and one that is learnt.

The rows of the embedding of the first ones are the base's own of the targets' tokens. The row of
the last one is searched for as scoped values are, at another place: the output of the embedding. It
begins as the mean of the others. The tokens stand in sentences that have a word of the edited
relation (`relation_stems`). No weight of the base changes, and a prompt without an edited subject
is the base's, token by token. A checkpoint holds it all, so that any program serves it that reads
`tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.errata import Errata, Erratum
from editors.editor import EditorCall, Proposal, Work
from editors.external_memory.extension_based.relation_stems import relation_stems
from editors.external_memory.extension_based.scoped import (
    Scoped,
    ScopedConfig,
    ScopedValueConfig,
)
from editors.external_memory.extension_based.subject_names import names_of
from editors.internals.tokens import TokenRow
from editors.request import EditRequest
from editors.values.columns import Column, reports_of
from editors.values.search import FactRows, Value, optimise
from infra.errors import ConfigError, ModelError
from infra.models.longer_vocabulary import require_kept
from infra.models.tokenizer.insertion import normal_name, with_insertions

MAX_AHEAD = 24
"""Tokens of targets behind a name, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErratumValueConfig(ScopedValueConfig):
    """How a row is searched for: the change of the row that it begins as."""

    learning_rate: float = 0.2
    beta2: float = 0.95
    per_coordinate: bool = True
    clamp: float = 10.0
    stop_loss: float = 0.1
    kl_weight: float = 0.0
    decay: float = 0.5
    """A weight on the change keeps the row near the targets' embeddings: texts that were not seen
    follow it better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrataConfig(ScopedConfig):
    """Settings of errata."""

    nearness: float = 0.15
    """A token stands in sentences with a word of its relation's statements and question, or with
    one near the relation: least cosine between the two (`relation_stems`); -1: in all sentences. -1
    to 1."""
    margin: float = 0.1
    """A word is no nearer to another relation by more than this, a difference of cosines. 0 to
    2."""
    values: ErratumValueConfig = field(default_factory=ErratumValueConfig)
    """The search for rows."""

    def __post_init__(self) -> None:
        ScopedConfig.__post_init__(self)
        if self.layer is not None:
            raise ConfigError(
                f"ErrataConfig: layer={self.layer}, but rows stand in the embedding. Leave `layer` "
                "unset."
            )


class ErrataEditor(Scoped):
    """Errata as an `editors.editor.Editor`."""

    METHOD: ClassVar[str] = "erratum-3"
    in_checkpoint: ClassVar[bool] = True
    shardable: ClassVar[bool] = False
    Config: ClassVar[type[Any]] = ErrataConfig

    def __init__(self, config: ErrataConfig | None = None) -> None:
        super().__init__(config or ErrataConfig())

    def prepare(self, call: EditorCall[Any], requests: Sequence[EditRequest]) -> Work:
        """As for scoped values; names that no rule can have are refused too.

        Raises ModelError for a tokenizer that cannot insert tokens, or whose rules would not be
        read from its files.
        """
        work = super().prepare(call, requests)
        if work.groups:
            inserts = with_insertions(call.base.tokenizer, [[work.groups[0][0].subject]])
            require_kept(inserts, call.base.model.config)
        return work

    def find_values(self, call: EditorCall[Any], group: Sequence[EditRequest]) -> dict[str, Tensor]:
        """The rows [D + 4] (`Value.pack`) of one group, by content key."""
        base = call.base
        columns = self._columns(base, group, {})
        starts = [_start(base, column) for column in columns]
        facts = [
            _with_tokens(fact, (*_ahead(base, columns[i]), len(base.tokenizer) + i))
            for i, fact in enumerate(self._with_kept(base, columns))
        ]
        errata = [
            Erratum((column.requests[0].subject,), start_D, tuple(column.requests))
            for column, start_D in zip(columns, starts, strict=True)
        ]
        part = _part(base, errata)
        embedding = base.model.get_input_embeddings()
        scale = _scale(embedding)
        with Delta((part,)).applied(base.model):
            found = optimise(
                base.architecture,
                facts,
                0,
                self.config.values,
                place="embedding",
                as_change=True,
                progress=call.progress,
                group=base.group,
            )
        rows = [
            replace(value, z_D=start_D + value.z_D.to(start_D) / scale)
            for value, start_D in zip(found, starts, strict=True)
        ]
        return self._packed(base, columns, rows)

    def propose(self, call: EditorCall[Any], work: Work) -> Proposal:
        """The errata of all requests that can be carried out, and a report for every one."""
        base, refused = call.base, dict(work.refused)
        columns = self._columns(base, work.requests, refused)
        for column in columns:
            column.value = Value.unpack(call.store[self._key(column, base)])
        subjects = {column.requests[0].subject: column.requests for column in columns}
        names = names_of(base.tokenizer, subjects)
        taken = {normal_name(base.tokenizer, subject) for subject in subjects}
        usable = [column for column in columns if column.usable]
        words: list[tuple[str, ...]] = [()] * len(usable)
        if len(call.relations) > 1 and usable and self.config.nearness > -1:
            words = relation_stems(
                base,
                call.relations,
                [column.requests for column in usable],
                nearness=self.config.nearness,
                margin=self.config.margin,
            )
        errata = [
            Erratum(
                _distinct(base.tokenizer, names[column.requests[0].subject], taken),
                column.value.z_D,
                tuple(column.requests),
                _ahead(base, column),
                own,
            )
            for column, own in zip(usable, words, strict=True)
            if column.value is not None
        ]
        call.progress("errata", len(errata), len(errata))
        part = _part(base, errata)
        return Proposal(Delta((part,)), reports_of(work.requests, columns, refused))

    def _columns(
        self, base: Base, requests: Sequence[EditRequest], refused: dict[str, str]
    ) -> list[Column]:
        """As for scoped values; `refused` gains names that cannot be had in a rule, and those that
        the tokenizer makes one with another subject's."""
        columns: list[Column] = []
        taken: dict[str, str] = {}
        for column in super()._columns(base, requests, refused):
            subject = column.requests[0].subject
            try:
                other = taken.setdefault(normal_name(base.tokenizer, subject), subject)
                reason = f"{subject!r} and {other!r} are one name to the tokenizer"
            except ModelError as error:
                other, reason = None, str(error)
            if other == subject:
                columns.append(column)
            else:
                refused |= {request.id: reason for request in column.requests}
        return columns


def _part(base: Base, errata: Sequence[Erratum]) -> Errata:
    """The part with these errata, for the base model."""
    embedding = base.model.get_input_embeddings()
    name = next(name for name, module in base.model.named_modules() if module is embedding)
    return Errata(name, len(base.tokenizer), len(embedding.weight), tuple(errata))


def _distinct(tokenizer: Any, names: Sequence[str], taken: set[str]) -> tuple[str, ...]:
    """A subject's names, its own first, without those that cannot be had in a rule or are one with
    a name that is taken; `taken`, which has the subjects' own, gains the others."""
    own, *aliases = names
    distinct = [own]
    for alias in aliases:
        try:
            normal = normal_name(tokenizer, alias)
        except ModelError:
            continue
        if normal not in taken:
            taken.add(normal)
            distinct.append(alias)
    return tuple(distinct)


def _ahead(base: Base, column: Column) -> tuple[int, ...]:
    """The tokens that stand in front of the learnt one: those of the targets, at most `MAX_AHEAD`.
    A model is inclined to repeat what it has read."""
    targets = dict.fromkeys(f" {request.target}" for request in column.requests)
    ids = base.tokenizer([*targets], add_special_tokens=False)["input_ids"]
    return tuple(i for own in ids for i in own)[:MAX_AHEAD]


def _start(base: Base, column: Column) -> Tensor:
    """What a row begins as: the mean of the embeddings of the tokens in front of it, [D]."""
    ids = list(_ahead(base, column))
    return base.model.get_input_embeddings().weight[ids].detach().float().mean(dim=0).cpu()


@torch.no_grad()
def _scale(embedding: Any) -> float:
    """What the embedding multiplies its rows by, as Gemma 3's does."""
    token = torch.zeros(1, dtype=torch.long, device=embedding.weight.device)
    return float(embedding(token).float().norm() / embedding.weight[0].float().norm())


def _with_tokens(fact: FactRows, tokens: tuple[int, ...]) -> FactRows:
    """The rows of a fact with tokens behind the subject, looked up at the last of these."""
    return replace(
        fact,
        rows=tuple(_inserted(row, tokens) for row in fact.rows),
        kept=tuple(_inserted(row, tokens) for row in fact.kept),
        kept_base=fact.kept,
    )


def _inserted(row: TokenRow, tokens: tuple[int, ...]) -> TokenRow:
    """A row with tokens behind the one that was looked up."""
    at = row.lookup + 1
    return replace(
        row, ids=(*row.ids[:at], *tokens, *row.ids[at:]), lookup=row.lookup + len(tokens)
    )
