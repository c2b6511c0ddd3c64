"""Answers into numbers: what one model's answers say about each edit, and about everything else.

reliability    the edit's own prompt: by likelihood the target beats every alternative, greedy
               the answer begins with the target or an alias of it
generality     both, on held-out paraphrases
retention      both, for edits of earlier releases
superseded     prompts and paraphrases that still get an old value, greedy
neighbourhood  same relation, other subject: its own object is likelier than an edited one (NS)
leak           the same neighbours, greedy: the answer is the edited object
agreement      the first tokens of a continuation are all the base's own
perplexity     held-out general text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.lm import Answer
from infra.text import begins_with
from pipeline.edits import Neighbour, PlannedEdit, Removal
from pipeline.metrics import Metric, mean, perplexity, share

GREEDY = "decode=greedy/prompt=raw/score=alias/when=after-all"
PREFERENCE = "decode=tf/prompt=raw/score=pref/when=after-all"
AGREEMENT = "decode=greedy/prompt=raw/score=tokens/when=after-all"
NLL = "decode=tf/prompt=none/score=nll/when=after-all"

Answers = Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class EditScore:
    """What one model makes of one edit, over the forms (prompt, paraphrases) it was asked."""

    likelihood: tuple[bool, ...]
    """By form: the target is likelier than every alternative."""
    greedy: tuple[bool, ...]
    """By form: the answer begins with the target or an alias of it."""
    superseded: tuple[bool, ...]
    """By form: the answer begins with an old value."""
    answer: str
    """The answer to the edit's own prompt."""


def form_id(edit_id: str, form: int) -> str:
    """Question id of an edit's prompt (form 0) or of one of its paraphrases (1, 2, ...)."""
    return f"edit/{edit_id}/{form}"


def score_edit(edit: PlannedEdit, answers: Answers) -> EditScore:
    """Score one edit; forms that were not asked are left out."""
    asked = [
        answers[key]
        for form in range(1 + len(edit.held_out))
        if (key := form_id(edit.id, form)) in answers
    ]
    return EditScore(
        likelihood=tuple(a.logprobs[0] > max(a.logprobs[1:], default=-1e9) for a in asked),
        greedy=tuple(begins_with(a.greedy or "", edit.accepted) is not None for a in asked),
        superseded=tuple(begins_with(a.greedy or "", edit.old_targets) is not None for a in asked),
        answer=asked[0].greedy or "",
    )


def score_model(
    answers: Answers,
    base: Answers,
    texts: Sequence[tuple[float, int]],
    edits: Sequence[PlannedEdit],
    removals: Sequence[Removal],
    neighbours: Sequence[Neighbour],
    *,
    agreement_tokens: int,
) -> dict[str, Metric]:
    """Every metric of one model for which its questions were asked."""
    new = [score_edit(edit, answers) for edit in edits if edit.action != "carry"]
    old = [score_edit(edit, answers) for edit in edits if edit.action == "carry"]
    scores = {
        "reliability_likelihood": share([s.likelihood[0] for s in new], PREFERENCE),
        "reliability_greedy": share([s.greedy[0] for s in new], GREEDY),
        "retention_likelihood": share([s.likelihood[0] for s in old], PREFERENCE),
        "retention_greedy": share([s.greedy[0] for s in old], GREEDY),
        "superseded": share(_superseded(edits, removals, answers), GREEDY, empty=0.0),
    }
    every = [s for s in (*new, *old) if len(s.greedy) > 1]
    if every:
        scores["generality_likelihood"] = mean([_rest(s.likelihood) for s in every], PREFERENCE)
        scores["generality_greedy"] = mean([_rest(s.greedy) for s in every], GREEDY)
        corrected = [score_edit(edit, answers) for edit in edits if edit.old_targets]
        scores["superseded_paraphrase"] = share(
            [said for s in corrected for said in s.superseded[1:]], GREEDY, empty=0.0
        )
    near = [(n, answers[near_id(n.id)]) for n in neighbours if near_id(n.id) in answers]
    if near:
        scores["neighbourhood"] = share(
            [a.logprobs[0] > a.logprobs[1] for _, a in near], PREFERENCE
        )
        scores["leak"] = share(
            [begins_with(a.greedy or "", [n.edited_target]) is not None for n, a in near], GREEDY
        )
        scores["neighbour_agreement"] = _agreement(near_id(""), answers, base, agreement_tokens)
        scores["unrelated_agreement"] = _agreement(other_id(""), answers, base, agreement_tokens)
    if texts:
        scores["perplexity"] = perplexity(texts, NLL)
    return scores


def paired_retention(
    edits: Sequence[PlannedEdit], before: Answers, after: Answers
) -> dict[str, int]:
    """Of the edits carried over, how many the later model no longer or newly answers right,
    greedy."""
    pairs = [
        (score_edit(edit, before).greedy[0], score_edit(edit, after).greedy[0])
        for edit in edits
        if edit.action == "carry"
    ]
    return {
        "lost": pairs.count((True, False)),
        "gained": pairs.count((False, True)),
        "n": len(pairs),
    }


def near_id(neighbour_id: str) -> str:
    """Question id of a neighbour: same relation, other subject."""
    return f"near/{neighbour_id}"


def other_id(edit_id: str) -> str:
    """Question id about an edit's subject on another relation."""
    return f"other/{edit_id}"


def removal_id(edit_id: str) -> str:
    """Question id of the prompt of an edit that was taken out."""
    return f"removed/{edit_id}"


def _superseded(
    edits: Sequence[PlannedEdit], removals: Sequence[Removal], answers: Answers
) -> list[bool]:
    """One entry for each fact that had an old value: whether its own prompt still gets it."""
    corrected = [edit for edit in edits if edit.old_targets]
    taken_out = [r for r in removals if removal_id(r.id) in answers]
    return [score_edit(edit, answers).superseded[0] for edit in corrected] + [
        begins_with(answers[removal_id(r.id)].greedy or "", [r.target]) is not None
        for r in taken_out
    ]


def _agreement(prefix: str, answers: Answers, base: Answers, num_tokens: int) -> Metric:
    same = [
        answer.greedy_ids[:num_tokens] == base[key].greedy_ids[:num_tokens]
        for key, answer in answers.items()
        if key.startswith(prefix)
    ]
    return share(same, f"{AGREEMENT}/tokens={num_tokens}")


def _rest(forms: Sequence[bool]) -> float:
    """Share of the paraphrases, the prompt itself left out."""
    return sum(forms[1:]) / (len(forms) - 1)
