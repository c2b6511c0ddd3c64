"""Changes -> those that are put to the model, their candidate answers, and the questions.

The candidates of a change are its new value, its old values, and distractors: objects that other
subjects have of the same relation. The questions are the relation's statements with the subject,
cut before the object, and the same statements without a subject, which give each candidate's prior.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from discovery.facts.change import Change, DiffRule
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation
from infra.lm.matching import is_one_of
from infra.lm.question import Answer, Question

MAX_OBJECT_CHARS = 60
"""Longer objects are not put to the model: they are descriptions, and go to the fact sheet."""
PRIORS_PER_QUESTION = 32
"""Candidates that are scored in one question without a subject."""


def why_not_askable(change: Change, relations: Mapping[str, Relation]) -> str | None:
    """Why a change cannot be put to the model as a question, or None where it can."""
    relation = relations.get(change.relation)
    if change.kind not in ("learn", "replace"):
        return f"{change.kind}: nothing to teach"
    if change.rule == DiffRule.DERIVED:
        return f"{change.reason}: never edited alone"
    if relation is None:
        return f"unknown relation {change.relation}: no templates"
    if change.value_type not in ("entity", "string"):
        return f"{change.value_type} values change too fast for weights: fact sheet"
    if relation.fallback and not relation.functional:
        return f"{relation.label} ({relation.id}) is in no relations file: no templates"
    if change.scope:
        where = "without a qualifier" if change.scope == "[]" else f"for {change.scope}"
        return f"{relation.label} ({relation.id}) is one of several, this {where}: fact sheet"
    if not relation.functional:
        return f"{relation.label} ({relation.id}) holds several values at once: fact sheet"
    if change.subject_label is None or not clean_label(change.subject_label):
        return "the subject has no English label"
    if change.new_label is None or (
        change.value_type == "entity" and change.new_label == change.new_value
    ):
        return "the object has no English label"
    if len(change.new_label) > MAX_OBJECT_CHARS:
        return f"the object is longer than {MAX_OBJECT_CHARS} characters"
    if not clean_label(change.new_label):
        return "the object has no English label"
    return None


def candidates_of(change: Change) -> tuple[str, ...]:
    """Labels of the change's own values, cleaned and each once: the new one, then the old ones."""
    labels = (clean_label(label) for label in (change.new_label or "", *change.old_labels))
    return tuple(label for label in dict.fromkeys(labels) if label)


def choose_candidates(
    changes: Sequence[Change], num_distractors: int
) -> dict[str, tuple[str, ...]]:
    """By change id, the change's own candidates followed by distractors of the same relation.

    Each relation has a small pool of distractors (the labels of smallest hash), so that few priors
    have to be computed. Which of the pool a change gets depends on its id alone. There are fewer
    than num_distractors where the relation has too few other objects.
    """
    pools: dict[str, list[str]] = {}
    for change in changes:
        pools.setdefault(change.relation, []).extend(candidates_of(change)[:1])
    for relation, labels in pools.items():
        pools[relation] = sorted(set(labels), key=_hash)[: 3 * num_distractors + 3]
    chosen = {}
    for change in changes:
        own = candidates_of(change)
        names = (*own, *change.new_aliases)
        pool = [label for label in pools[change.relation] if not is_one_of(label, names)]
        start = int(change.id, 16) % max(1, len(pool))
        chosen[change.id] = own + tuple((pool[start:] + pool[:start])[:num_distractors])
    return chosen


def questions_of(
    change: Change, relation: Relation, candidates: tuple[str, ...]
) -> Iterable[Question]:
    """A question for each statement of the relation, with a greedy answer.

    The answer to the first is generated to its end, for a person to read. The other answers stop as
    soon as it is settled which of the candidates they begin with, if any.
    """
    names = (*candidates, *change.new_aliases, *change.old_labels)
    for t, statement in enumerate(relation.statements):
        yield Question(
            id=f"{change.id}/{t}",
            prompt=relation.prompt(statement, change.subject_label or "").text,
            candidates=candidates,
            greedy=True,
            until=names if t else None,
        )


def paraphrases_of(
    change: Change, relation: Relation, candidates: tuple[str, ...]
) -> Iterable[Question]:
    """A question for each held-out paraphrase, scored by likelihood only."""
    for t, statement in enumerate(relation.held_out):
        yield Question(
            id=f"{change.id}/held-out/{t}",
            prompt=relation.prompt(statement, change.subject_label or "").text,
            candidates=candidates,
        )


class Priors:
    """Log-likelihoods of candidates in the statements without a subject.

    `questions` have to be asked first; `of` then reads their answers.
    """

    def __init__(
        self,
        changes: Sequence[Change],
        relations: Mapping[str, Relation],
        candidates: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._places: dict[str, dict[str, int]] = {}
        """By relation id and label, the position of the label among the relation's labels."""
        for change in changes:
            known = self._places.setdefault(change.relation, {})
            for label in candidates[change.id]:
                known.setdefault(label, len(known))
        self.questions = [
            Question(
                id=_neutral_id(key, t, start),
                prompt=relations[key].neutral_prompt(t),
                candidates=tuple(known)[start : start + PRIORS_PER_QUESTION],
            )
            for key, known in sorted(self._places.items())
            for t in range(len(relations[key].statements))
            for start in range(0, len(known), PRIORS_PER_QUESTION)
        ]

    def of(
        self, answers: Mapping[str, Answer], relation: str, t: int, labels: Iterable[str]
    ) -> list[float]:
        """log p(label | statement t of the relation without its subject) of each label, nats."""
        found = []
        for label in labels:
            start, place = divmod(self._places[relation][label], PRIORS_PER_QUESTION)
            answer = answers[_neutral_id(relation, t, start * PRIORS_PER_QUESTION)]
            found.append(answer.logprobs[place])
        return found


def _neutral_id(relation: str, statement: int, start: int) -> str:
    return f"neutral/{relation}/{statement}/{start}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
