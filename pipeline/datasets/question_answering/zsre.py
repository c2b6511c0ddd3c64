"""zsRE (Levy et al. 2017) in MEND's form (arXiv:2110.11309): questions with a new answer `alt`.

The out-of-scope question of a record is of Natural Questions, on anything: it stands where other
datasets have a neighbour, as in MEMIT's table of specificity.
"""

from __future__ import annotations

from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, Query

OUT_OF_SCOPE = "nq question: "
"""Begins every out-of-scope question of the files, which have no question mark."""


class ZsreRecord(Record):
    """As published with MEND."""

    subject: str
    src: str
    """The question."""
    pred: str
    """What some model says to it; not used."""
    rephrase: str
    alt: str
    """The answer to be written."""
    answers: tuple[str, ...]
    """The true one, by all its names."""
    loc: str
    loc_ans: str
    cond: str
    """The edit in one line; not used."""


def load(source: DatasetFile, found: Collector) -> None:
    """All records of a file."""
    for row in source.rows():
        record = row.read(ZsreRecord)
        question = record.loc.removeprefix(OUT_OF_SCOPE).rstrip("?")
        found.add(
            Case(
                id=str(row.number),
                relation=template_of(record.src, record.subject),
                subject=record.subject,
                prompt=record.src,
                subject_start=find_subject(record.src, record.subject),
                target=record.alt,
                accepted=(record.alt,),
                old=record.answers,
                paraphrases=(record.rephrase,),
                near=(Query(prompt=f"{question}?", accepted=(record.loc_ans,)),),
            )
        )
