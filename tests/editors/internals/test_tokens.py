"""Lookup and target tokens are found by offsets, whatever stands around them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from editors_helpers import request
from tiny_models import make_model, make_tokenizer
from tokenizers.processors import TemplateProcessing

from editors.internals.contexts import contexts
from editors.internals.tokens import encode, essence, in_context, pad
from infra.errors import EditError, ModelError


def test_lookup_and_target_cover_the_text(tokenizer: Any) -> None:
    """Tokens to the lookup spell the text to the subject's end, the last ones spell the target."""
    row = in_context(
        tokenizer, request("The head of the Navy is", "Navy", "Grace Hopper"), "Hello. "
    )
    assert tokenizer.decode(row.ids[: row.lookup + 1]) == "Hello. The head of the Navy"
    assert tokenizer.decode(row.ids[-row.num_target :]) == " Grace Hopper"
    assert row.prefix + row.suffix == row.ids[:-1]


def test_the_span_decides_between_two_occurrences(tokenizer: Any) -> None:
    """A subject that occurs twice is looked up where the request says, never where it is found."""
    prompt = "Paris is Paris and the capital is"
    first = encode(tokenizer, prompt, (0, 5), "London")
    second = encode(tokenizer, prompt, (9, 14), "London")
    assert tokenizer.decode(first.ids[: first.lookup + 1]) == "Paris"
    assert tokenizer.decode(second.ids[: second.lookup + 1]) == "Paris is Paris"


@pytest.mark.parametrize("subject", ["Beşiktaş", "日本", "O'Neil", "J. R. Smith Jr.", "Ω"])
def test_characters_of_several_bytes(tokenizer: Any, subject: str) -> None:
    """Byte-level tokens share offsets; the last byte of the subject is looked up."""
    row = encode(tokenizer, f"{subject} plays for", (0, len(subject)), "Göztepe")
    assert tokenizer.decode(row.ids[: row.lookup + 1]) == subject
    assert tokenizer.decode(row.ids[-row.num_target :]) == " Göztepe"


def test_special_tokens_are_kept_in_front_and_dropped_behind() -> None:
    """A tokenizer that adds a start and an end: the start stays, the end is not a target."""
    plain, special = make_tokenizer(), make_tokenizer()
    special.backend_tokenizer.post_processor = TemplateProcessing(  # type: ignore[assignment]
        single="<end> $A <end>", special_tokens=[("<end>", 0)]
    )
    prompt = ("Neymar plays for", (0, 6), "Paris")
    before, after = encode(plain, *prompt), encode(special, *prompt)
    assert after.ids == (0, *before.ids)
    assert (after.lookup, after.num_target) == (before.lookup + 1, before.num_target)


def test_essence_is_cut_after_the_subject(tokenizer: Any) -> None:
    """The KL row ends with the subject's last token and has no target."""
    row = essence(tokenizer, "Tom Brady")
    assert tokenizer.decode(row.ids) == "Tom Brady"
    assert row.lookup == len(row.ids) - 1 and row.suffix == row.ids[-1:] and row.num_target == 0


def test_pad_puts_zeros_behind() -> None:
    """Ids and mask of rows of unlike length."""
    ids, mask = pad([[3, 4], [5]], device=torch.device("cpu"))
    assert ids.tolist() == [[3, 4], [5, 0]] and mask.tolist() == [[1, 1], [1, 0]]


def test_refusals(tokenizer: Any) -> None:
    """A subject that no token covers, and a tokenizer without offsets."""

    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="fast tokenizer"):
        encode(Slow(), "a b", (0, 1), "c")
    with pytest.raises(EditError, match="joins subject and target"):
        encode(_Joined(), "a b", (2, 3), "c")
    with pytest.raises(EditError, match="no token covers"):
        encode(tokenizer, "a b", (3, 4))


class _Joined:
    """A tokenizer that makes one token of everything."""

    is_fast = True

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": [1], "offset_mapping": [(0, len(text))], "special_tokens_mask": [0]}


def test_contexts_are_deterministic_and_nested(tokenizer: Any) -> None:
    """The same model gives the same contexts; asking for more does not change the first."""
    model = make_model("llama")
    two = contexts(model, tokenizer, num_prefixed=2, num_tokens=4)
    assert two[0] == "" and len(two) == 3 and all(text.endswith(". ") for text in two[1:])
    assert contexts(model, tokenizer, num_prefixed=3, num_tokens=4)[:3] == two
