"""CounterFact (ROME, arXiv:2202.05262 section 3.4): counterfactual edits with paraphrases,
neighbours with the same true object, and prompts for free text. A record may have one of three
forms:

- ROME's JSON, also in files that were rebuilt in that form;
- records with `paraphrases` and `neighbours`, as in `benchmarks/data/counterfact.jsonl.gz`;
- EasyEdit's records, with one rephrasing and one neighbour. In most of them `rephrase_prompt` is a
  prompt for free text. It is used as a rephrasing only where `rephrase_is_generation_prompt` is
  false, and as a prompt for free text where the flag is true or missing.

`attribute_prompts` are about other subjects that have the edit's target as their object. Followed
by the target, they are the references for free text about the edited subject.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from infra.errors import ConfigError
from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import fill, find_subject, template_of
from pipeline.evaluate.cases import Case, Query


class Entity(Record):
    """A Wikidata item."""

    name: str = Field(alias="str")
    id: str | None
    """Wikidata id; None in rebuilt files, where it is unknown."""


class Rewrite(Record):
    """The edit. Its prompt has `{}` in place of the subject."""

    prompt: str
    relation_id: str
    target_new: Entity
    target_true: Entity
    subject: str


class RomeRecord(Record):
    """One record in ROME's form, as published with ROME and MEMIT."""

    case_id: int
    pararel_idx: int | None = None
    requested_rewrite: Rewrite
    paraphrase_prompts: tuple[str, ...]
    neighborhood_prompts: tuple[str, ...]
    attribute_prompts: tuple[str, ...] = ()
    generation_prompts: tuple[str, ...] = ()
    derived: bool = False
    """Whether parts of the record were rebuilt and are not as published."""


class ReducedRecord(Record):
    """One record without free text. Its prompt has `{}` in place of the subject."""

    case_id: int
    relation: str
    prompt: str
    subject: str
    target_new: str
    target_true: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[str, ...]
    derived: bool = False


class EasyEditRecord(Record):
    """One record of EasyEdit. Its prompt contains the subject. Other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    case_id: int
    prompt: str
    subject: str
    target_new: str
    ground_truth: str
    rephrase_prompt: str
    locality_prompt: str
    locality_ground_truth: str
    rephrase_is_generation_prompt: bool | None = None


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector. Raises ConfigError for a record of none of the
    three forms."""
    for row in source.rows():
        keys = row.fields()
        if "requested_rewrite" in keys:
            case = _rome(row.read(RomeRecord))
        elif "neighbours" in keys:
            case = _reduced(row.read(ReducedRecord))
        elif "locality_prompt" in keys:
            record = row.read(EasyEditRecord)
            if record.rephrase_is_generation_prompt is None:
                found.drop("paraphrase: it may be a prompt for free text")
            case = _easy_edit(record)
        else:
            raise ConfigError(
                f"{row.where}: no CounterFact record has the fields {', '.join(sorted(keys))}. "
                "Expected requested_rewrite, or neighbours, or locality_prompt."
            )
        found.add(case, fact=(case.subject, case.relation))


def _rome(record: RomeRecord) -> Case:
    edit = record.requested_rewrite
    new, true = edit.target_new.name, edit.target_true.name
    return Case(
        id=str(record.case_id),
        relation=edit.relation_id,
        subject=edit.subject,
        prompt=fill(edit.prompt, edit.subject),
        subject_start=edit.prompt.find("{}"),
        target=new,
        accepted=(new,),
        old=(true,),
        paraphrases=record.paraphrase_prompts,
        near=tuple(Query(prompt=text, accepted=(true,)) for text in record.neighborhood_prompts),
        essays=record.generation_prompts,
        references=tuple(f"{text} {new}." for text in record.attribute_prompts),
    )


def _reduced(record: ReducedRecord) -> Case:
    return Case(
        id=str(record.case_id),
        relation=record.relation,
        subject=record.subject,
        prompt=fill(record.prompt, record.subject),
        subject_start=record.prompt.find("{}"),
        target=record.target_new,
        accepted=(record.target_new,),
        old=(record.target_true,),
        paraphrases=record.paraphrases,
        near=tuple(
            Query(prompt=text, accepted=(record.target_true,)) for text in record.neighbours
        ),
    )


def _easy_edit(record: EasyEditRecord) -> Case:
    rephrased = (record.rephrase_prompt,)
    free = record.rephrase_is_generation_prompt is not False
    place = find_subject(record.prompt, record.subject)
    near = Query(prompt=record.locality_prompt, accepted=(record.locality_ground_truth,))
    return Case(
        id=str(record.case_id),
        relation=template_of(record.prompt, record.subject),
        subject=place.subject,
        prompt=record.prompt,
        subject_start=place.start,
        target=record.target_new,
        accepted=(record.target_new,),
        old=(record.ground_truth,),
        paraphrases=() if free else rephrased,
        near=(near,),
        essays=rephrased if free else (),
    )
