"""A message goes through the tokenizer's template once, and its answer ends where a turn does."""

from __future__ import annotations

import pytest
import torch
from tiny_models import make_model, make_tokenizer
from transformers import AutoTokenizer

from infra.errors import ModelError
from infra.lm.chat import answer_end, as_chat, has_template
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.embedded import embedded_model

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{{ message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PARTS = (
    "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}|"
    "{% endfor %}"
)
DATED = (
    "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y') }}  {{ messages[-1]['content'] }}"
)


@pytest.mark.slow
def test_a_message_is_the_models_own_chat() -> None:
    path, _ = embedded_model()
    tokenizer = AutoTokenizer.from_pretrained(path)
    chat = as_chat(tokenizer, "Who wrote Dune?")
    assert chat.text.endswith(
        "<|im_start|>user\nWho wrote Dune?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert chat.text.startswith("<|im_start|>system\n")
    assert chat.text[chat.start :].startswith("Who wrote Dune?")
    own = as_chat(tokenizer, "Who wrote Dune?", system="Answer with a name.")
    assert "<|im_start|>system\nAnswer with a name.<|im_end|>" in own.text
    assert answer_end(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_templates_take_contents_as_text_or_in_parts_and_have_one_date() -> None:
    tokenizer = make_tokenizer()
    assert not has_template(tokenizer)
    tokenizer.chat_template = PARTS
    assert as_chat(tokenizer, " Who? ").text == "Who?|"
    tokenizer.chat_template = DATED
    assert as_chat(tokenizer, "Who?").text == "2024-07-26 26 July 2024  Who?"


@pytest.mark.parametrize(
    ("template", "system", "said"),
    [
        (GEMMA, "Be brief.", "System role not supported"),
        ("nothing", None, "leaves out the user's message 'Who\\?'"),
        ("{{ messages[0]['content'] | nosuch }}", None, "nosuch"),
        (None, None, "cannot be filled"),
    ],
)
def test_a_template_that_cannot_be_filled_is_one_line(
    template: str | None, system: str | None, said: str
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=said) as found:
        as_chat(tokenizer, "Who?", system=system)
    assert "\n" not in str(found.value)


def test_a_chat_is_asked_as_its_text_is() -> None:
    """Scores and continuation are those of the filled template, with no token added."""
    model, tokenizer = make_model("llama", torch.float32).eval(), make_tokenizer()
    tokenizer.chat_template = GEMMA.replace("{{ bos_token }}", "")
    asked = Question(
        id="q", prompt="Where is Paris?", chat=True, candidates=("France",), greedy=True
    )
    [answer] = LanguageModel(model, tokenizer).ask([asked], max_new_tokens=8)
    text = as_chat(tokenizer, "Where is Paris?").text
    ids = tokenizer(f"{text}France", add_special_tokens=False, return_tensors="pt")["input_ids"]
    start = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    with torch.inference_mode():
        logp = torch.log_softmax(model(ids).logits[0], -1)
    own = sum(float(logp[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
    assert answer.logprobs[0] == pytest.approx(own, abs=1e-3)
    said = model.generate(ids[:, :start], max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert answer.greedy_ids == tuple(said[0, start:].tolist())[: len(answer.greedy_ids)]
