"""Changes -> verdicts: ask the model about each change and judge its answers.

Each change is put to the model in all statements of its relation (`beliefs.candidates`) and judged
by likelihoods and greedy answers (`beliefs.belief`). Some unchanged facts are asked in the same
run, to calibrate confidence on them (`beliefs.calibration`). The dates of the values that the model
believes give its effective cut-off (`beliefs.cutoff`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from discovery.facts.change import Change
from discovery.facts.dates import days
from discovery.facts.fact import Entity
from discovery.facts.tables import to_table
from discovery.probe.beliefs.belief import Belief, judge
from discovery.probe.beliefs.calibration import Calibration, calibrate, holds_in_paraphrases
from discovery.probe.beliefs.candidates import (
    Priors,
    candidates_of,
    choose_candidates,
    paraphrases_of,
    questions_of,
    why_not_askable,
)
from discovery.probe.beliefs.cutoff import Dated, as_json, as_of, curves, tenures
from discovery.probe.beliefs.cutoff_page import as_page
from discovery.probe.config import ProbeConfig
from discovery.probe.output import (
    CALIBRATION,
    CUTOFF,
    CUTOFF_PAGE,
    VERDICT_SCHEMA,
    VERDICTS,
    Verdict,
)
from discovery.probe.property_labels import check_labels, with_fallbacks
from discovery.relations.relation import Relation
from infra.execution.runner import Runner
from infra.lm.inference import Compute, Questionnaire, ServedModel, ask_models
from infra.lm.question import Answer
from infra.storage.stage_dir import StageDir


def ask_beliefs(
    changes: Sequence[Change],
    relations: Mapping[str, Relation],
    *,
    as_of_date: date,
    named: Mapping[str, Entity],
    served: ServedModel,
    config: ProbeConfig,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Ask the model about all changes that can be put to it, and return counts.

    Writes the verdicts, the report of the calibration, and the cut-off curves as JSON and as a page
    (`discovery.probe.output`).

    relations   by id
    as_of_date  the edition's day
    named       by id, entities of relations, whose labels are the source's own

    Raises ConfigError where the label of a relation in `relations` is neither the label nor an
    alias that the source gives it: the id means something else there.
    """
    check_labels(relations, named)
    relations = with_fallbacks(relations, named)
    refused = {change.id: why_not_askable(change, relations) for change in changes}
    askable = [change for change in changes if refused[change.id] is None]
    unchanged = choose_unchanged(changes, askable, relations, config.max_unchanged)
    candidates = choose_candidates([*askable, *unchanged], config.num_distractors)
    answers = _ask(askable, unchanged, relations, candidates, served, compute, out, runner)
    beliefs = {
        change.id: judge(
            change,
            candidates[change.id],
            answers.statements(change),
            [answers.priors(change, t) for t in range(len(relations[change.relation].statements))],
            margin=config.margin,
            agreement=config.agreement,
        )
        for change in (*askable, *unchanged)
    }
    calibration = calibrate(
        [beliefs[c.id] for c in unchanged],
        [answers.holds(c, beliefs[c.id]) for c in unchanged],
    )
    today = days(as_of_date)
    verdicts = {
        c.id: _verdict(
            c, relations[c.relation], candidates[c.id], beliefs[c.id], calibration, today
        )
        for c in askable
    }
    rows = [
        verdicts.get(c.id) or Verdict(change_id=c.id, verdict=None, reason=refused[c.id] or "")
        for c in changes
    ]
    out.write_table(VERDICTS, to_table(rows, VERDICT_SCHEMA))
    out.write_json(CALIBRATION, calibration.report)
    dated = [
        Dated(
            relation=c.relation,
            tenures=tenures(c, candidates[c.id][beliefs[c.id].winner]),
        )
        for c in (*askable, *unchanged)
        if beliefs[c.id].clear
    ]
    found = curves(dated, {key: relation.label for key, relation in relations.items()}, today)
    out.write_json(CUTOFF, as_json(found))
    page = as_page(found, served.name)
    out.write_text(CUTOFF_PAGE, page)
    counts = Counter(row.verdict or "not probed" for row in rows)
    skipped = Counter(row.reason for row in rows if row.verdict is None)
    return {
        "changes": len(rows),
        "probed": len(askable),
        "unchanged": len(unchanged),
        "verdicts": counts,
        "skipped": skipped,
    }


def choose_unchanged(
    changes: Sequence[Change],
    askable: Sequence[Change],
    relations: Mapping[str, Relation],
    max_unchanged: int,
) -> list[Change]:
    """Unchanged facts to calibrate confidence on, at most max_unchanged: of the relations of the
    changes that are asked about, those of smallest hash of their ids."""
    probed = {change.relation for change in askable}
    pool = [
        c
        for c in changes
        if c.kind == "keep"
        and c.relation in probed
        and why_not_askable(replace(c, kind="learn"), relations) is None
    ]
    return sorted(pool, key=lambda c: hashlib.sha256(c.id.encode()).hexdigest())[:max_unchanged]


class _BeliefAnswers:
    """The model's answers, looked up by change."""

    def __init__(
        self,
        answers: Mapping[str, Answer],
        priors: Priors,
        relations: Mapping[str, Relation],
        candidates: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._answers, self._priors = answers, priors
        self._relations, self._candidates = relations, candidates

    def statements(self, change: Change) -> list[Answer]:
        """The answers to the statements of the change's relation, in their order."""
        number = len(self._relations[change.relation].statements)
        return [self._answers[f"{change.id}/{t}"] for t in range(number)]

    def priors(self, change: Change, t: int) -> list[float]:
        """Log-likelihood of each of the change's candidates in statement t without its subject."""
        return self._priors.of(self._answers, change.relation, t, self._candidates[change.id])

    def holds(self, change: Change, belief: Belief) -> bool:
        """Whether the model prefers the same candidate in the held-out paraphrases."""
        relation = self._relations[change.relation]
        asked = [self._answers[f"{change.id}/held-out/{t}"] for t in range(len(relation.held_out))]
        priors_TN = [self.priors(change, t) for t in range(len(relation.statements))]
        return holds_in_paraphrases(belief.winner, asked, np.mean(priors_TN, axis=0).tolist())


def _ask(
    askable: Sequence[Change],
    unchanged: Sequence[Change],
    relations: Mapping[str, Relation],
    candidates: Mapping[str, tuple[str, ...]],
    served: ServedModel,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> _BeliefAnswers:
    """Put all questions to the model in one questionnaire."""
    priors = Priors([*askable, *unchanged], relations, candidates)
    questions = [
        question
        for change in (*askable, *unchanged)
        for question in questions_of(change, relations[change.relation], candidates[change.id])
    ]
    questions += [
        question
        for change in unchanged
        for question in paraphrases_of(change, relations[change.relation], candidates[change.id])
    ]
    questionnaire = Questionnaire(served=served, questions=[*questions, *priors.questions])
    replies = ask_models(runner, out, [questionnaire], compute=compute, tell=out.progress)
    return _BeliefAnswers(replies[served.name].answers, priors, relations, candidates)


def _verdict(
    change: Change,
    relation: Relation,
    candidates: Sequence[str],
    belief: Belief,
    calibration: Calibration,
    today: int,
) -> Verdict:
    believed = candidates[belief.winner]
    return Verdict(
        change_id=change.id,
        verdict=belief.verdict,
        reason=belief.reason,
        confidence=calibration.confidence(belief),
        p_stale=calibration.p_stale(belief, len(candidates_of(change))),
        believed=believed,
        margin=belief.margin,
        abstained=belief.abstained,
        as_of=as_of(tenures(change, believed), today),
        num_candidates=len(candidates),
        prompt=relation.prompt(relation.statements[0], change.subject_label or "").text,
        answer=belief.answer,
    )
