"""What a model is fed begins as its tokenizer begins a text, and what that adds counts nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_models import TEXTS, make_model
from tiny_models import make_tokenizer as make_plain_tokenizer
from tiny_tokenizers import ADDING, TOKENIZERS, behind_of, front_of, make_tokenizer

from infra.errors import ConfigError, ModelError
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question, Text
from infra.lm.text_scores import score_texts
from infra.lm.text_tokens import added_in_front, cut, own_tokens

TEXT = " ".join(TEXTS[:4])


@contextmanager
def fed(model: Any) -> Iterator[list[list[int]]]:
    """The rows of token ids that the model's embedding is given, padding on the left removed."""
    rows: list[list[int]] = []

    def hook(_module: Any, args: tuple[torch.Tensor, ...]) -> None:
        for row in args[0].tolist():
            rows.append(row[next((i for i, t in enumerate(row) if t), 0) :])

    handle = model.get_input_embeddings().register_forward_pre_hook(hook)
    try:
        yield rows
    finally:
        handle.remove()


def ask(lm: LanguageModel, **settings: Any) -> Any:
    """The answer to one question."""
    [answer] = lm.ask([Question(id="q", **settings)], max_new_tokens=1)
    return answer


PLACES: dict[str, Callable[[LanguageModel], object]] = {
    "a text": lambda lm: score_texts(lm, [Text(id="t", text=TEXT)]),
    "windows": lambda lm: score_texts(lm, [Text(id="t", text=TEXT, window=7)]),
    "a text beside a reference": lambda lm: score_texts(
        lm, [Text(id="t", text=TEXT, window=7)], reference=lm
    ),
    "candidates of one token": lambda lm: ask(lm, prompt="Ada Lovelace", candidates=("is",)),
    "a continuation": lambda lm: ask(lm, prompt="Ada Lovelace", greedy=True),
    "a whole statement": lambda lm: ask(lm, prompt="Ada", candidates=("is",), whole=True),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("place", PLACES)
def test_every_row_begins_as_a_text(place: str, name: str) -> None:
    """Each row fed at a beginning has what `tokenizer(text)` puts in front, once, and never what it
    puts behind."""
    tokenizer = make_tokenizer(name)
    front, behind = front_of(tokenizer, name), behind_of(tokenizer, name)
    assert tokenizer(TEXT)["input_ids"][: len(front)] == front
    lm = LanguageModel(make_model("llama", torch.float32), tokenizer)
    with fed(lm.model) as rows:
        PLACES[place](lm)
    assert rows
    starts = rows if "text" in place or "windows" in place else rows[:1]
    for row in starts:
        assert row[: len(front)] == front
        assert not {*front, *behind} & {*row[len(front) :]}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_windows_hold_the_texts_own_tokens_in_order(name: str) -> None:
    """Behind what is in front, windows joined are the tokens of the text without special ones; none
    is longer than asked for, and all but the last are as long."""
    tokenizer = make_tokenizer(name)
    front, own = added_in_front(tokenizer), own_tokens(tokenizer, TEXT)
    assert list(front) == front_of(tokenizer, name)
    assert own == tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert own_tokens(tokenizer, "") == []
    windows = list(cut(front, own, 7))
    assert [token for window in windows for token in window[len(front) :]] == own
    assert {len(window) for window in windows[:-1]} == {7} and len(windows[-1]) <= 7
    with pytest.raises(ConfigError, match=f"at least {len(front) + 1}"):
        list(cut(front, own, len(front)))


def test_without_added_tokens_windows_are_plain_slices() -> None:
    """Where the tokenizer adds nothing, a window is a slice of its tokens, as it ever was."""
    tokenizer = make_plain_tokenizer()
    ids = tokenizer(TEXT)["input_ids"]
    assert added_in_front(tokenizer) == ()
    assert list(cut((), ids, 7)) == [ids[i : i + 7] for i in range(0, len(ids), 7)]


@pytest.mark.parametrize("name", ["none", "llama-2", "glm"])
def test_a_special_token_that_a_text_spells_out_is_its_own(name: str) -> None:
    """A text that has `<end>` in it keeps it, at its beginning and at its end too."""
    tokenizer = make_tokenizer(name)
    own = own_tokens(tokenizer, "<end>Ada Lovelace<end>")
    assert (own[0], own[-1]) == (tokenizer.eos_token_id,) * 2


@torch.no_grad()
@pytest.mark.parametrize("name", TOKENIZERS)
def test_scores_count_predicted_tokens_of_the_text_only(name: str) -> None:
    """Likelihood, divergence and number of tokens equal a loop over positions by hand; the first
    token of the text counts where something stands in front of it."""
    tokenizer = make_tokenizer(name)
    front, own = front_of(tokenizer, name), own_tokens(tokenizer, TEXT)
    lm, other = (LanguageModel(make_model(k, torch.float32), tokenizer) for k in ("llama", "qwen2"))
    scores = score_texts(
        lm, [Text(id="w", text=TEXT, window=9), Text(id="t", text=TEXT)], reference=other
    )
    room = 9 - len(front)
    pieces = [own[i : i + room] for i in range(0, len(own) - room + 1, room)]
    for piece, score in zip([*pieces, own], scores, strict=True):
        row = torch.tensor([[*front, *piece]])
        p, p_ref = (m.model(row).logits[0].double().log_softmax(-1) for m in (lm, other))
        predicted = range(max(1, len(front)), row.shape[1])
        nll = -sum(p[i - 1, row[0, i]] for i in predicted)
        kl = sum((p_ref[i - 1].exp() * (p_ref[i - 1] - p[i - 1])).sum() for i in predicted)
        assert score.num_tokens == len(predicted)
        assert score.nll == pytest.approx(float(nll), rel=1e-4)
        assert score.kl == pytest.approx(float(kl), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ADDING)
def test_drift_is_that_of_the_texts_own_tokens(name: str) -> None:
    """The change of a module's output is measured behind what the tokenizer puts in front."""
    tokenizer = make_tokenizer(name)
    lm, other = (LanguageModel(make_model("llama", torch.float32), tokenizer) for _ in range(2))
    projection, edited = (m.model.model.layers[1].mlp.down_proj for m in (lm, other))
    with torch.no_grad():
        edited.weight[:, :20] *= 1.5
    keys: list[torch.Tensor] = []
    handle = projection.register_forward_pre_hook(lambda _m, args: keys.append(args[0]))
    [score] = score_texts(other, [Text(id="t", text=TEXT)], reference=lm)
    handle.remove()
    own = keys[0][0, len(front_of(tokenizer, name)) :]
    change, before = own @ (edited.weight - projection.weight).T, own @ projection.weight.T
    assert score.energy == pytest.approx(float(change.square().sum() / before.square().sum()), 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", TOKENIZERS)
def test_answers_are_scored_by_their_own_tokens(name: str) -> None:
    """A candidate's likelihood is that of its tokens behind the prompt's; of a whole statement that
    of all tokens that are the text's own. An end token is neither scored nor stood behind."""
    tokenizer = make_tokenizer(name)
    front, prompt = front_of(tokenizer, name), "Tom Brady plays for"
    lm = LanguageModel(make_model("llama", torch.float32), tokenizer)
    own = own_tokens(tokenizer, f"{prompt} Derby County")
    given = len(own_tokens(tokenizer, prompt))
    row = [*front, *own]
    logp = lm.model(torch.tensor([row])).logits[0].double().log_softmax(-1)

    def total(first: int) -> float:
        return sum(float(logp[i - 1, row[i]]) for i in range(first, len(row)))

    answer = ask(lm, prompt=prompt, candidates=("Derby County",), greedy=True)
    assert answer.num_tokens == (len(own) - given,)
    assert answer.logprobs[0] == pytest.approx(total(len(front) + given), rel=1e-4)
    assert answer.greedy_ids[0] == int(logp[len(front) + given - 1].argmax())
    whole = ask(lm, prompt=prompt, candidates=("Derby County",), whole=True)
    first = max(1, len(front))
    assert whole.num_tokens == (len(row) - first,)
    assert whole.logprobs[0] == pytest.approx(total(first), rel=1e-4)


@pytest.mark.parametrize("name", ["none", "t5"])
def test_an_empty_prompt_has_no_token_where_nothing_is_in_front(name: str) -> None:
    """An end token alone is no beginning to go on from."""
    lm = LanguageModel(make_model("llama", torch.float32), make_tokenizer(name))
    with pytest.raises(ModelError, match="has no token"):
        ask(lm, prompt="", greedy=True)
