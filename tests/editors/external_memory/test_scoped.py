"""Scoped values: what they are searched over, and the names at which they are in force."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import propose, request

from editors.base import Base
from editors.deltas.scoped import ScopedValues
from editors.editor import EditorCall
from editors.external_memory.extension_based.scoped import Scoped, ScopedConfig, ScopedValueConfig
from editors.external_memory.extension_based.subject_names import names_of
from editors.request import EditRequest, Wording
from infra.errors import EditError

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
ROONEY = EditRequest(
    id="1",
    prompt="Wayne Rooney plays for",
    subject_span=(0, 12),
    target="Derby County",
    wordings=(Wording("The team that Wayne Rooney plays for is", (14, 26)),),
    question=Wording("Which team does Wayne Rooney play for?", (16, 28)),
    subject_id="Q76",
    aliases=("Wazza Rooney", "Rooney of Derby", "The Assassin-faced Baby"),
)


def searched(base: Base, item: EditRequest, **settings: Any) -> list[str]:
    """The texts that a value is searched over."""
    editor = Scoped(ScopedConfig(num_prefixed=1, context_tokens=3, **settings))
    [column] = editor._columns(base, [item], {})
    for row in column.fact.rows:
        read = base.tokenizer.decode(row.ids[: row.lookup + 1])
        assert read.endswith((item.subject, *item.aliases))
    return [base.tokenizer.decode(row.ids) for row in column.fact.rows]


def test_wordings_names_and_the_chat_are_searched_over(llama: Any, tokenizer: Any) -> None:
    item = replace(ROONEY, aliases=("Wazza Rooney", "Rooney of Liga", "Neymar Rooney"))
    base = Base(llama, tokenizer, "base")
    plain = searched(base, item)
    assert plain[0] == "Wayne Rooney plays for Derby County"
    assert plain[1].endswith(". Wayne Rooney plays for Derby County")
    assert plain[2:] == [
        "The team that Wayne Rooney plays for is Derby County",
        "Wazza Rooney plays for Derby County",
        "Rooney of Liga plays for Derby County",
    ]
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    base = Base(llama, tokenizer, "base")
    *others, chat = searched(base, item)
    assert others == plain
    assert chat == ("[user] Which team does Wayne Rooney play for?\n[assistant] Derby County<end>")
    assert searched(base, item, chat=False) == plain
    key = Scoped().value_key([item], "base", "a")
    assert key != Scoped().value_key([item], "base", "b")
    assert key == Scoped().value_key([replace(item, id="2", subject_id="Q1")], "base", "a")
    for change in ({"wordings": ()}, {"question": None}, {"aliases": ()}):
        assert key != Scoped().value_key([replace(item, **change)], "base", "a")


def test_a_name_is_one_subjects(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Aliases: those of another subject, names of another, and single tokens are left out."""
    single = next(
        text
        for token, i in tokenizer.get_vocab().items()
        if (text := tokenizer.decode([i]))[:1] == " " and text.strip().isalpha() and token
    ).strip()
    brady = replace(request("Tom Brady plays for", "Tom Brady", "Paris"), subject_id="Q1")
    brady = replace(brady, aliases=("Touchdown Tom", "Grace Hopper", "The Quarterback", single))
    hopper = replace(request("Grace Hopper works for", "Grace Hopper", "Harvard"), subject_id="Q2")
    hopper = replace(hopper, aliases=("The Quarterback", "Amazing Grace"))
    with caplog.at_level(logging.WARNING):
        names = names_of(tokenizer, {"Tom Brady": [brady], "Grace Hopper": [hopper]})
    assert names == {
        "Tom Brady": ("Tom Brady", "Touchdown Tom"),
        "Grace Hopper": ("Grace Hopper", "Amazing Grace"),
    }
    assert not caplog.messages
    small, large = (request(f"{name} is", name, "x", name=name) for name in ("navy", "Navy"))
    street = request("die straße is", "die straße", "x")
    assert names_of(tokenizer, {"navy": [small], "die straße": [street]}) == {
        "navy": ("navy", "Navy"),
        "die straße": ("die straße", "Die straße"),
    }
    both = names_of(tokenizer, {"navy": [small], "Navy": [large]})
    assert both == {"navy": ("navy",), "Navy": ("Navy",)}
    other = replace(brady, subject_id="Q3", aliases=())
    names_of(tokenizer, {"Tom Brady": [brady, other]})
    assert caplog.messages == ["'Tom Brady' is the name of Q1, Q3: edits of each show for all"]


def test_a_value_is_in_force_at_an_alias(llama: Any, tokenizer: Any) -> None:
    base = Base(llama, tokenizer, "base")
    settings = ScopedValueConfig(steps=3, kept_weight=0)
    editor = Scoped(ScopedConfig(num_prefixed=0, values=settings))
    [part] = propose(editor, EditorCall(base), [ROONEY]).delta.parts
    assert isinstance(part, ScopedValues)
    prompts = ["Wazza Rooney plays for", "It is said that Wayne Rooney", "Tom Brady plays for"]

    def said() -> list[torch.Tensor]:
        rows = [torch.tensor([tokenizer(prompt)["input_ids"]]) for prompt in prompts]
        with torch.inference_mode():
            return [llama(input_ids=ids).logits for ids in rows]

    before = said()
    detach = part.attach(llama)
    after = said()
    detach()
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert moved == [True, True, False]


def test_requests_keep_all_they_hold_in_files() -> None:
    for item in (
        ROONEY,
        replace(ROONEY, question=None),
        replace(ROONEY, wordings=(), aliases=()),
        request("Neymar plays for", "Neymar", "Paris"),
    ):
        assert EditRequest.unpack(item.pack()) == item
    with pytest.raises(EditError, match="subject_span=\\(3, 99\\) is outside the text of 3"):
        Wording("abc", (3, 99))
    with pytest.raises(EditError, match="' Who is Ann\\?' has white space around it"):
        Wording(" Who is Ann?", (8, 11))
