"""A codebook in force while a model generates: one lookup a prompt, whatever generates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import request, some_requests
from grace_helpers import (
    LAYER,
    OTHERS,
    ids_of,
)
from tiny_models import make_model
from torch import Tensor

from editors.base import Base
from editors.deltas.codebook import Codebook, Record
from editors.deltas.delta import Delta
from editors.external_memory.extension_based.prompt_columns import prompt_row
from editors.internals.forward import frozen
from editors.statistics.key_samples import at_last_tokens
from infra.errors import EditError
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question


def wild_book(base: Base, rows: Sequence[Sequence[int]], radius: float = 1e-3) -> Codebook:
    """The key at the last token of each row, with a large random value of its own."""
    with frozen(base.model), torch.no_grad():
        keys_CI, outputs_CD = at_last_tokens(base.architecture, rows, LAYER)
    torch.manual_seed(1)
    scale = 4 * float(outputs_CD.norm(dim=1).mean()) / outputs_CD.shape[1] ** 0.5
    values_CD = scale * torch.randn_like(outputs_CD)
    records = [
        Record(request(f"Row {i}", "Row", "x"), (i,), keys_CI[i], values_CD[i], radius)
        for i in range(len(rows))
    ]
    name = base.architecture.blocks[LAYER].name.removesuffix(".weight")
    return Codebook(name).extended(records)


def by_hand(base: Base, prompt: str, value_D: Tensor | None, num_new: int) -> list[int]:
    """Greedy continuation by whole passes, the value put at the prompt's last token each time."""
    ids = list(base.tokenizer(prompt)["input_ids"])
    last = len(ids) - 1

    def put(_module: Any, _args: Any, output: Tensor) -> Tensor:
        output = output.clone()
        if value_D is not None:
            output[0, last] = value_D
        return output

    handle = base.architecture.blocks[LAYER].projection.register_forward_hook(put)
    for _ in range(num_new):
        with torch.no_grad():
            logits = base.model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    handle.remove()
    return ids[last + 1 :]


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2", "gptj", "gpt_neox"])
def test_generation_latches_what_the_prompt_was_given(kind: str, tokenizer: Any) -> None:
    """Batched, left-padded and cached, eight tokens long: row by row what whole passes give with
    the value kept at the prompt's last token, though tokens of the answer have entries too."""
    model = make_model(kind)
    base = Base(model, tokenizer, "base")
    prompts = [item.prompt for item in some_requests()]
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    book = wild_book(base, rows)
    expected = [by_hand(base, p, r.value_D, 8) for p, r in zip(prompts, book.log, strict=True)]
    said = [row + want[:n] for row, want in zip(rows, expected, strict=True) for n in (1, 2)]
    book = book.extended(wild_book(base, said).log)
    expected += [by_hand(base, prompt, None, 8) for prompt in OTHERS]
    ids, mask = ids_of(tokenizer, [*prompts, *OTHERS], left=True)
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    with Delta((book,)).applied(model):
        found = model.generate(ids, attention_mask=mask, **settings)[:, ids.shape[1] :]
        questions = [Question(id=p, prompt=p, greedy=True) for p in [*prompts, *OTHERS]]
        answers = LanguageModel(model, tokenizer).ask(questions, max_new_tokens=8)
    for row, want, answer in zip(found.tolist(), expected, answers, strict=True):
        assert row[: row.index(0) if 0 in row else 8] == want[: want.index(0) if 0 in want else 8]
        assert list(answer.greedy_ids) == want[: len(answer.greedy_ids)]
    assert expected[:5] != [by_hand(base, prompt, None, 8) for prompt in prompts]


def test_beams_and_candidates_start_from_the_edited_prompt(llama: Any, tokenizer: Any) -> None:
    """Beam search with a batch = one prompt at a time; candidates branching from the prompt's cache
    score what one pass over prompt and candidate does with the lookup at the prompt's end."""
    base = Base(llama, tokenizer, "base")
    prompts = [item.prompt for item in some_requests()]
    book = wild_book(base, [tokenizer(prompt)["input_ids"] for prompt in prompts[:3]])
    settings: dict[str, Any] = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False}
    plain = LanguageModel(llama, tokenizer).ask([Question(id="", prompt=prompts[0], greedy=True)])
    hooks = book.hooks(llama)
    ids, mask = ids_of(tokenizer, prompts, left=True)
    together = llama.generate(ids, attention_mask=mask, **settings)[:, ids.shape[1] :]
    for prompt, row in zip(prompts, together.tolist(), strict=True):
        ids, mask = ids_of(tokenizer, [prompt], left=True)
        alone = llama.generate(ids, attention_mask=mask, **settings)[0, ids.shape[1] :]
        assert alone.tolist() == row[: len(alone)]
    question = Question(id="", prompt=prompts[0], candidates=("Paris is", "London"), greedy=True)
    [answer] = LanguageModel(llama, tokenizer).ask([question])
    for text, logprob in zip(question.candidates, answer.logprobs, strict=True):
        row = prompt_row(tokenizer, replace(some_requests()[0], target=text), "", ())
        with hooks.asked_at(torch.tensor([row.lookup])), torch.no_grad():
            logits = llama(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]
        logp = logits.log_softmax(-1)
        places = range(row.lookup, len(row.ids) - 1)
        assert sum(float(logp[i, row.ids[i + 1]]) for i in places) == pytest.approx(logprob, 1e-5)
    hooks.detach()
    assert plain != [answer]


def test_a_failed_pass_leaves_no_lookup_behind(llama: Any, tokenizer: Any) -> None:
    """A pass that raises, then a block run by itself: nothing is answered outside a pass; a mask
    that does not say where prompts end is refused."""
    base = Base(llama, tokenizer, "base")
    ids, _ = ids_of(tokenizer, [some_requests()[0].prompt], left=True)
    book = wild_book(base, ids.tolist(), radius=1e9)
    projection = base.architecture.blocks[LAYER].projection
    query = torch.randn(1, 1, 48, dtype=torch.float64)
    plain = projection(query)
    with Delta((book,)).applied(llama):
        with pytest.raises(EditError, match=r"rows, tokens"):
            llama(input_ids=ids, attention_mask=torch.ones(1, 1, 2, 2))
        handle = llama.model.layers[0].register_forward_pre_hook(_fail)
        with pytest.raises(RuntimeError):
            llama(input_ids=ids)
        handle.remove()
        assert torch.equal(projection(query), plain)


def _fail(*_: Any) -> None:
    raise RuntimeError("out of memory")
