"""Scoped values in force: the same in one pass, token by token, in any batch and any generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import propose, request, some_requests
from grace_helpers import OTHERS, ids_of
from tiny_models import MULTIMODAL, STATEFUL, make_model, make_multimodal
from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.scoped import ScopedValue, ScopedValues
from editors.deltas.token_names import word_edges
from editors.editor import EditorCall
from editors.external_memory.extension_based.scoped import Scoped, ScopedConfig, ScopedValueConfig
from editors.internals.tokens import encode_name
from infra.errors import EditError
from infra.lm.cache_rows import remembered
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.cache import empty_cache

LAYER = 1
SUBJECTS = ("Tom Brady", "Navy", "Neymar", "Ada Lovelace", "France", "Paris", "London")
PROMPTS = [item.prompt for item in some_requests()]


def wild_values(base: Base, subjects: Sequence[str] = SUBJECTS) -> Delta:
    """A large random value for each subject, of its name alone."""
    values = []
    for subject in subjects:
        torch.manual_seed(sum(map(ord, subject)))
        names = [
            encode_name(base.tokenizer, mark + subject, (len(mark), len(mark + subject)))
            for mark in ("", "a ")
        ]
        value_D = 30 * torch.randn(base.model.config.get_text_config().hidden_size)
        item = request(f"{subject} is", subject, "x", name=subject)
        values.append(ScopedValue(tuple(dict.fromkeys(names)), value_D, (item,)))
    name = next(
        name
        for name, module in base.model.named_modules()
        if module is base.architecture.blocks[LAYER].module
    )
    edges_V = word_edges(base.tokenizer, base.model.config.get_text_config().vocab_size)
    return Delta((ScopedValues(name, edges_V, tuple(values)),))


@torch.no_grad()
def token_by_token(base: Base, ids: Sequence[int], own: Sequence[int | None]) -> Tensor:
    """Run a prompt alone, then tokens one after the other behind its cache; None is the likeliest.

    Returns the log-probabilities [len(own), V] of each of them.
    """
    rows, cache, next_11 = [], empty_cache(base.model), torch.tensor([list(ids)])
    for token in own:
        output = base.model(input_ids=next_11, past_key_values=cache, use_cache=True)
        rows.append(output.logits[0, -1].log_softmax(-1))
        next_11 = torch.tensor([[int(rows[-1].argmax()) if token is None else token]])
    return torch.stack(rows)


def by_hand(base: Base, prompt: str, num_new: int) -> list[int]:
    """Greedy continuation of one prompt alone."""
    logp = token_by_token(base, base.tokenizer(prompt)["input_ids"], [None] * num_new)
    return logp.argmax(-1).tolist()


def wild_base(tokenizer: Any, kind: str = "llama") -> Base:
    made = make_multimodal(kind) if kind in MULTIMODAL else make_model(kind, torch.float32)
    return Base(made, tokenizer, "base")


@pytest.mark.parametrize(
    "kind", ["llama", "gemma2", "gpt2", "gptj", "qwen3_5_text", "lfm2", "gemma3", "llava"]
)
def test_generation_is_that_of_a_prompt_alone(kind: str, tokenizer: Any) -> None:
    """transformers' own generation and ours, in padded batches, with values that set in at tokens
    the model wrote itself."""
    base = wild_base(tokenizer, kind)
    prompts = [*PROMPTS, *OTHERS]
    plain = [by_hand(base, prompt, 12) for prompt in prompts]
    with wild_values(base).applied(base.model):
        wanted = [by_hand(base, prompt, 12) for prompt in prompts]
        questions = [
            Question(id=str(i), prompt=prompt, greedy=True, past_ends=True, max_new_tokens=12)
            for i, prompt in enumerate(prompts)
        ]
        answers = LanguageModel(base.model, base.tokenizer, max_rows=4).ask(questions)
        assert [list(answer.greedy_ids) for answer in answers] == wanted
        if kind not in STATEFUL:
            ids, mask = ids_of(base.tokenizer, prompts, left=True)
            made = base.model.generate(
                ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=None
            )
            assert made[:, ids.shape[1] :].tolist() == wanted
    assert sum(one != other for one, other in zip(plain, wanted, strict=True)) >= 2
    assert [by_hand(base, prompt, 12) for prompt in prompts] == plain


def test_beams_take_their_tokens_along(tokenizer: Any) -> None:
    """A beam search, which reorders the rows of the cache, scores what it returns as that row alone
    is scored."""
    base = wild_base(tokenizer)
    with wild_values(base).applied(base.model), torch.no_grad():
        for prompt in PROMPTS:
            ids = torch.tensor([base.tokenizer(prompt)["input_ids"]])
            made = base.model.generate(
                ids,
                max_new_tokens=8,
                num_beams=3,
                num_return_sequences=3,
                do_sample=False,
                eos_token_id=None,
                length_penalty=0.0,
                return_dict_in_generate=True,
                output_scores=True,
            )
            for row, score in zip(made.sequences.tolist(), made.sequences_scores, strict=True):
                own = row[ids.shape[1] :]
                logp = token_by_token(base, row[: ids.shape[1]], own)
                total = logp[torch.arange(len(own)), own].sum()
                assert float(score) == pytest.approx(float(total), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_tokens_that_are_taken_back_are_forgotten(kind: str, tokenizer: Any) -> None:
    """Speculative decoding proposes tokens and cuts the cache where the model disagrees; a cut of
    nothing, which transformers makes between steps, cuts nothing."""
    base = wild_base(tokenizer, kind)
    with wild_values(base).applied(base.model), torch.no_grad():
        for prompt in PROMPTS:
            ids = torch.tensor([base.tokenizer(f"{prompt} {prompt}")["input_ids"]])
            made = base.model.generate(
                ids,
                max_new_tokens=12,
                prompt_lookup_num_tokens=3,
                do_sample=False,
                eos_token_id=None,
                return_dict_in_generate=True,
            )
            own = made.sequences[0, ids.shape[1] :].tolist()
            assert own == token_by_token(base, ids[0].tolist(), own).argmax(-1).tolist()
            cache, whole = made.past_key_values, made.sequences
            assert knows(cache, whole[:, : cache.get_seq_length()])
            cache.crop(0)
            assert knows(cache, whole[:, : cache.get_seq_length()])
            cache.crop(-2)
            assert knows(cache, whole[:, : cache.get_seq_length()])


def knows(cache: Any, ids: Tensor) -> bool:
    """Whether these tokens, and at least one, are kept beside the cache."""
    known = remembered(cache)
    return known is not None and known.numel() > 0 and torch.equal(known, ids)


def test_candidates_are_scored_as_in_a_whole_pass(tokenizer: Any) -> None:
    """A subject in a candidate, or divided between prompt and candidate, is met too."""
    base = wild_base(tokenizer)
    cases = [("Tom Brady plays for", "Paris and London"), ("The wife of Ada", "Lovelace is")]
    questions = [
        Question(id=str(i), prompt=prompt, candidates=(candidate,))
        for i, (prompt, candidate) in enumerate(cases)
    ]
    with wild_values(base).applied(base.model):
        answers = LanguageModel(base.model, base.tokenizer).ask(questions)
        for (prompt, candidate), answer in zip(cases, answers, strict=True):
            ids = torch.tensor([base.tokenizer(f"{prompt} {candidate}")["input_ids"]])
            with torch.no_grad():
                logp = base.model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
            num = answer.num_tokens[0]
            own = logp[0, :-1].gather(-1, ids[0, 1:, None])[-num:].sum()
            assert answer.logprobs[0] == pytest.approx(float(own))


def test_other_prompts_are_bitwise_the_bases(tokenizer: Any) -> None:
    """Every logit of a prompt without an edited subject, also in a batch with one."""
    base = wild_base(tokenizer)
    prompts = ["The weather is cold", "Grace Hopper works for"]
    ids, mask = ids_of(base.tokenizer, [*prompts, "Neymar plays for"], left=True)
    with torch.no_grad():
        plain = base.model(input_ids=ids, attention_mask=mask).logits
        with wild_values(base, ["Neymar"]).applied(base.model):
            edited = base.model(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(plain[:2], edited[:2]) and not torch.equal(plain[2], edited[2])


def test_facts_do_not_interfere(tokenizer: Any) -> None:
    """The same answer, bitwise, with one value in force and beside a thousand others."""
    base = wild_base(tokenizer)
    one = wild_values(base, ["Neymar"])
    many = one.concatenate(wild_values(base, [f"Name {i} of Many" for i in range(1000)]))

    def logits(delta: Delta) -> Tensor:
        ids = torch.tensor([base.tokenizer("Neymar plays for")["input_ids"]])
        with torch.no_grad(), delta.applied(base.model):
            return base.model(input_ids=ids).logits

    assert torch.equal(logits(one), logits(many))


def test_a_later_value_takes_over_a_name_and_goes_again(tokenizer: Any) -> None:
    """Joined, the later one answers; without it the subject has none."""
    base = wild_base(tokenizer)
    first, second = wild_values(base, ["Neymar"]), wild_values(base, ["Neymar", "France"])
    both = first.concatenate(second)
    assert both.digest == second.digest
    assert both.without({"Neymar"}).digest == wild_values(base, ["France"]).digest


def test_what_cannot_be_told_apart_is_refused(tokenizer: Any) -> None:
    """Two facts of one subject share a value."""
    base = wild_base(tokenizer)
    values = wild_values(base, ["Neymar"]).of(ScopedValues)
    [(_, part)] = values.items()
    value = part.values[0]
    other = replace(value.requests[0], id="other")
    shared = replace(part, values=(replace(value, requests=(*value.requests, other)),))
    with pytest.raises(EditError, match="anew"):
        Delta((shared,)).without({"other"})
    assert not Delta((shared,)).without({"other", "Neymar"}).parts


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"inputs_embeds": torch.zeros(1, 2, 32)}, "embeddings"),
        (
            {"input_ids": torch.ones(1, 2).long(), "attention_mask": torch.ones(1, 1, 2, 2)},
            "attention mask",
        ),
    ],
)
def test_a_pass_that_does_not_tell_its_tokens(
    given: dict[str, Any], why: str, tokenizer: Any
) -> None:
    """One line, and the model answers again afterwards."""
    base = wild_base(tokenizer)
    with wild_values(base).applied(base.model), torch.no_grad():
        with pytest.raises(EditError, match=why):
            base.model.model(**given)
        base.model(input_ids=torch.tensor([[1, 2]]))


def test_a_cache_that_was_filled_before(tokenizer: Any) -> None:
    """A prompt that ran without the values in force is refused, since nothing is known of it."""
    base = wild_base(tokenizer)
    ids = torch.tensor([[1, 2]])
    with torch.no_grad():
        cache = base.model(input_ids=ids, use_cache=True).past_key_values
        with wild_values(base).applied(base.model), pytest.raises(EditError, match="knows nothing"):
            base.model(input_ids=ids, past_key_values=cache)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gptj", "qwen3_5_text"])
def test_a_value_is_in_force_as_it_was_found(kind: str, tokenizer: Any) -> None:
    """The probability of the target that the search reports is the edited model's, for the bare
    prompt; two facts of one subject share a value; the subject in the middle too."""
    base = Base(make_model(kind, torch.float64), tokenizer, "base")
    config = ScopedConfig(
        layer=LAYER, num_prefixed=0, values=ScopedValueConfig(steps=30, clamp=30, kl_weight=0)
    )
    twice = request("Neymar lives in", "Neymar", "London")
    proposal = propose(Scoped(config), EditorCall(base), [*some_requests(), twice])
    [part] = proposal.delta.parts
    assert part.size == len(some_requests())
    with proposal.delta.applied(base.model):
        for item, report in zip([*some_requests(), twice], proposal.reports, strict=True):
            ids = torch.tensor([base.tokenizer(f"{item.prompt} {item.target}")["input_ids"]])
            num = ids.shape[1] - len(base.tokenizer(item.prompt)["input_ids"])
            with torch.no_grad():
                logp = base.model(input_ids=ids).logits.log_softmax(-1)
            own = logp[0, :-1].gather(-1, ids[0, 1:, None])[-num:].mean().exp()
            if item.prompt.startswith("Neymar"):
                continue
            assert report.p_target == pytest.approx(float(own), rel=1e-6)
