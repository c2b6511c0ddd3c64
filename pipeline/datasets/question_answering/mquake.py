"""MQuAKE (arXiv:2305.14795), also in AKEW's form: questions that need several facts, some of which
are edited.

A rewrite that occurs in several records becomes one case. All edits of a set are applied before a
question is asked, so a record that contradicts an earlier one is left out as a whole (in MQuAKE-CF
more than a third of the questions are affected, arXiv:2409.04108). A record contradicts an earlier
one if

- it edits a fact to another object than the earlier record does,
- it edits a fact that the question of the earlier record needs unchanged, or
- its question needs a fact unchanged that the earlier record edits.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from infra.lm.normal_form import normalise
from pipeline.datasets.collector import Collector, unique
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import fill
from pipeline.evaluate.cases import Case, MultiHop, Query


class Entity(Record):
    """A Wikidata item."""

    name: str = Field(alias="str")
    id: str | None = None


class Rewrite(Record):
    """One edit. Its prompt has `{}` in place of the subject. AKEW's passages are ignored."""

    model_config = ConfigDict(extra="ignore")

    prompt: str
    relation_id: str
    target_new: Entity
    target_true: Entity
    subject: str
    question: str
    """A question whose answer is the target."""

    @property
    def text(self) -> str:
        """The prompt with the subject filled in."""
        return fill(self.prompt, self.subject)


class Hop(Record):
    """One fact that the question needs, as a question and as a prompt to complete (`cloze`)."""

    question: str
    cloze: str
    answer: str
    answer_alias: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """All names of the answer ."""
        return unique((self.answer, *self.answer_alias))


class MquakeRecord(Record):
    """Edits, and a question whose answer they change. Fields on the old state are ignored."""

    model_config = ConfigDict(extra="ignore")

    case_id: int
    requested_rewrite: tuple[Rewrite, ...]
    questions: tuple[str, ...]
    """Phrasings of the question."""
    new_answer: str
    new_answer_alias: tuple[str, ...] = ()
    new_single_hops: tuple[Hop, ...]


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector, without those that contradict an earlier one.

    Raises ConfigError for a record that does not match the schema.
    """
    facts: dict[str, str] = {}  # prompt of an edit or a step -> its answer, over all kept records
    edited: dict[str, str] = {}  # prompt of an edit -> id of its case
    for row in source.rows():
        record = row.read(MquakeRecord)
        edits = {edit.text: normalise(edit.target_new.name) for edit in record.requested_rewrite}
        steps = {hop.cloze: normalise(hop.answer) for hop in record.new_single_hops}
        reason = _contradiction(edits, steps, facts, edited)
        if reason:
            found.drop(f"record: {reason}")
            continue
        for i, edit in enumerate(record.requested_rewrite):
            if edit.text not in edited:
                case = found.add(_case(f"{record.case_id}-{i}", edit, record))
                edited |= {case.prompt: case.id} if case else {}
        if not edited.keys() >= edits.keys():
            found.drop("multi_hop: not all of its edits can be made")
            continue
        facts |= steps | edits
        found.multi_hop.append(_question(record, tuple(edited[text] for text in edits)))


def _contradiction(
    edits: dict[str, str], steps: dict[str, str], facts: dict[str, str], edited: dict[str, str]
) -> str | None:
    """How a record contradicts the records kept so far; None where it does not.

    `edits` and `steps` are the record's answers by prompt. `facts` are the answers by prompt of all
    kept records, `edited` the case ids by prompt of their edits.
    """
    for prompt, answer in edits.items():
        if facts.get(prompt, answer) != answer:
            before = "edits otherwise" if prompt in edited else "relies on"
            return f"it edits what an earlier record {before}"
    for prompt, answer in steps.items():
        if prompt in edited and facts.get(prompt, answer) != answer:
            return "it relies on what an earlier record edits"
    return None


def _case(id: str, edit: Rewrite, record: MquakeRecord) -> Case:
    target = edit.target_new.name
    aliases = (n for hop in record.new_single_hops if hop.cloze == edit.text for n in hop.accepted)
    return Case(
        id=id,
        relation=edit.relation_id,
        subject=edit.subject,
        prompt=edit.text,
        subject_start=edit.prompt.find("{}"),
        target=target,
        accepted=(target, *aliases),
        old=(edit.target_true.name,),
        paraphrases=(edit.question,),
    )


def _question(record: MquakeRecord, case_ids: tuple[str, ...]) -> MultiHop:
    return MultiHop(
        id=str(record.case_id),
        case_ids=case_ids,
        questions=record.questions,
        accepted=unique((record.new_answer, *record.new_answer_alias)),
        hops=tuple(Query(prompt=h.cloze, accepted=h.accepted) for h in record.new_single_hops),
    )
