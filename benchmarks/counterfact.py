"""CounterFact records (arXiv:2202.05262) as edit requests and held-out questions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.request import EditRequest

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


def _record(row: Mapping[str, Any]) -> Record:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Record(**fields)
