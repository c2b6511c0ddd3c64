"""Stage 7: after all edits are in, what holds, what moved, and what it cost.

The same questions go to three models: the unedited base, the parent release (what is served now)
and the candidate. Nothing is measured before the whole set is in, and answers are the models' own
words: greedy, raw prompt, natural stop, target length unknown. `scores.py` says what each number
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from infra.errors import ConfigError
from infra.examine import Compute, Examinee, examine
from infra.lm import Question
from infra.runner import Runner
from infra.storage import StageDir
from infra.text import normalise
from pipeline.edits import Neighbour, PlannedEdit, Removal
from pipeline.scores import (
    EditScore,
    form_id,
    near_id,
    other_id,
    paired_retention,
    removal_id,
    score_edit,
    score_model,
)

TEXT = Path(__file__).parent / "texts" / "perplexity.txt"
TEXT_PIECE_CHARS = 4000


class EvaluateConfig(BaseModel):
    """What is measured, and on how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = None
    """Held-out general text for perplexity, a UTF-8 file; unset is the WikiText-2 sample we
    carry."""
    text_chars: int = Field(default=20_000, ge=1000)
    """How much of it is read, from the start."""
    num_alternatives: int = Field(default=2, ge=1, le=10)
    """Targets of other edits that a target has to beat, beside its own old ones."""
    num_unrelated: int = Field(default=32, ge=0)
    """Prompts about edited subjects, on other relations, whose continuation is compared."""
    agreement_tokens: int = Field(default=6, ge=1)
    """Length at which continuations are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactResult:
    """One edit of the candidate, for people and for the gate."""

    id: str
    action: str
    holds_likelihood: bool
    holds_greedy: bool
    generality_greedy: float
    superseded: bool
    prompt: str
    target: str
    old_targets: tuple[str, ...]
    base_answer: str
    before_answer: str
    """The parent release's answer, the base's where there is no parent."""
    answer: str


FACT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        ("holds_likelihood", pa.bool_()),
        ("holds_greedy", pa.bool_()),
        ("generality_greedy", pa.float64()),
        ("superseded", pa.bool_()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("old_targets", pa.list_(pa.string())),
        ("base_answer", pa.string()),
        ("before_answer", pa.string()),
        ("answer", pa.string()),
    ]
)


def evaluate(
    edits: Sequence[PlannedEdit],
    removals: Sequence[Removal],
    neighbours: Sequence[Neighbour],
    *,
    base: Examinee,
    parent: Examinee | None,
    candidate: Examinee,
    config: EvaluateConfig,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Write `facts.parquet` and `report.json`; return the candidate's numbers."""
    forms = edit_questions(edits, config.num_alternatives)
    prompts = [q for q in forms if q.id.endswith("/0")]
    gone = [
        Question(id=removal_id(r.id), prompt=r.prompt, greedy=True, until=(r.target,))
        for r in removals
    ]
    locality = locality_questions(edits, neighbours, config)
    texts = read_text(config)
    exams = [
        (base, [*prompts, *gone, *locality], texts),
        *([(parent, [*prompts, *gone], [])] if parent else []),
        (candidate, [*forms, *gone, *locality], texts),
    ]
    results = examine(runner, out, exams, compute=compute, tell=out.progress)
    base_answers = results[base.name][0]
    report = {
        role: {
            name: asdict(metric)
            for name, metric in score_model(
                results[examinee.name][0],
                base_answers,
                results[examinee.name][1],
                edits,
                removals,
                neighbours,
                agreement_tokens=config.agreement_tokens,
            ).items()
        }
        for role, examinee in (("base", base), ("parent", parent), ("candidate", candidate))
        if examinee is not None
    }
    before = results[parent.name][0] if parent else base_answers
    facts = [
        _fact(
            edit,
            score_edit(edit, results[candidate.name][0]),
            base_answers[form_id(edit.id, 0)].greedy or "",
            before[form_id(edit.id, 0)].greedy or "",
        )
        for edit in edits
    ]
    rows = [asdict(fact) for fact in facts]
    out.write_table("facts.parquet", pa.Table.from_pylist(rows, schema=FACT_SCHEMA))
    paired = paired_retention(edits, before, results[candidate.name][0])
    out.write_json("report.json", {"schema": 1, "paired_retention": paired, **report})
    return {name: round(metric["value"], 4) for name, metric in report["candidate"].items()}


def edit_questions(edits: Sequence[PlannedEdit], num_alternatives: int) -> list[Question]:
    """Prompt and paraphrases of every edit; the target is the first candidate of each."""
    targets: dict[str, list[str]] = {}
    for edit in edits:
        targets.setdefault(edit.relation, []).append(edit.target)
    questions = []
    for edit in edits:
        own = {normalise(name) for name in (*edit.accepted, *edit.old_targets)}
        others = [t for t in dict.fromkeys(targets[edit.relation]) if normalise(t) not in own]
        start = int(edit.id, 16) % max(1, len(others))
        alternatives = (others[start:] + others[:start])[:num_alternatives]
        candidates = (edit.target, *edit.old_targets, *alternatives)
        asked = {"candidates": candidates, "greedy": True}
        questions.append(Question(id=form_id(edit.id, 0), prompt=edit.prompt, **asked))
        questions += [
            Question(
                id=form_id(edit.id, form),
                prompt=prompt,
                until=(*edit.accepted, *edit.old_targets),
                **asked,
            )
            for form, prompt in enumerate(edit.held_out, start=1)
        ]
    return questions


def locality_questions(
    edits: Sequence[PlannedEdit], neighbours: Sequence[Neighbour], config: EvaluateConfig
) -> list[Question]:
    """Other subjects on the edited relations, and edited subjects on other relations."""
    compared = {"greedy": True, "min_new_tokens": config.agreement_tokens}
    near = [
        Question(
            id=near_id(n.id),
            prompt=n.prompt,
            candidates=(n.target, n.edited_target),
            until=(n.edited_target,),
            **compared,
        )
        for n in neighbours
    ]
    other = [
        Question(
            id=other_id(e.id),
            prompt=e.unrelated[int(e.id, 16) % len(e.unrelated)],
            until=(),
            **compared,
        )
        for e in edits
        if e.unrelated
    ]
    return near + other[: config.num_unrelated]


def read_text(config: EvaluateConfig) -> list[str]:
    """The held-out text, in pieces. Raises ConfigError where it cannot be read."""
    path = Path(config.text) if config.text else TEXT
    try:
        text = path.read_text(encoding="utf-8")[: config.text_chars]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"evaluate.text {path}: {error}. Give a UTF-8 text file.") from None
    return [text[i : i + TEXT_PIECE_CHARS] for i in range(0, len(text), TEXT_PIECE_CHARS)]


def _fact(edit: PlannedEdit, score: EditScore, base_answer: str, before: str) -> FactResult:
    return FactResult(
        id=edit.id,
        action=edit.action,
        holds_likelihood=score.likelihood[0],
        holds_greedy=score.greedy[0],
        generality_greedy=sum(score.greedy[1:]) / max(1, len(score.greedy) - 1),
        superseded=any(score.superseded),
        prompt=edit.prompt,
        target=edit.target,
        old_targets=edit.old_targets,
        base_answer=base_answer,
        before_answer=before,
        answer=score.answer,
    )
