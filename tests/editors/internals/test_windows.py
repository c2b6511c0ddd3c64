"""All text that an editor is fitted on, or optimises, begins as the tokenizer begins a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from editors_helpers import request, small_config
from tiny_models import TEXTS, make_model
from tiny_models import make_tokenizer as make_plain_tokenizer
from tiny_tokenizers import ADDING, TOKENIZERS, behind_of, front_of, make_tokenizer

from editors.base import Base
from editors.editor import Corpus, EditorCall
from editors.external_memory.extension_based.prompt_columns import prompt_row
from editors.internals.contexts import STARTERS, contexts
from editors.internals.forward import frozen
from editors.internals.tokens import encode, essence, in_context, windows
from editors.local_modification.gradient_based.memit import Memit
from editors.statistics.fisher import fisher
from editors.statistics.key_moments import fit
from editors.statistics.key_samples import at_last_tokens, sample
from infra.errors import ConfigError, EditError
from infra.lm.text_tokens import own_tokens

REQUEST = request("Tom Brady plays for", "Tom Brady", "Derby County")
EDIT_ROWS: dict[str, Callable[[Any], Sequence[int]]] = {
    "a prompt": lambda t: encode(t, REQUEST.prompt, REQUEST.subject_span, REQUEST.target).ids,
    "a prompt behind a context": lambda t: in_context(t, REQUEST, "Many people work. ").ids,
    "an essence": lambda t: essence(t, REQUEST.subject).ids,
    "a prompt looked up at its end": lambda t: prompt_row(t, REQUEST, "", ()).ids,
    "a window": lambda t: windows(t, TEXTS, max_tokens=99, window=7)[-1],
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("place", EDIT_ROWS)
def test_rows_begin_as_a_text(place: str, name: str) -> None:
    """What `tokenizer(text)` puts in front stands there once, what it puts behind nowhere."""
    tokenizer = make_tokenizer(name)
    front, behind = front_of(tokenizer, name), behind_of(tokenizer, name)
    row = list(EDIT_ROWS[place](tokenizer))
    assert row[: len(front)] == front
    assert not {*front, *behind} & {*row[len(front) :]}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_starters_of_contexts_begin_as_a_text(name: str) -> None:
    """A context is what the model says behind the front and a starter, without an end token."""
    model, tokenizer = make_model("llama"), make_tokenizer(name)
    found = contexts(model, tokenizer, num_prefixed=len(STARTERS), num_tokens=3)
    for starter, text in zip(STARTERS, found[1:], strict=True):
        ids = [*front_of(tokenizer, name), *own_tokens(tokenizer, starter)]
        for _ in range(3):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        said = " ".join(str(tokenizer.decode(ids, skip_special_tokens=True)).split())
        assert text == said.rstrip(" .") + ". "


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_budget_of_tokens_is_one_of_the_texts(name: str) -> None:
    """`max_tokens` counts the texts' own tokens, `window` those in front too; a window without room
    for more is refused."""
    tokenizer = make_tokenizer(name)
    front = front_of(tokenizer, name)
    rows = windows(tokenizer, ["", *TEXTS], max_tokens=37, window=5)
    assert sum(len(row) - len(front) for row in rows) == 37
    assert max(map(len, rows)) == 5
    if front:
        with pytest.raises(ConfigError, match=f"at least {len(front) + 1}"):
            windows(tokenizer, TEXTS, max_tokens=37, window=len(front))


def test_without_added_tokens_rows_are_plain_slices() -> None:
    """Where the tokenizer adds nothing, rows are slices of its tokens, as they ever were."""
    tokenizer = make_plain_tokenizer()
    rows = windows(tokenizer, TEXTS, max_tokens=10_000, window=5)
    texts = [tokenizer(text)["input_ids"] for text in TEXTS]
    assert rows == [ids[i : i + 5] for ids in texts for i in range(0, len(ids), 5)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_second_moments_are_those_of_the_texts_own_keys(name: str) -> None:
    """They equal a loop over windows by hand that leaves out the keys of what is in front."""
    model, tokenizer = make_model("llama"), make_tokenizer(name)
    front = front_of(tokenizer, name)
    statistics = fit(model, tokenizer, TEXTS, (1,), max_tokens=10_000, window=9, batch_tokens=64)
    keys: list[torch.Tensor] = []
    handle = model.model.layers[1].mlp.down_proj.register_forward_pre_hook(
        lambda _m, args: keys.append(args[0][0, len(front) :])
    )
    for text in TEXTS:
        own = own_tokens(tokenizer, text)
        for start in range(0, len(own), 9 - len(front)):
            piece = own[start : start + 9 - len(front)]
            with torch.no_grad():
                model(torch.tensor([[*front, *piece]]))
    handle.remove()
    k_TI = torch.cat(keys)
    assert statistics.num_tokens == len(k_TI)
    torch.testing.assert_close(statistics.moment(1), k_TI.T @ k_TI / len(k_TI), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ADDING)
def test_fisher_information_leaves_out_what_is_in_front(name: str) -> None:
    """The sum over all positions less that over those of the front's, and as many fewer; the editor
    gives the number of them."""
    model, tokenizer = make_model("llama"), make_tokenizer(name)
    base = Base(model, tokenizer, digest="x")
    rows = windows(tokenizer, TEXTS, max_tokens=200, window=9)
    num_front = max(1, len(front_of(tokenizer, name)))
    with frozen(model):
        total_DD, count = fisher(base.architecture, rows, 2, num_front=num_front)
    assert count == sum(len(row) - num_front for row in rows)
    editor = Memit(small_config(fisher_tokens=200, window=9))
    fitted = editor.fit(EditorCall(base), Corpus(TEXTS))
    assert fitted.num_site == count
    torch.testing.assert_close(fitted.site, total_DD / count, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_key_samples_are_taken_at_the_texts_own_tokens(name: str) -> None:
    """A key is that of the last of `prompt_tokens` tokens, the front's included, or of a shorter
    text's last; a text without a token has none."""
    model, tokenizer = make_model("llama"), make_tokenizer(name)
    base, front = Base(model, tokenizer, digest="x"), front_of(tokenizer, name)
    texts = ["", "The", *TEXTS[:4]]
    found = sample(base, texts, 1, num_prompts=10, prompt_tokens=6)
    rows = [[*front, *own_tokens(tokenizer, text)[: 6 - len(front)]] for text in texts[1:]]
    with torch.no_grad():
        keys_CI, _ = at_last_tokens(base.architecture, rows, 1)
    torch.testing.assert_close(found.keys_CI, keys_CI)
    with pytest.raises(EditError, match="at least one token"):
        sample(base, [""], 1, num_prompts=10, prompt_tokens=6)
