"""Scores and greedy answers equal those of the plain model, however they are batched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra.lm.batching import FULL_TOKENS, PADDED_SHARE, chunks
from infra.lm.language_model import LanguageModel
from infra.lm.matching import begins_with
from infra.lm.question import Question
from infra.models.loading import load

KINDS = ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox", "jamba", "lfm2", "qwen3_5_text"]
QUESTIONS = [
    Question(
        id="a", prompt="Tom Brady plays for", candidates=("Paris", "the Navy", "Derby"), greedy=True
    ),
    Question(id="b", prompt="The capital of France is", candidates=("Paris",)),
    Question(id="c", prompt="Neymar", greedy=True),
    Question(
        id="d", prompt="Ada Lovelace works for", candidates=("the Navy", "the Navy in London")
    ),
]


def reference(model: Any, tokenizer: Any, prompt: str, candidate: str) -> float:
    """log p of the candidate's tokens, from one plain forward of the whole text."""
    ids = tokenizer(f"{prompt} {candidate}", return_tensors="pt")["input_ids"]
    start = len(tokenizer(prompt)["input_ids"])
    logp = torch.log_softmax(model(ids).logits[0], -1)
    return sum(float(logp[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_the_plain_model(
    kind: str, plain: bool, checkpoint: Callable[[str], Path]
) -> None:
    """Prefix sharing, padding and branching change nothing: likelihoods and greedy tokens agree,
    whichever attention is used; the model is left with its own."""
    model, tokenizer = load(checkpoint(kind), dtype=torch.float32)
    used = model.config._attn_implementation
    lm = LanguageModel(model, tokenizer, plain_attention=plain)
    answers = lm.ask(QUESTIONS, max_new_tokens=5)
    assert model.config._attn_implementation == used
    for question, answer in zip(QUESTIONS, answers, strict=True):
        expected = [reference(model, tokenizer, question.prompt, c) for c in question.candidates]
        assert answer.logprobs == pytest.approx(expected, abs=2e-4)
        if question.greedy:
            ids = tokenizer(question.prompt, return_tensors="pt")
            said = model.generate(
                **ids, max_new_tokens=5, do_sample=False, use_cache=False, pad_token_id=0
            )[0, ids["input_ids"].shape[1] :].tolist()
            assert list(answer.greedy_ids) == said[: len(answer.greedy_ids)]
            lm = LanguageModel(model, tokenizer)
            assert answer.greedy_ids or said[0] in lm._end_ids | lm._line_ids


def test_batches_do_not_matter(checkpoint: Callable[[str], Path]) -> None:
    """One question at a time gives what all at once give."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    together = LanguageModel(model, tokenizer).ask(QUESTIONS)
    alone = [LanguageModel(model, tokenizer, max_rows=1).ask([q])[0] for q in QUESTIONS]
    for a, b in zip(together, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=2e-4)
        assert a.greedy_ids == b.greedy_ids


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_join_and_leave_are_what_they_are_alone(
    kind: str, checkpoint: Callable[[str], Path]
) -> None:
    """Forty continuations of one to nine tokens in a batch of six, which others join as some leave,
    with candidates: each is what it is by itself."""
    model, tokenizer = load(checkpoint(kind), dtype=torch.float32)
    words = ("Paris", "the Navy", "Apple", "Tom Brady plays for", "The weather in London is cold.")
    questions = [
        Question(
            id=f"{i} {word}",
            prompt=f"{word} {words[i % 4]}" * (1 + i // 6),
            candidates=("Derby", "the Navy")[: i % 3],
            greedy=i % 7 > 0,
            max_new_tokens=1 + i % 9,
        )
        for i in range(8)
        for word in words
    ]
    together = LanguageModel(model, tokenizer, max_rows=6).ask(questions)
    for question, answer in zip(questions, together, strict=True):
        [alone] = LanguageModel(model, tokenizer).ask([question])
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=2e-4)
        assert answer.greedy_ids == alone.greedy_ids and answer.num_argmax == alone.num_argmax
    assert len({len(answer.greedy_ids) for answer in together}) > 5


def test_a_prompt_asked_twice_runs_once(checkpoint: Callable[[str], Path]) -> None:
    """Questions of one prompt get what they get alone, each with its own end and candidates, from
    one row."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    lm = LanguageModel(model, tokenizer)
    prompt, other = "Tom Brady plays for", "Ada Lovelace works for"
    questions = [
        Question(id="a", prompt=prompt, greedy=True, max_new_tokens=3),
        Question(id="b", prompt=prompt, candidates=("Paris", "the Navy"), greedy=True),
        Question(id="c", prompt=prompt, candidates=("Derby",)),
        Question(id="d", prompt=other, greedy=True),
        Question(id="e", prompt=other, greedy=True, past_ends=True),
    ]
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    together = lm.ask(questions)
    hook.remove()
    assert rows[0] == 2
    for question, answer in zip(questions, together, strict=True):
        [alone] = lm.ask([question])
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=2e-4)
        assert answer.greedy_ids == alone.greedy_ids
    ended, free = together[3].greedy_ids, together[4].greedy_ids
    assert len(free) == 16 and free[: len(ended)] == ended and len(ended) < 16


def test_continuations_of_a_fixed_length_run_in_batches_of_their_own(
    checkpoint: Callable[[str], Path],
) -> None:
    """What a model says elsewhere, or its tokenizer inserts there, does not change the rows that
    they run with, nor by that their rounding."""
    lm = LanguageModel(*load(checkpoint("llama"), dtype=torch.float32))
    fixed = [
        Question(id=prompt, prompt=prompt, greedy=True, until=(), min_new_tokens=5)
        for prompt in ("Neymar", "The capital of France is", "Paris is")
    ]
    others = [
        Question(id=f"other {i}", prompt="Tom Brady plays" + " for" * i, greedy=True)
        for i in range(3)
    ]
    others.append(replace(fixed[1], id="other length", min_new_tokens=3))
    widths: list[tuple[int, ...]] = []
    lm.model.model.register_forward_pre_hook(
        lambda _, __, given: widths.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    alone = lm.ask(fixed)
    own, widths[:] = list(widths), []
    among = lm.ask([fixed[0], others[0], *fixed[1:], *others[1:]])
    assert widths[: len(own)] == own and len(widths) > len(own)
    assert {a.id: a for a in alone} == {a.id: a for a in among if not a.id.startswith("other")}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_until_stops_early_and_changes_no_match(
    kind: str, checkpoint: Callable[[str], Path]
) -> None:
    """A shortened continuation is a beginning of the whole one, long enough, and says the same."""
    lm = LanguageModel(*load(checkpoint(kind), dtype=torch.float32))
    prompts = ["Tom Brady plays for", "Paris", "Apple", "The capital of France is"]
    whole = lm.ask([Question(id=p, prompt=p, greedy=True) for p in prompts])
    shorter = 0
    for least in (0, 3):
        for full in whole:
            names = (" ".join((full.greedy or "").split()[:1]), "Atlantis")
            question = Question(
                id=full.id, prompt=full.id, greedy=True, until=names, min_new_tokens=least
            )
            [short] = lm.ask([question])
            assert short.greedy_ids == full.greedy_ids[: len(short.greedy_ids)]
            assert len(short.greedy_ids) >= min(least, len(full.greedy_ids))
            assert begins_with(short.greedy or "", names) == begins_with(full.greedy or "", names)
            shorter += len(short.greedy_ids) < len(full.greedy_ids)
    assert shorter


def test_single_tokens_are_scored_from_the_prompt_alone(checkpoint: Callable[[str], Path]) -> None:
    """Where every candidate is one token there is no second pass, and the score is the model's."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    lm = LanguageModel(model, tokenizer)
    single = next(
        word
        for word in ("Paris", "Derby", "Apple", "London", "Navy", "the")
        if len(tokenizer(f"Neymar {word}")["input_ids"])
        == len(tokenizer("Neymar")["input_ids"]) + 1
    )
    [answer] = lm.ask([Question(id="x", prompt="Neymar", candidates=(single,))])
    assert answer.num_tokens == (1,)
    expected = reference(model, tokenizer, "Neymar", single)
    assert answer.logprobs[0] == pytest.approx(expected, abs=2e-4)


def test_teacher_forced_hits_are_counted(checkpoint: Callable[[str], Path]) -> None:
    """The greedy continuation, given as a candidate, is the argmax at every token."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    ids = tokenizer("Tom Brady plays for Paris and the Navy", return_tensors="pt")["input_ids"][0]
    logits = model(ids[None]).logits[0]
    start = len(tokenizer("Tom Brady plays for")["input_ids"])
    expected = sum(int(logits[t - 1].argmax()) == int(ids[t]) for t in range(start, len(ids)))
    question = Question(
        id="x", prompt="Tom Brady plays for", candidates=("Paris and the Navy", "Derby")
    )
    [answer] = LanguageModel(model, tokenizer).ask([question])
    assert answer.num_argmax[0] == expected
    assert all(n <= total for n, total in zip(answer.num_argmax, answer.num_tokens, strict=True))


def test_a_question_may_be_shorter_than_the_rest(checkpoint: Callable[[str], Path]) -> None:
    """Its own limit of tokens holds beside the caller's."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    asked = [Question(id="a", prompt="Paris", greedy=True, max_new_tokens=2)]
    asked.append(Question(id="b", prompt="Paris", greedy=True))
    short, long = LanguageModel(model, tokenizer).ask(asked, max_new_tokens=5)
    assert len(short.greedy_ids) == 2
    assert long.greedy_ids[:2] == short.greedy_ids and len(long.greedy_ids) <= 5


def test_free_text_goes_on_behind_an_end(checkpoint: Callable[[str], Path]) -> None:
    """What ends an answer is in the middle of a free text, which is as long as is asked for and
    says the same up to there."""
    lm = LanguageModel(*load(checkpoint("llama"), dtype=torch.float32))
    answer = Question(id="q", prompt="Neymar", greedy=True, max_new_tokens=12)
    free = Question(
        id="q",
        prompt="Neymar",
        greedy=True,
        until=(),
        min_new_tokens=12,
        max_new_tokens=12,
        past_ends=True,
    )
    [whole] = lm.ask([free])
    assert len(whole.greedy_ids) == 12
    third = whole.greedy_ids[2]
    lm._end_ids, lm._line_ids = frozenset({third}), frozenset()
    [short], [again] = lm.ask([answer]), lm.ask([free])
    assert short.greedy_ids == whole.greedy_ids[: whole.greedy_ids.index(third)]
    assert again == whole
    both = lm.ask([answer, free])
    assert [a.greedy_ids for a in both] == [short.greedy_ids, whole.greedy_ids]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_statement_is_scored_from_its_second_token(
    kind: str, checkpoint: Callable[[str], Path]
) -> None:
    """Prompts of several lengths in one batch, rows of several lengths: each statement's score is
    that of one plain forward, whatever joins prompt and candidate."""
    model, tokenizer = load(checkpoint(kind), dtype=torch.float32)
    questions = [
        Question(id="a", prompt="Tom Brady plays for", candidates=("Paris", "Navy"), whole=True),
        Question(id="b", prompt="Paris", candidates=("is in France.", "is here."), whole=True),
        Question(id="c", prompt="Paris", candidates=("is in France.",)),
        Question(id="d", prompt="Apple", candidates=(", ok", "'s"), joined_by="", whole=True),
    ]
    for question, answer in zip(
        questions, LanguageModel(model, tokenizer).ask(questions), strict=True
    ):
        for candidate, found in zip(question.candidates, answer.logprobs, strict=True):
            text = f"{question.prompt}{question.joined_by}{candidate}"
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            logp = torch.log_softmax(model(ids).logits[0], -1)
            start = 1 if question.whole else len(tokenizer(question.prompt)["input_ids"])
            wanted = sum(float(logp[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
            assert found == pytest.approx(wanted, abs=3e-4)


@given(
    st.lists(st.integers(1, 40), max_size=300).map(sorted),
    st.integers(1, 64),
)
def test_parts_of_a_pass_are_little_padded(lengths: list[int], max_rows: int) -> None:
    """All rows run once, in order, within the limit; what is full has no more than a tenth of
    padding, up to the row that would have made it more."""
    parts = list(chunks(lengths, lengths, max_rows))
    assert [length for part in parts for length in part] == lengths
    for part in parts:
        assert len(part) <= max_rows
        full = [n for n in range(1, len(part)) if sum(part[:n]) >= FULL_TOKENS]
        for n in full:
            width = (n + 1) * part[n]
            assert width - sum(part[: n + 1]) <= PADDED_SHARE * width
