"""The words of a relation: of its texts, near it, and of every text that an edit was given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from editors_helpers import request

from discovery.relations.relation import load_relations
from editors.base import Base
from editors.external_memory.extension_based.relation_stems import relation_stems
from editors.request import EditRequest
from infra.models.embedded import embedded_model
from infra.models.loading import load
from infra.models.tokenizer.insertion import with_insertions
from pipeline.plan.wordings import relation_texts

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def base() -> Base:
    """The real model, whose embeddings mean something."""
    return Base(*load(embedded_model()[0], dtype=torch.bfloat16), digest="base")


def planned(relation: str, subject: str) -> EditRequest:
    """The request of a plan for a fact of a relation."""
    made = load_relations()[relation]
    prompt, *others = (made.prompt(template, subject) for template in made.statements)
    first = request(prompt.text, subject, "London", name=f"{relation} {subject}")
    question = made.asked(made.question, subject)
    return replace(first, relation=relation, wordings=tuple(others), question=question)


def stems(base: Base, *edits: EditRequest) -> list[tuple[str, ...]]:
    texts = relation_texts(load_relations())
    return relation_stems(base, texts, [[edit] for edit in edits], nearness=0.15, margin=0.1)


def test_a_sentence_about_the_relation_has_one(base: Base) -> None:
    """Every text that the edit was given has a word of it, most that it was not given too; those
    about other relations mostly have none."""
    relations = load_relations()
    people = {"P108": "Mary Smith", "P19": "John Brown", "P54": "Peter Jones", "P69": "Ann Grey"}
    edits = [planned(relation, name) for relation, name in people.items()]
    words = stems(base, *edits)
    new = with_insertions(base.tokenizer, [[name] for name in people.values()], words)
    first = len(base.tokenizer)

    def stands(text: str) -> bool:
        return max(new(text)["input_ids"]) >= first

    held, own, others = [], [], []
    for edit, (relation, name) in zip(edits, people.items(), strict=True):
        question = edit.question
        assert question is not None
        held += [stands(text) for text in (edit.prompt, question.text)]
        held += [stands(wording.text) for wording in edit.wordings]
        own += [
            stands(relations[relation].prompt(t, name).text) for t in relations[relation].held_out
        ]
        for other in people.keys() - {relation}:
            others += [
                stands(relations[other].prompt(t, name).text) for t in relations[other].held_out
            ]
    assert all(held)
    assert sum(own) >= 0.75 * len(own)
    assert sum(others) <= 0.15 * len(others)


def test_forms_of_a_word_share_its_beginning(base: Base) -> None:
    """No word begins with another one, and employer is found by `emplo`."""
    [words] = stems(base, planned("P108", "Mary Smith"))
    assert words == tuple(sorted(words))
    assert any("employer".startswith(word) for word in words)
    long = [word for word in words if len(word) >= 4]
    assert not any(a != b and b.startswith(a) for a in long for b in long)


def test_a_text_without_words_of_its_own(base: Base) -> None:
    """Where a prompt has frequent words only, its rarest counts; one that has no word at all makes
    the edit hold everywhere."""
    plain = request("Mary Smith, in", "Mary Smith", "London")
    assert "in" in stems(base, plain)[0]
    assert stems(base, request("Mary Smith:", "Mary Smith", "London")) == [()]
