"""Questions to a language model, texts to score, and the results: values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt, with the answers to score and whether to continue it."""

    id: str
    """Unique among the questions asked together; the answer has the same."""
    prompt: str
    """Text before the answer, without the separator `joined_by`."""
    joined_by: str = " "
    """Separator between the prompt and each candidate; not read in a chat."""
    chat: bool = False
    """Whether the prompt is a user's message in a chat, and goes through the tokenizer's template.
    Its continuation does not end at a newline."""
    system: str | None = None
    """System prompt of the chat; None leaves it to the template."""
    candidates: tuple[str, ...] = ()
    """Answers to score, without a leading space."""
    whole: bool = False
    """Whether a score counts the prompt's tokens too: all but those that the tokenizer puts in
    front, or all but the first where it puts none."""
    greedy: bool = False
    """Whether to continue the prompt greedily."""
    until: tuple[str, ...] | None = None
    """Names of possible answers: the continuation ends as soon as no further token can change which
    of them it begins with, if any. None continues to the natural end."""
    min_new_tokens: int = 0
    """Tokens that the continuation must have before `until` may end it."""
    max_new_tokens: int | None = None
    """Tokens of the longest continuation; None takes the limit of the call."""
    past_ends: bool = False
    """Whether a newline or an end-of-text token does not end the continuation."""

    @property
    def asked_with(self) -> tuple[bool, int] | None:
        """Questions share batches with those of the same value only: where the continuation has
        `min_new_tokens` tokens, unless it ends by itself, whether it is of a chat, and that length;
        None for all others."""
        fixed = self.greedy and self.until == ()
        return (self.chat, self.min_new_tokens) if fixed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The model's answer to one question."""

    id: str
    logprobs: tuple[float, ...]
    """For each candidate, log p(joined_by + candidate | prompt) in nats, summed over its tokens. Of
    a `whole` question, log p(prompt + joined_by + candidate)."""
    num_tokens: tuple[int, ...]
    """For each candidate, the number of tokens in that sum."""
    greedy: str | None
    """Greedy continuation without surrounding white space, up to an end-of-text token or a newline
    (unless `past_ends`; in a chat newlines do not end it), the limit of tokens or the question's
    `until`; None unless asked for."""
    greedy_ids: tuple[int, ...] = ()
    """Token ids of the greedy continuation."""
    num_argmax: tuple[int, ...] = ()
    """For each candidate, how many of these tokens are the model's likeliest at their place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text whose likelihood is measured."""

    id: str
    text: str
    window: int | None = None
    """Tokens of a window, with those that the tokenizer puts in front of a text: each window begins
    with them and is scored by itself, under the ids `id/0`, `id/1`, and an incomplete last one is
    not scored. None scores the text as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """The scores of one text or window."""

    id: str
    """Id of the text, or of the window."""
    nll: float
    """Negative log-likelihood in nats, summed over the predicted tokens."""
    kl: float | None
    """KL divergence of the predictions from the reference's in nats, summed over positions; None
    without a reference."""
    energy: float | None
    """Relative change of a module's output on the reference's inputs,
    Σ‖m(x) - m_ref(x)‖² / Σ‖m_ref(x)‖² over the text's own tokens, for the module where it is
    greatest; 0 where all weights equal the reference's, None without a reference."""
    num_tokens: int
    """Number of predicted tokens: all but those that the tokenizer puts in front, or all but the
    first where it puts none."""
