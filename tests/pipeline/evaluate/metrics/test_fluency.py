"""Entropy and likeness of free text, against loops."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from case_helpers import answer, answer_set, case, value

from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics.health import fluency
from pipeline.evaluate.metrics.health.fluency import Likeness
from pipeline.evaluate.scoring.family import merged
from pipeline.evaluate.scoring.metric import Measured

TEXTS = (
    "He plays football for Barcelona, and he plays well.",
    "Barcelona is a club of football; the club is in Spain.",
    "A pianist plays the piano in a hall.",
)


def slow_entropy(words: list[str], m: int) -> float:
    grams = [tuple(words[i : i + m]) for i in range(len(words) - m + 1)]
    return -sum(
        grams.count(g) / len(grams) * math.log2(grams.count(g) / len(grams)) for g in set(grams)
    )


def slow_vector(text: str, texts: tuple[str, ...], terms: list[str]) -> np.ndarray:
    """Dense TF-IDF over all terms, one by one."""
    words = re.findall(r"\b\w\w+\b", text.lower())
    documents = [set(re.findall(r"\b\w\w+\b", t.lower())) for t in texts]
    return np.array(
        [
            words.count(t) * (math.log((1 + len(texts)) / (1 + sum(t in d for d in documents))) + 1)
            for t in terms
        ]
    )


def test_entropy_equals_a_loop() -> None:
    """½ (2/3 H_2 + 4/3 H_3), marks of punctuation being words of their own."""
    for text in TEXTS:
        words = re.sub(r"([.,;])", r" \1", text).split()
        expected = (slow_entropy(words, 2) * 2 / 3 + slow_entropy(words, 3) * 4 / 3) / 2
        assert fluency.ngram_entropy(text) == pytest.approx(expected)


def test_entropy_of_what_repeats_itself() -> None:
    """One word over and over is 0; n m-grams that all differ are log2 n; nothing is 0."""
    assert fluency.ngram_entropy("no " * 100) == 0
    assert fluency.entropy([str(i) for i in range(18)], 3) == pytest.approx(4)
    assert fluency.ngram_entropy("") == fluency.ngram_entropy("one") == 0
    assert fluency.ngram_entropy(" ".join(map(str, range(50)))) > fluency.ngram_entropy("a b " * 25)


def test_likeness_equals_dense_vectors() -> None:
    """Cosine over the references' vocabulary, in which `pianist` counts more than `plays`."""
    likeness = Likeness.of(TEXTS)
    terms = sorted({word for text in TEXTS for word in re.findall(r"\b\w\w+\b", text.lower())})
    one, two = "He plays the piano and football in Paris", TEXTS[2]
    a, b = (slow_vector(text, TEXTS, terms) for text in (one, two))
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert likeness(one, two) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 1 and likeness("pianist", two) > likeness("plays", two)
    assert likeness(two, two) == pytest.approx(1)
    assert likeness("Zebra", two) == likeness("", two) == 0


def test_texts_without_a_word_are_like_nothing() -> None:
    """No text, or none with a word of two letters, is no error."""
    for texts in ((), ("",), ("a b", "!")):
        assert Likeness.of(texts)("the club", "the club") == 0


def test_essays_are_a_hundred_tokens_whatever_comes() -> None:
    """No end of line or text stops one; as many a case as the config says."""
    fact = case(essays=("x is", "The life of x", "x was"))
    for num in (0, 1, 2):
        asked = merged(
            fluency.questions(answer_set({}, fact).cases, EvaluateConfig(num_essays=num))
        )
        assert [q.id for q in asked] == [f"essay/x/{k}" for k in range(num)]
    first = asked[0]
    assert (first.min_new_tokens, first.max_new_tokens, first.until) == (100, 100, ())
    assert first.greedy and first.past_ends


def test_scores_of_facts() -> None:
    """Fluency over essays, then facts; consistency of those with references, its idf from all of
    them; neither is a share, whose interval would end at 1."""
    one = case("x", essays=("x is", "x was"), references=TEXTS[:2])
    two = case("y", essays=("y is",), references=TEXTS[2:])
    bare = case("z", essays=("z is",))
    said = {"essay/x/0": TEXTS[0], "essay/x/1": "no no no", "essay/y/0": TEXTS[0], "essay/z/0": "a"}
    made = fluency.score(answer_set({k: answer(text) for k, text in said.items()}, one, two, bare))
    ge = {text: fluency.ngram_entropy(text) for text in said.values()}
    expected = [(ge[TEXTS[0]] + ge["no no no"]) / 2, ge[TEXTS[0]], 0]
    assert value(made, "fluency") == pytest.approx(sum(expected) / 3)
    found = made["consistency"]
    assert isinstance(found, Measured) and found.items.keys() == {"x", "y"} and not found.is_share
    likeness = Likeness.of(TEXTS)
    assert found.items["x"] == pytest.approx(
        likeness(f"{TEXTS[0]} no no no", f"{TEXTS[0]} {TEXTS[1]}")
    )
    assert found.items["x"] > found.items["y"]
    high = made["fluency"].metric().high  # type: ignore[union-attr]
    assert high is not None and high > 1


def test_likeness_does_not_depend_on_order() -> None:
    """Of the texts it is made from, nor of the two that are compared; capitals are no other word,
    and one letter is none."""
    one, two = Likeness.of(TEXTS), Likeness.of(TEXTS[::-1])
    said = "He plays the piano"
    assert one(said, TEXTS[0]) == one(TEXTS[0], said) == two(said, TEXTS[0])
    assert one("The club; the CLUB a b", said) == one("the the club club", said) > 0
