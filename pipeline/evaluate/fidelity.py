"""Two checks of the evaluation itself: that no editor saw a held-out prompt, and that the exported
model answers as the edited model in memory does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.lm.inference import ModelAnswers
from infra.lm.normal_form import normalise
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.scoring.family import question_id
from pipeline.evaluate.scoring.metric import Metric
from pipeline.export.candidate import Candidate


def contamination(cases: CaseSet, seen: Iterable[str]) -> dict[str, Metric]:
    """`contamination`: the share of held-out prompts that stand, as whole words, in a text of
    `seen`.

    `seen` are the texts that the editor was given. A question stands in a text if it ends there
    where a question of the text does. The share must be 0.
    """
    held_out = {prompt: normalise(prompt) for prompt in cases.prompts_held_out()}
    texts = list(seen)
    given = "".join(f" {normalise(text)} \n" for text in texts)
    asked = "".join(f" {normalise(part)} \n" for text in texts for part in text.split("?")[:-1])
    leaked = sum(
        f" {own} \n" in asked if prompt.rstrip().endswith("?") else f" {own} " in given
        for prompt, own in held_out.items()
        if own
    )
    n = len(held_out)
    label = "decode=none/score=text"
    return {"contamination": Metric(value=leaked / max(1, n), n=n, protocol=label)}


def exported_well(
    cases: CaseSet, candidate: Candidate, replies: Mapping[str, ModelAnswers]
) -> dict[str, Metric]:
    """`export_loss` and `adapter_loss`: the share of facts that the edited model in memory answers
    right, and the exported checkpoint, or the base with the exported adapter, answers wrong.

    `replies` is by model name. Empty where the candidate has no model in memory.
    """
    if not candidate.memory:
        return {}
    exports = {"export_loss": candidate.served, "adapter_loss": candidate.adapter}
    memory = replies[candidate.memory.name]
    return {
        name: lost(cases, memory, replies[export.name])
        for name, export in exports.items()
        if export
    }


def lost(cases: CaseSet, memory: ModelAnswers, served: ModelAnswers) -> Metric:
    """Of the facts that `memory` answers right on their own prompts, the share that `served`
    answers wrong. `n` counts the facts that `memory` answers right.
    """
    known = gone = 0
    for case in cases.cases:
        key = question_id("edit", case.id, 0)
        inside, outside = memory.answers.get(key), served.answers.get(key)
        if inside and outside and inside.greedy is not None and outside.greedy is not None:
            right = case.is_right(inside.greedy)
            known += right
            gone += right and not case.is_right(outside.greedy)
    label = f"decode=greedy/prompt=raw/score=alias/data={cases.name}@{cases.digest[:12]}"
    return Metric(value=gone / max(1, known), n=known, protocol=label)
