"""BEAR (arXiv:2404.04113), a test of what a model knows. Each relation has a closed set of objects,
and a fact is known if the true object is the likeliest. These cases are for probing a model, not
for editing it: their target is the true object.

The templates and objects of the relations are in a second file, which BEAR publishes as
`metadata_relations.json`. It is given as `relations`, or lies beside the data under that name or as
`bear_relations.json`. Templates that do not end with the object are left out. The first of the
others is the prompt, the rest are paraphrases.
"""

from __future__ import annotations

from pathlib import Path

from infra.errors import ConfigError
from infra.settings import nearest
from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record, Row, read_object
from pipeline.evaluate.cases import Case

BESIDE = ("metadata_relations.json", "bear_relations.json")
"""File names of the relations, looked for beside the data."""
SUBJECT, END = "[X]", " [Y]."
"""Placeholder of the subject, and the end of a template that ends with the object."""


class BearRecord(Record):
    """One question of the data file."""

    relation: str
    sub_id: str
    sub_label: str
    sub_aliases: tuple[str, ...]
    obj_id: str
    obj_label: str
    answer_idx: int
    """Index of the true object in the relation's answer space."""


class RelationRecord(Record):
    """The templates of one relation and its possible objects."""

    templates: tuple[str, ...]
    answer_space_labels: tuple[str, ...]
    answer_space_ids: tuple[str, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The templates that end with the object, cut off before the object."""
        ends = (text.removesuffix(END) for text in self.templates if text.endswith(END))
        return tuple(text for text in ends if text.count(SUBJECT) == 1)


def load(source: DatasetFile, found: Collector) -> None:
    """Add all questions of a file to the collector. Raises ConfigError where the file of the
    relations is missing or does not have a question's relation."""
    path = _relations(source)
    relations = {
        name: Row(f"{path}, relation {name}", i, raw).read(RelationRecord)
        for i, (name, raw) in enumerate(read_object(path).items(), 1)
    }
    for row in source.rows():
        record = row.read(BearRecord)
        if record.relation not in relations:
            raise ConfigError(
                f"{row.where}: relation {record.relation!r} is not in {path}"
                f"{nearest(record.relation, relations)}. Give the file of the same release."
            )
        relation = relations[record.relation]
        if relation.prompts:
            case = _case(f"{record.relation}-{record.sub_id}", record, relation)
            found.add(case, fact=(case.subject, case.relation))
        else:
            found.drop("record: no template of its relation ends in the object")


def _case(id: str, record: BearRecord, relation: RelationRecord) -> Case:
    first, *others = relation.prompts
    return Case(
        id=id,
        relation=record.relation,
        subject=record.sub_label,
        prompt=first.replace(SUBJECT, record.sub_label),
        subject_start=first.index(SUBJECT),
        target=record.obj_label,
        accepted=(record.obj_label,),
        rivals=relation.answer_space_labels,
        paraphrases=tuple(text.replace(SUBJECT, record.sub_label) for text in others),
    )


def _relations(source: DatasetFile) -> Path:
    if source.relations:
        return source.relations
    for name in BESIDE:
        path = source.path.parent / name
        if path.is_file():
            return path
    raise ConfigError(
        f"{source.path}: no {' or '.join(BESIDE)} beside it. Give the file of BEAR's relations."
    )
