"""Multi-hop questions, whose answers follow from several facts (MQuAKE, arXiv:2305.14795). They are
asked after all edits of the set.

multi_hop             share of questions of which one phrasing or more is answered right
hop_recall            share of a question's single steps that are answered right, mean over
                      questions
multi_hop_given_hops  multi_hop over the questions whose steps are all answered right: whether the
                      model can combine facts that it knows

An answer is right if it begins with an accepted one. Items are multi-hop questions, not cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.lm.matching import begins_with
from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet, Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every phrasing (`hop/<id>/q0`) and every single step (`hop/<id>/h0`) of every question."""
    for hop in cases.multi_hop:
        phrasings = [Query(prompt=text, accepted=hop.accepted) for text in hop.questions]
        for side, queries in (("q", phrasings), ("h", hop.hops)):
            for k, query in enumerate(queries):
                yield Question(
                    id=question_id("hop", hop.id, f"{side}{k}"),
                    prompt=query.prompt,
                    greedy=True,
                    until=query.accepted,
                )


def score(answer_set: AnswerSet) -> Scores:
    """All three numbers, over the questions that were asked."""
    answered: dict[str, bool] = {}
    steps: dict[str, list[bool]] = {}
    for hop in answer_set.cases.multi_hop:
        if said := _right(answer_set, hop.id, "q", [hop.accepted] * len(hop.questions)):
            answered[hop.id] = any(said)
            steps[hop.id] = _right(answer_set, hop.id, "h", [query.accepted for query in hop.hops])
    protocol = answer_set.protocol("greedy", "alias")
    return {
        "multi_hop": measured(answered.items(), protocol),
        "hop_recall": measured(
            ((hop_id, hit) for hop_id, hits in steps.items() for hit in hits), protocol
        ),
        "multi_hop_given_hops": measured(
            (
                (hop_id, hit)
                for hop_id, hit in answered.items()
                if steps[hop_id] and all(steps[hop_id])
            ),
            protocol,
        ),
    }


def _right(
    answer_set: AnswerSet, hop_id: str, side: str, accepted: Sequence[Sequence[str]]
) -> list[bool]:
    """Whether each phrasing (side `q`) or step (side `h`) that was asked is answered right."""
    said = [
        answer_set.answers.get(question_id("hop", hop_id, f"{side}{k}"))
        for k in range(len(accepted))
    ]
    return [
        begins_with(answer.greedy or "", names) is not None
        for answer, names in zip(said, accepted, strict=True)
        if answer
    ]
