"""Stage 4: ask the model what it believes of each change; a verdict with its reasons.

Each is put in all of its relation's statements (`discovery.probe.beliefs.candidates`), and judged
by likelihood and by the model's own words (`discovery.probe.beliefs.belief`). Some facts that did
not change are asked in the same run: confidence is calibrated on them
(`discovery.probe.beliefs.calibration`). The dates of what is believed give the model's effective
cut-off (`discovery.probe.beliefs.cutoff`).
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
from infra.files.atomic import write_atomic
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
    """Ask about all changes that can be asked about; write the files above; return counts.

    named  what the source calls relations, by id

    Raises ConfigError where a relation's id means something else to the source.
    """
    check_labels(relations, named)
    said = with_fallbacks(relations, named)
    refused = {change.id: why_not_askable(change, said) for change in changes}
    chosen = [change for change in changes if refused[change.id] is None]
    unchanged = choose_unchanged(changes, chosen, said, config.max_unchanged)
    candidates = choose_candidates([*chosen, *unchanged], config.num_distractors)
    answers = _ask(chosen, unchanged, said, candidates, served, compute, out, runner)
    beliefs = {
        change.id: judge(
            change,
            candidates[change.id],
            answers.statements(change),
            [answers.priors(change, t) for t in range(len(said[change.relation].statements))],
            margin=config.margin,
            agreement=config.agreement,
        )
        for change in (*chosen, *unchanged)
    }
    calibration = calibrate(
        [beliefs[c.id] for c in unchanged],
        [answers.holds(c, beliefs[c.id]) for c in unchanged],
    )
    today = days(as_of_date)
    verdicts = {
        c.id: _verdict(c, said[c.relation], candidates[c.id], beliefs[c.id], calibration, today)
        for c in chosen
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
        for c in (*chosen, *unchanged)
        if beliefs[c.id].clear
    ]
    found = curves(dated, {key: relation.label for key, relation in said.items()}, today)
    out.write_json(CUTOFF, as_json(found))
    page = as_page(found, served.name)
    write_atomic(out.path / CUTOFF_PAGE, lambda path: path.write_text(page, encoding="utf-8"))
    counts = Counter(row.verdict or "not probed" for row in rows)
    skipped = Counter(row.reason for row in rows if row.verdict is None)
    return {
        "changes": len(rows),
        "probed": len(chosen),
        "unchanged": len(unchanged),
        "verdicts": counts,
        "skipped": skipped,
    }


def choose_unchanged(
    changes: Sequence[Change],
    chosen: Sequence[Change],
    relations: Mapping[str, Relation],
    most: int,
) -> list[Change]:
    """Facts to calibrate on: unchanged ones of the relations that are probed, in an order set by
    their ids."""
    probed = {change.relation for change in chosen}
    pool = [
        c
        for c in changes
        if c.kind == "keep"
        and c.relation in probed
        and why_not_askable(replace(c, kind="learn"), relations) is None
    ]
    return sorted(pool, key=lambda c: hashlib.sha256(c.id.encode()).hexdigest())[:most]


class _BeliefAnswers:
    """The answers, by what they are about."""

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
        """To each statement."""
        number = len(self._relations[change.relation].statements)
        return [self._answers[f"{change.id}/{t}"] for t in range(number)]

    def priors(self, change: Change, t: int) -> list[float]:
        """Of each candidate in statement t."""
        return self._priors.of(self._answers, change.relation, t, self._candidates[change.id])

    def holds(self, change: Change, belief: Belief) -> bool:
        """Whether a belief holds in the held-out paraphrases."""
        relation = self._relations[change.relation]
        asked = [self._answers[f"{change.id}/held-out/{t}"] for t in range(len(relation.held_out))]
        priors_TN = [self.priors(change, t) for t in range(len(relation.statements))]
        return holds_in_paraphrases(belief.winner, asked, np.mean(priors_TN, axis=0).tolist())


def _ask(
    chosen: Sequence[Change],
    unchanged: Sequence[Change],
    relations: Mapping[str, Relation],
    candidates: Mapping[str, tuple[str, ...]],
    served: ServedModel,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> _BeliefAnswers:
    """Put everything to the model in one questionnaire."""
    priors = Priors([*chosen, *unchanged], relations, candidates)
    questions = [
        question
        for change in (*chosen, *unchanged)
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
