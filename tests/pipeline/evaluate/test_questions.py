"""Which questions an evaluation asks: those of its families, each once."""

from __future__ import annotations

import pytest
from evaluate_helpers import CASES, NUM_FORMS, SMALL

from infra.errors import ConfigError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.questions import questions_for, texts_for

NUM_QUESTIONS = {
    "preference": NUM_FORMS + 8,
    "teacher_forced": NUM_FORMS,
    "generation": NUM_FORMS + 1,
    "locality": 8 + 4 + 2,
    "portability": 4,
    "retention": 4,
    "chat": 2 + 2 + 4 + 2,
    "ripple": 1 + 3,
    "multi_hop": 2 + 1,
    "fluency": 1,
    "text": 0,
    "weights": 0,
}


def test_families_left_out_are_not_asked() -> None:
    """Each asks its own number of questions, all together each question once, and text is read for
    its own family only."""
    assert NUM_QUESTIONS.keys() == METRICS.keys()
    asked: dict[str, set[str]] = {}
    for name, number in NUM_QUESTIONS.items():
        config = EvaluateConfig(**SMALL, metrics=(name,))
        asked[name] = {q.id for q in questions_for(CASES, config)}
        assert len(asked[name]) == number, name
        assert bool(texts_for(config)) == (name == "text")
    together = questions_for(CASES, EvaluateConfig(**SMALL, metrics=tuple(NUM_QUESTIONS)))
    assert len(together) == len({q.id for q in together})
    assert {q.id for q in together} == set().union(*asked.values())


def test_an_unknown_family_is_refused_by_name() -> None:
    """And the nearest known one is named."""
    config = EvaluateConfig(metrics=("preference", "localty"))
    with pytest.raises(ConfigError, match=r"'localty' is unknown \(did you mean 'locality'\?\)"):
        questions_for(CASES, config)
