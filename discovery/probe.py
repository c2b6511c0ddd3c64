"""Stage 4: ask the model what it believes of each change; a verdict with its reasons.

Every eligible change is put in each of its relation's statements. Scored are the full statements
with the new object, every old one and some distractors (objects of other subjects), each against
the same statement without the subject, so that a frequent name does not win by being frequent:

    s_t(c) = log p(c | statement t with the subject) - log p(c | statement t without)

(prior subtraction as in KaRR; full statements as in BEAR, arXiv:2404.04113.) The model is also
left to answer by itself. A belief needs both: likelihood alone is chance in a small model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from discovery.fact import Change, to_table
from discovery.verbalise import Relation
from infra.examine import Compute, Exam, Examinee, examine
from infra.lm import Answer, Question
from infra.runner import Runner
from infra.storage import StageDir
from infra.text import begins_with

MAX_OBJECT_CHARS = 60
PRIORS_PER_QUESTION = 32


class ProbeConfig(BaseModel):
    """How much is asked, and when an answer counts as a belief."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_changes: int = Field(default=400, ge=1)
    """Changes probed in one run; changes to live edits come first, then popular subjects."""
    num_distractors: int = Field(default=2, ge=1, le=20)
    """Objects of other subjects that the right answer has to beat."""
    margin: float = Field(default=1.0, ge=0)
    """Nats by which the winner must lead the best distractor, mean over statements."""
    agreement: float = Field(default=2 / 3, gt=0.5, le=1)
    """Share of statements the winner must win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the model believes of one change, or why it was not asked."""

    change_id: str
    verdict: Literal["knows", "stale", "unknown", "inconsistent"] | None
    """None where the change was not probed."""
    reason: str
    confidence: float | None = None
    """Mean over statements of the softmax weight, among candidates, of the winner's score."""
    believed: str | None = None
    """Label of the candidate the model prefers."""
    margin: float | None = None
    """Nats between the winner and the best distractor, mean over statements."""
    prompt: str | None = None
    """First statement, as put to the model."""
    answer: str | None = None
    """The model's own answer to it."""


VERDICT_SCHEMA = pa.schema(
    [
        pa.field("change_id", pa.string(), nullable=False),
        ("verdict", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        ("confidence", pa.float64()),
        ("believed", pa.string()),
        ("margin", pa.float64()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
    ]
)


def probe(
    changes: Sequence[Change],
    relations: Mapping[str, Relation],
    *,
    examinee: Examinee,
    live: Collection[tuple[str, str]],
    config: ProbeConfig,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Write `verdicts.parquet`, a row a change in the order of the changes; return counts.

    `live` holds (subject, relation) of the edits that are in the model now.
    """
    refused = {change.id: screen(change, relations) for change in changes}
    eligible = [change for change in changes if refused[change.id] is None]
    eligible.sort(key=lambda c: ((c.subject, c.relation) not in live, -c.popularity, c.id))
    chosen = eligible[: config.max_changes]
    candidates = choose_candidates(chosen, config.num_distractors)
    questions = [q for c in chosen for q in _questions(c, relations[c.relation], candidates[c.id])]
    neutral, labels = _neutral_questions(chosen, relations, candidates)
    questions += neutral
    exam = Exam(examinee=examinee, questions=questions)
    papers = examine(runner, out, [exam], compute=compute, tell=out.progress)
    answers = papers[examinee.name].answers
    verdicts = {}
    for change in chosen:
        relation, names = relations[change.relation], candidates[change.id]
        forms = range(len(relation.statements))
        asked = [answers[f"{change.id}/{t}"] for t in forms]
        priors = [
            [_prior(answers, labels[relation.id], relation.id, t, name) for name in names]
            for t in forms
        ]
        verdicts[change.id] = judge(change, relation, names, asked, priors, config)
    over = f"over the probe budget of {config.max_changes} changes"
    rows = [
        verdicts.get(c.id) or Verdict(change_id=c.id, verdict=None, reason=refused[c.id] or over)
        for c in changes
    ]
    out.write_table("verdicts.parquet", to_table(rows, VERDICT_SCHEMA))
    counts = Counter(row.verdict or "not probed" for row in rows)
    skipped = Counter(row.reason for row in rows if row.verdict is None)
    return {"changes": len(rows), "probed": len(chosen), "verdicts": counts, "skipped": skipped}


def screen(change: Change, relations: Mapping[str, Relation]) -> str | None:
    """Why a change cannot be put to the model as a question, or None where it can."""
    relation = relations.get(change.relation)
    if change.kind not in ("learn", "replace"):
        return f"{change.kind}: nothing to teach"
    if relation is None:
        return f"unknown relation {change.relation}: no templates"
    if change.value_type not in ("entity", "string"):
        return f"{change.value_type} values change too fast for weights: fact sheet"
    if not relation.functional:
        return f"{relation.label} ({relation.id}) holds several values at once: fact sheet"
    if change.subject_label is None:
        return "the subject has no English label"
    if change.new_label is None or (
        change.value_type == "entity" and change.new_label == change.new_value
    ):
        return "the object has no English label"
    if len(change.new_label) > MAX_OBJECT_CHARS:
        return f"the object is longer than {MAX_OBJECT_CHARS} characters"
    return None


def choose_candidates(
    changes: Sequence[Change], num_distractors: int
) -> dict[str, tuple[str, ...]]:
    """For each change: the new label, its old ones, then distractors of the same relation.

    Distractors come from a small pool a relation (the labels of smallest hash), so that their
    priors are computed once; which of the pool a change gets depends on its id alone.
    """
    pools: dict[str, list[str]] = {}
    for relation in {change.relation for change in changes}:
        labels = {c.new_label for c in changes if c.relation == relation and c.new_label}
        pools[relation] = sorted(labels, key=_hash)[: 3 * num_distractors + 3]
    chosen = {}
    for change in changes:
        own = tuple(dict.fromkeys((change.new_label or "", *change.old_labels)))
        pool = [label for label in pools[change.relation] if not begins_with(label, own)]
        start = int(change.id, 16) % max(1, len(pool))
        chosen[change.id] = own + tuple((pool[start:] + pool[:start])[:num_distractors])
    return chosen


def judge(
    change: Change,
    relation: Relation,
    candidates: Sequence[str],
    asked: Sequence[Answer],
    priors_TN: Sequence[Sequence[float]],
    config: ProbeConfig,
) -> Verdict:
    """The verdict on one change; pure.

    asked      answers to the T statements, scores in the order of the N candidates: the new value,
               the old ones, then distractors
    priors_TN  log-likelihood of each candidate in each statement without its subject, nats
    """
    num_own = len(dict.fromkeys((change.new_label, *change.old_labels)))
    scores_TN = np.array([answer.logprobs for answer in asked]) - np.array(priors_TN)
    wins = Counter(scores_TN.argmax(1).tolist())
    winner, num_wins = max(wins.items(), key=lambda item: (item[1], -item[0]))
    weights = np.exp(scores_TN - scores_TN.max(1, keepdims=True))
    best_other = scores_TN[:, num_own:].max(1) if num_own < len(candidates) else -np.inf
    margin = float(np.mean(scores_TN[:, winner] - best_other)) if winner < num_own else 0.0
    greedy = [answer.greedy or "" for answer in asked]
    new_names = (candidates[0], *change.new_aliases)
    says_new = sum(begins_with(g, new_names) is not None for g in greedy)
    says_old = sum(begins_with(g, change.old_labels) is not None for g in greedy)
    clear = (
        winner < num_own and num_wins >= config.agreement * len(greedy) and margin >= config.margin
    )
    verdict, reason = _decide(clear, winner, says_new, says_old, len(greedy))
    return Verdict(
        change_id=change.id,
        verdict=verdict,
        reason=reason,
        confidence=float((weights / weights.sum(1, keepdims=True))[:, winner].mean()),
        believed=str(candidates[winner]),
        margin=margin,
        prompt=relation.prompt(relation.statements[0], change.subject_label or "").text,
        answer=greedy[0],
    )


def _decide(
    clear: bool, winner: int, says_new: int, says_old: int, num: int
) -> tuple[Literal["knows", "stale", "unknown", "inconsistent"], str]:
    """Likelihood and the model's own words must agree on a belief."""
    said = f"says the new value in {says_new} and an old one in {says_old} of {num} statements"
    if says_new and says_old:
        return "inconsistent", f"it {said}"
    if clear and winner == 0 and says_new:
        return "knows", f"the new value wins by likelihood and it {said}"
    if clear and winner > 0 and says_old:
        return "stale", f"an old value wins by likelihood and it {said}"
    if clear and (says_old if winner == 0 else says_new):
        return (
            "inconsistent",
            f"likelihood prefers the {'new' if winner == 0 else 'old'} value but it {said}",
        )
    if not clear:
        return "unknown", f"no value leads the distractors; it {said}"
    return "unknown", f"one value leads by likelihood, but it {said}"


def _questions(
    change: Change, relation: Relation, candidates: tuple[str, ...]
) -> Iterable[Question]:
    """The first is answered to its end, for people; of the others only the match counts."""
    names = (candidates[0], *change.new_aliases, *change.old_labels)
    for t, statement in enumerate(relation.statements):
        yield Question(
            id=f"{change.id}/{t}",
            prompt=relation.prompt(statement, change.subject_label or "").text,
            candidates=candidates,
            greedy=True,
            until=names if t else None,
        )


def _neutral_questions(
    changes: Sequence[Change],
    relations: Mapping[str, Relation],
    candidates: Mapping[str, tuple[str, ...]],
) -> tuple[list[Question], dict[str, dict[str, int]]]:
    """The statements without subject, in questions of PRIORS_PER_QUESTION candidates each.

    Also where the prior of each label is: relation id -> label -> place among the relation's
    labels.
    """
    labels: dict[str, dict[str, int]] = {}
    for change in changes:
        known = labels.setdefault(change.relation, {})
        for label in candidates[change.id]:
            known.setdefault(label, len(known))
    questions = [
        Question(
            id=_neutral_id(key, t, start),
            prompt=relations[key].neutral_prompt(t),
            candidates=tuple(known)[start : start + PRIORS_PER_QUESTION],
        )
        for key, known in sorted(labels.items())
        for t in range(len(relations[key].statements))
        for start in range(0, len(known), PRIORS_PER_QUESTION)
    ]
    return questions, labels


def _neutral_id(relation: str, statement: int, start: int) -> str:
    return f"neutral/{relation}/{statement}/{start}"


def _prior(
    answers: Mapping[str, Answer], labels: Mapping[str, int], relation: str, t: int, label: str
) -> float:
    """log p(label | statement t of the relation, without a subject)."""
    start, place = divmod(labels[label], PRIORS_PER_QUESTION)
    return answers[_neutral_id(relation, t, start * PRIORS_PER_QUESTION)].logprobs[place]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
