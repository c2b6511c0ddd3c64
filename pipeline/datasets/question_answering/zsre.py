"""zsRE (Levy et al. 2017) in MEND's form (arXiv:2110.11309): questions with a new answer `alt`.

The out-of-scope question of a record is an unrelated one from Natural Questions. It is used as the
neighbour, as MEMIT does for its specificity.
"""

from __future__ import annotations

from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, Query

OUT_OF_SCOPE = "nq question: "
"""Start of every out-of-scope question in the files. These questions have no question mark."""


class ZsreRecord(Record):
    """One record, as published with MEND."""

    subject: str
    src: str
    """The question."""
    pred: str
    """A model's answer to the question; not used."""
    rephrase: str
    """Another phrasing of the question."""
    alt: str
    """The new answer, which the edit writes into the model."""
    answers: tuple[str, ...]
    """All names of the true answer."""
    loc: str
    """The out-of-scope question."""
    loc_ans: str
    cond: str
    """The edit in one line; not used."""


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector. Raises ConfigError for a record that does not
    match the schema."""
    for row in source.rows():
        record = row.read(ZsreRecord)
        place = find_subject(record.src, record.subject)
        question = record.loc.removeprefix(OUT_OF_SCOPE).rstrip("?")
        found.add(
            Case(
                id=str(row.number),
                relation=template_of(record.src, record.subject),
                subject=place.subject,
                prompt=record.src,
                subject_start=place.start,
                target=record.alt,
                accepted=(record.alt,),
                old=record.answers,
                paraphrases=(record.rephrase,),
                near=(Query(prompt=f"{question}?", accepted=(record.loc_ans,)),),
            )
        )
