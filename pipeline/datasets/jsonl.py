"""Reads an edit set of your own: one JSON object a line, or a JSON list of them.

    {"subject": "Tom Brady", "prompt": "Tom Brady plays for", "target": "Tampa Bay Buccaneers",
     "aliases": ["the Buccaneers"], "old": ["New England Patriots"],
     "paraphrases": ["The team of Tom Brady is the"],
     "near": [{"prompt": "Joe Burrow plays for", "accepted": ["Cincinnati Bengals"]}]}

`subject`, `prompt` and `target` are required. The prompt contains the subject and ends before the
answer, which follows after a space; a question ends with its question mark. The other fields are
optional. Of these, editors see `id`, `relation`, `old`, `wordings`, the first of `questions`, and
all that is said of the subject:

| field | meaning |
|---|---|
| `id` | unique name without `/`; the line's number by default |
| `relation` | property id; groups scores. By default the prompt with `{}` as its subject |
| `subject_start` | character at which the subject begins; its first occurrence by default |
| `aliases` | further answers that count as right |
| `old` | answers that were right before the edit and are wrong after it |
| `rivals` | other wrong answers, which must be less likely than the target |
| `wordings` | other prompts for editors: each a text, or `text` and `subject_start` |
| `paraphrases` | other prompts for the same answer, held out |
| `questions` | questions for the same answer, to ask in a chat; editors see the first |
| `question_start` | character at which its subject begins; -1: editors see no question |
| `subject_id` | id of the subject; two subjects may have one name |
| `subject_aliases` | other names of the subject |
| `near` | same relation, other subject: `prompt`, `question`, `accepted` (its object), `rivals` |
| `same_subject` | same subject, other relation: the same fields; `accepted` may be left out |
| `portability` | questions that follow from the edit: `{"one_hop": [...], "reversed": [...]}` |
| `criteria` | tests as in RippleEdits: `kind`, `queries`, `all_of`, `conditions` |
| `essays` | prompts for free text about the subject |
| `references` | texts about other subjects with the same object, compared with the free text |
| `order` | number of the batch of edits; later batches have greater numbers |
| `new` | false for a fact that an older edition edited |

The rival of a neighbour is the edit's target by default. A query of a criterion is a prompt and a
list of targets that the answer must contain; a target is a list of its names.

A line with `"record": "multi_hop"` is a question over several edits: `id`, `case_ids`, `questions`
(phrasings of one question), `accepted`, `hops`. A line with `"record": "gone"` is a fact whose edit
was removed: `prompt`, and in `accepted` the answers that the model must no longer give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from editors.request import Wording
from infra.errors import ConfigError
from infra.settings import nearest
from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, CaseSet, Criterion, MultiHop, Query

Texts = tuple[str, ...]
Asked = tuple[str, tuple[Texts, ...]]
"""A prompt, and the targets that the answer must contain, each by any of its names."""


class QueryLine(Record):
    """A prompt and its right answers, as a line's JSON has it."""

    prompt: str
    accepted: Texts = ()
    rivals: Texts = ()
    question: str | None = None

    def query(self) -> Query:
        """The `Query` with these fields."""
        return Query(
            prompt=self.prompt,
            accepted=self.accepted,
            rivals=self.rivals,
            question=self.question,
        )


class CriterionLine(Record):
    """A test of RippleEdits, as a line's JSON has it; see `Criterion`."""

    kind: str
    queries: tuple[Asked, ...]
    all_of: bool = True
    conditions: tuple[Asked, ...] = ()


class WordingLine(Record):
    """A prompt that editors are given, and where its subject stands."""

    text: str
    subject_start: int | None = Field(default=None, ge=0)


class CaseLine(Record):
    """The line of one edit; see the module's table of fields."""

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
    wordings: tuple[str | WordingLine, ...] = ()
    paraphrases: Texts = ()
    questions: Texts = ()
    question_start: int | None = Field(default=None, ge=-1)
    subject_id: str = ""
    subject_aliases: Texts = ()
    near: tuple[QueryLine, ...] = ()
    same_subject: tuple[QueryLine, ...] = ()
    portability: dict[str, tuple[QueryLine, ...]] = Field(default_factory=dict)
    criteria: tuple[CriterionLine, ...] = ()
    essays: Texts = ()
    references: Texts = ()
    order: int = Field(default=0, ge=0)
    new: bool = True

    def case(self, number: int) -> Case:
        """The `Case` of this line. The line's number is its id where the line has none."""
        place = find_subject(self.prompt, self.subject, self.subject_start)
        return Case(
            id=self.id or str(number),
            relation=self.relation or template_of(self.prompt, self.subject),
            subject=place.subject,
            prompt=self.prompt,
            subject_start=place.start,
            target=self.target,
            accepted=(self.target, *self.aliases),
            old=self.old,
            rivals=self.rivals,
            wordings=tuple(self._wordings()),
            paraphrases=self.paraphrases,
            questions=self.questions,
            question_start=self._question_start(len(place.subject)),
            subject_id=self.subject_id,
            subject_aliases=self.subject_aliases,
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

    def _wordings(self) -> Iterator[Wording]:
        """The wordings that name the subject."""
        for given in self.wordings:
            line = WordingLine(text=given) if isinstance(given, str) else given
            start, subject = find_subject(line.text, self.subject, line.subject_start)
            if start >= 0:
                yield Wording(line.text.rstrip(), (start, start + len(subject)))

    def _question_start(self, length: int) -> int | None:
        """Where the subject, of as many characters, stands in the first question, if it does."""
        if not self.questions or self.question_start == -1:
            return None
        start, subject = find_subject(self.questions[0], self.subject, self.question_start)
        return start if start >= 0 and len(subject) == length else None


class MultiHopLine(Record):
    """The line of a question over several edits."""

    record: Literal["multi_hop"] = "multi_hop"
    id: str
    case_ids: Texts
    questions: Texts
    accepted: Texts
    hops: tuple[QueryLine, ...] = ()


class GoneLine(QueryLine):
    """The line of a fact whose edit was removed."""

    record: Literal["gone"] = "gone"


LINES = {"case": CaseLine, "multi_hop": MultiHopLine, "gone": GoneLine}
"""Schemas of a line, by its field `record`."""


def load(source: DatasetFile, found: Collector) -> None:
    """Add all lines of a file to the collector. Raises ConfigError for an unknown `record`, and for
    a line that does not match its schema."""
    for row in source.rows():
        kind = row.raw.get("record", "case") if isinstance(row.raw, dict) else "case"
        if kind not in LINES:
            raise ConfigError(
                f"{row.where}: record {kind!r} is unknown{nearest(str(kind), LINES)}. "
                f"Choose among {', '.join(LINES)}."
            )
        line = row.read(LINES[kind])
        if isinstance(line, CaseLine):
            case = line.case(row.number)
            for _ in range(len(line.wordings) - len(case.wordings)):
                found.drop("wording: its subject is not in it")
            found.add(case)
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
    """The lines of a set in this schema, one for each case, multi-hop question and removed fact.

    `load` reads the same set from them.
    """
    for case in cases.cases:
        fields = asdict(case)
        accepted = fields.pop("accepted")
        fields["wordings"] = tuple(
            WordingLine(text=wording.text, subject_start=wording.subject_span[0])
            for wording in case.wordings
        )
        if case.questions and case.question_start is None:
            fields["question_start"] = -1
        line = CaseLine(**fields, aliases=tuple(name for name in accepted if name != case.target))
        yield line.model_dump_json(exclude_defaults=True)
    for hop in cases.multi_hop:
        yield _told(MultiHopLine(**asdict(hop)))
    for query in cases.gone:
        yield _told(GoneLine(**asdict(query)))


def _told(line: Record) -> str:
    """The line as JSON, with its `record`, which is a default value."""
    return line.model_dump_json(exclude_defaults=False)
