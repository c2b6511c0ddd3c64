"""CounterFact records (arXiv:2202.05262) as edit requests, and as cases with held-out questions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.request import EditRequest
from pipeline.cases import Case, CaseSet, Query

DATA = Path(__file__).parent / "data" / "counterfact.jsonl.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One counterfactual edit and what it is judged by."""

    case_id: int
    relation: str
    prompt: str
    """With `{}` in the subject's place."""
    subject: str
    target_new: str
    target_true: str
    paraphrases: tuple[str, ...]
    """Held out: no editor sees them."""
    neighbours: tuple[str, ...]
    """Prompts about other subjects whose object is `target_true`; held out as well."""
    derived: bool
    """Neighbours are pooled by relation and object, not the record's own."""

    @property
    def text(self) -> str:
        """The prompt with its subject."""
        return self.prompt.format(self.subject)

    def request(self) -> EditRequest:
        """What the editor gets to see."""
        start = self.prompt.index("{}")
        return EditRequest(
            id=str(self.case_id),
            prompt=self.text,
            subject_span=(start, start + len(self.subject)),
            target=self.target_new,
            old_targets=(self.target_true,),
        )


def load_records(num: int, path: Path = DATA) -> list[Record]:
    """The first `num` records. Raises ValueError when there are fewer."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][:num]
    if len(rows) < num:
        raise ValueError(f"{path} holds {len(rows)} records, {num} were asked for.")
    return [_record(row) for row in rows]


def case_set(records: Sequence[Record], num_neighbours: int) -> CaseSet:
    """The records as cases; neighbours that name an edited subject are left out."""
    subjects = [record.subject for record in records]
    cases = []
    for record in records:
        free = [p for p in record.neighbours if not any(s in p for s in subjects)]
        cases.append(
            Case(
                id=str(record.case_id),
                relation=record.relation,
                subject=record.subject,
                prompt=record.text,
                subject_start=record.prompt.index("{}"),
                target=record.target_new,
                accepted=(record.target_new,),
                old=(record.target_true,),
                paraphrases=record.paraphrases,
                near=tuple(
                    Query(prompt=p, accepted=(record.target_true,), rivals=(record.target_new,))
                    for p in free[:num_neighbours]
                ),
            )
        )
    return CaseSet("counterfact", cases)


def _record(row: Mapping[str, Any]) -> Record:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Record(**fields)
