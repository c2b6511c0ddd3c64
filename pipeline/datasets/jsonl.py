"""Your own edit set: one JSON object a line (or a JSON list of them), in a schema of ours.

    {"subject": "Tom Brady", "prompt": "Tom Brady plays for", "target": "Tampa Bay Buccaneers",
     "aliases": ["the Buccaneers"], "old": ["New England Patriots"],
     "paraphrases": ["The team of Tom Brady is the"],
     "near": [{"prompt": "Joe Burrow plays for", "accepted": ["Cincinnati Bengals"]}]}

Subject, prompt and target must be there. The prompt holds the subject and ends before the answer,
which follows after a space; a question keeps its mark. All else is optional, and is held out from
editors:

| field | what it is |
|---|---|
| `id` | stable name, without `/`; the line's number where it is not given |
| `relation` | property id; groups scores. The prompt with `{}` for its subject by default |
| `subject_start` | where the subject begins, in characters; its first occurrence by default |
| `aliases` | further answers that count as right |
| `old`, `rivals` | answers that the edit supersedes; further ones that the target has to beat |
| `paraphrases` | other prompts for the same answer |
| `near` | same relation, other subject: `prompt`, `accepted` (its own object), `rivals` |
| `same_subject` | same subject, other relation: the same fields; `accepted` may be left out |
| `portability` | `{"one_hop": [...], "reversed": [...]}`: what follows from the edit |
| `criteria` | tests as in RippleEdits: `kind`, `queries`, `all_of`, `conditions` |
| `essays`, `references` | prompts for free text; texts that it is to be like |
| `order`, `new` | its batch, later is newer; false for a fact of an older edition |

Rivals of a neighbour are the edit's target by default. A query of a criterion is a prompt and a
list of things that must be said, each a list of its names.

A line with `"record": "multi_hop"` is a question over several edits: `id`, `case_ids`, `questions`
(phrasings of one), `accepted`, `hops`. One with `"record": "gone"` is a fact whose edit was taken
out: `prompt`, and in `accepted` what must not be said any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from infra.errors import ConfigError
from infra.settings import nearest
from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, CaseSet, Criterion, MultiHop, Query

Texts = tuple[str, ...]
Asked = tuple[str, tuple[Texts, ...]]


class QueryLine(Record):
    """A prompt and what is right to say next."""

    prompt: str
    accepted: Texts = ()
    rivals: Texts = ()

    def query(self) -> Query:
        """As metrics have it."""
        return Query(prompt=self.prompt, accepted=self.accepted, rivals=self.rivals)


class CriterionLine(Record):
    """A test of what should, or should not, follow."""

    kind: str
    queries: tuple[Asked, ...]
    all_of: bool = True
    conditions: tuple[Asked, ...] = ()


class CaseLine(Record):
    """One edit."""

    record: Literal["case"] = "case"
    id: str | None = Field(default=None, pattern=r"^[^/]+$")
    relation: str | None = None
    subject: str
    prompt: str
    subject_start: int | None = Field(default=None, ge=0)
    target: str
    aliases: Texts = ()
    old: Texts = ()
    rivals: Texts = ()
    paraphrases: Texts = ()
    near: tuple[QueryLine, ...] = ()
    same_subject: tuple[QueryLine, ...] = ()
    portability: dict[str, tuple[QueryLine, ...]] = Field(default_factory=dict)
    criteria: tuple[CriterionLine, ...] = ()
    essays: Texts = ()
    references: Texts = ()
    order: int = Field(default=0, ge=0)
    new: bool = True

    def case(self, number: int) -> Case:
        """As metrics have it; the line's number is the id of those that have none."""
        start = self.subject_start
        return Case(
            id=self.id or str(number),
            relation=self.relation or template_of(self.prompt, self.subject),
            subject=self.subject,
            prompt=self.prompt,
            subject_start=find_subject(self.prompt, self.subject) if start is None else start,
            target=self.target,
            accepted=(self.target, *self.aliases),
            old=self.old,
            rivals=self.rivals,
            paraphrases=self.paraphrases,
            near=tuple(line.query() for line in self.near),
            same_subject=tuple(line.query() for line in self.same_subject),
            portability={
                kind: tuple(line.query() for line in lines)
                for kind, lines in self.portability.items()
            },
            criteria=tuple(Criterion(**dict(line)) for line in self.criteria),
            essays=self.essays,
            references=self.references,
            order=self.order,
            new=self.new,
        )


class MultiHopLine(Record):
    """A question over several edits."""

    record: Literal["multi_hop"] = "multi_hop"
    id: str
    case_ids: Texts
    questions: Texts
    accepted: Texts
    hops: tuple[QueryLine, ...] = ()


class GoneLine(QueryLine):
    """A fact whose edit was taken out."""

    record: Literal["gone"] = "gone"


LINES = {"case": CaseLine, "multi_hop": MultiHopLine, "gone": GoneLine}


def load(source: DatasetFile, found: Collector) -> None:
    """All lines of a file. Raises ConfigError for a line of another kind."""
    for row in source.rows():
        kind = row.raw.get("record", "case") if isinstance(row.raw, dict) else "case"
        if kind not in LINES:
            raise ConfigError(
                f"{row.where}: record {kind!r} is unknown{nearest(str(kind), LINES)}. "
                f"Choose among {', '.join(LINES)}."
            )
        line = row.read(LINES[kind])
        if isinstance(line, CaseLine):
            found.add(line.case(row.number))
        elif isinstance(line, MultiHopLine):
            found.multi_hop.append(
                MultiHop(
                    id=line.id,
                    case_ids=line.case_ids,
                    questions=line.questions,
                    accepted=line.accepted,
                    hops=tuple(hop.query() for hop in line.hops),
                )
            )
        elif isinstance(line, GoneLine):
            found.gone.append(line.query())


def lines(cases: CaseSet) -> Iterator[str]:
    """A set of any origin in this schema, a line each; `load` reads the same set from them."""
    for case in cases.cases:
        fields = asdict(case)
        accepted = fields.pop("accepted")
        line = CaseLine(**fields, aliases=tuple(name for name in accepted if name != case.target))
        yield line.model_dump_json(exclude_defaults=True)
    for hop in cases.multi_hop:
        yield _told(MultiHopLine(**asdict(hop)))
    for query in cases.gone:
        yield _told(GoneLine(**asdict(query)))


def _told(line: Record) -> str:
    """With its kind, which is a default."""
    return line.model_dump_json(exclude_defaults=False)
