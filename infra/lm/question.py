"""Questions that a language model is asked, and what comes back: values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt, and what is to be known of it."""

    id: str
    prompt: str
    """Text up to, not including, the answer and what joins them."""
    joined_by: str = " "
    """Between prompt and candidates."""
    candidates: tuple[str, ...] = ()
    """Answers to be scored, without a leading space."""
    whole: bool = False
    """Whether the prompt counts too: scored is each statement, all of its tokens but the first."""
    greedy: bool = False
    """Whether the greedy continuation is wanted."""
    until: tuple[str, ...] | None = None
    """Names: the continuation ends once it is settled which of them it begins with, if any. None is
    to its natural end."""
    min_new_tokens: int = 0
    """Tokens wanted before `until` may end it."""
    max_new_tokens: int | None = None
    """Greedy tokens at most; unset is the caller's."""
    past_ends: bool = False
    """Whether it goes on behind a newline or an end of text: free text of a fixed length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model makes of one question."""

    id: str
    logprobs: tuple[float, ...]
    """log p(joined_by + candidate | prompt), natural, summed over the candidate's tokens; or, of a
    `whole` question, log p(prompt + joined_by + candidate)."""
    num_tokens: tuple[int, ...]
    greedy: str | None
    """Greedy continuation up to end of text, newline (unless `past_ends`), the token limit or the
    question's `until`; stripped."""
    greedy_ids: tuple[int, ...] = ()
    num_argmax: tuple[int, ...] = ()
    """Of each candidate's tokens, how many are the likeliest where they stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of text to be measured, not asked about."""

    id: str
    text: str
    window: int | None = None
    """Measured in pieces of so many tokens, each by itself, `id/0`, `id/1`; what is left at the end
    is not. Unset is the text as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """What the model makes of one piece of text."""

    id: str
    nll: float
    """Summed negative log-likelihood, nats, of all tokens but the first."""
    kl: float | None
    """Summed KL divergence from the reference's predictions, nats; None without a reference."""
    energy: float | None
    """How much of what a module puts out has changed, on the reference's own inputs:
    Σ‖m(x) - m_ref(x)‖² / Σ‖m_ref(x)‖², of the module where it is greatest; 0 where all weights
    are the reference's, None without one."""
    num_tokens: int
    """Tokens predicted."""
