"""The texts of relations, as editors are given them."""

from __future__ import annotations

from collections.abc import Mapping

from discovery.relations.relation import Relation
from editors.request import Wording

SUBJECT = "It"
"""Stands for a subject. Nobody reads these texts; its tokens are left out of what they are for."""


def relation_texts(relations: Mapping[str, Relation]) -> dict[str, tuple[Wording, ...]]:
    """The statements and the question of each relation, by its id; none that is held out."""
    return {
        key: tuple(
            Wording(prompt.text, prompt.subject_span)
            for prompt in (
                *(relation.prompt(template, SUBJECT) for template in relation.statements),
                relation.asked(relation.question, SUBJECT),
            )
        )
        for key, relation in sorted(relations.items())
    }
