"""Any number of facts for benchmarks of speed, made from the CounterFact records in the
repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from benchmarks.common.counterfact import load_facts, template
from pipeline.evaluate.cases import Case

FILE_RECORDS = 1100
"""Number of records in the file."""


def facts(number: int) -> list[Case]:
    """The first `number` records of the file; where it has fewer, also records made from its
    prompts with subjects of other records.

    No two records have the same text up to the end of the subject, so each needs its own value.
    Raises ValueError where so many cannot be made.
    """
    records = list(load_facts(min(number, FILE_RECORDS)).cases)
    if number > len(records):
        records = [*records, *islice(_made(records), number - len(records))]
    if len(records) < number:
        raise ValueError(f"{number} facts were asked for, {len(records)} can be made.")
    return records


def _made(records: Sequence[Case]) -> Iterator[Case]:
    """Records with the prompt and target of each given one and the subject of another: first of the
    next record, then of the one after it, and so on."""
    heads = [record.prompt[: record.subject_start] for record in records]
    seen = {head + record.subject for head, record in zip(heads, records, strict=True)}
    for shift in range(1, len(records)):
        for i, record in enumerate(records):
            subject = records[(i + shift) % len(records)].subject
            if heads[i] + subject not in seen:
                seen.add(heads[i] + subject)
                yield replace(
                    record,
                    id=f"{shift}-{i}",
                    subject=subject,
                    prompt=template(record).format(subject),
                )
