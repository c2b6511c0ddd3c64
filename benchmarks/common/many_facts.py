"""As many facts as a benchmark of speed wants, from the CounterFact records that we have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from benchmarks.common.counterfact import load_facts, template
from pipeline.evaluate.cases import Case

FILE_RECORDS = 1100


def facts(number: int) -> list[Case]:
    """The first records; beyond the file's, its prompts with other subjects of the file.

    Of those made, no two agree up to the subject's last token: each has a value of its own. Raises
    ValueError when that cannot be had so often.
    """
    records = list(load_facts(min(number, FILE_RECORDS)).cases)
    if number > len(records):
        records = [*records, *islice(_made(records), number - len(records))]
    if len(records) < number:
        raise ValueError(f"{number} facts were asked for, {len(records)} can be made.")
    return records


def _made(records: Sequence[Case]) -> Iterator[Case]:
    """Prompts and targets of the records, with the subject of the next record, the one after..."""
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
