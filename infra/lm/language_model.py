"""Ask a language model questions: the likelihoods of given answers, and its own continuation.

A prompt runs once for all questions that have it. The candidate answers and the greedy continuation
both start from its cached keys and values. Axis letters: B prompts of a batch, N rows, T tokens,
K selected positions, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from infra.errors import ModelError
from infra.lm.batching import (
    EncodedQuestion,
    PromptGroup,
    batches,
    by_prefix,
    chunks,
    encode,
    pad_rows,
)
from infra.lm.cache_rows import copy_cache_rows
from infra.lm.chat import answer_end
from infra.lm.decoding import DecodeBatch
from infra.lm.logits import PositionSelector, argmax_last, token_logprobs
from infra.lm.matching import is_settled
from infra.lm.question import Answer, Question
from infra.lm.text_tokens import added_in_front
from infra.models.cache import empty_cache, keeps_states
from infra.models.tokenizer.insertion import inserted_ids

CACHED_TOKENS_A_ROW = 64
"""Bounds the cache of the rows that are continued: `max_rows` times so many tokens."""
PLAIN_TOKENS = 256
"""Longest prompt, in tokens, for which plain matrix products are the fastest attention on a CPU."""


class LanguageModel:
    """A decoder and its tokenizer, which answer questions in batches.

    Answers do not depend on how questions are batched, beyond rounding. Any Hugging Face causal
    model works whose cache holds keys and values, or states that padding in front leaves at zero.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, max_rows: int = 128, plain_attention: bool = False
    ) -> None:
        """
        max_rows         rows in one forward pass; bounds the memory
        plain_attention  on a CPU, compute attention as plain matrix products. That is faster for
                         short rows than torch's fused attention, and rounds differently. Models
                         that are compared must be asked in the same way; a codebook must be asked
                         with the attention that its radii were found with

        Raises ModelError for a tokenizer that gives no character offsets.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"tokenizer {type(tokenizer).__name__} gives no character offsets. "
                "Use a model with a fast tokenizer (tokenizer.json)."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.front_A = added_in_front(tokenizer)
        """Ids of the tokens that the tokenizer puts in front of a text, [A]."""
        self.inserted = inserted_ids(tokenizer)
        """Ids of the tokens that the tokenizer inserts into a text: read, and never predicted."""
        self.max_rows = max_rows
        self.plain_attention = plain_attention
        self.device = next(model.parameters()).device
        self._end_ids, self._line_ids = _end_ids(model, tokenizer), _line_ids(tokenizer)
        self._selector = PositionSelector()

    @cached_property
    def _turn_ids(self) -> frozenset[int | None]:
        """Id of the token that ends an answer in a chat."""
        return frozenset({answer_end(self.tokenizer)})

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], *, max_new_tokens: int = 16) -> list[Answer]:
        """The answer to each question, in their order.

        max_new_tokens  tokens of the longest continuation, where a question sets no limit

        Questions with continuations of a fixed length are asked apart from the others, each length,
        in a chat or not, by itself. So the rows of their batches are the same for two models
        whatever these say elsewhere, and whatever one's tokenizer inserts there, and a continuation
        is not another one by rounding. Raises ModelError for a prompt without a token.
        """
        apart: dict[tuple[bool, int] | None, list[EncodedQuestion]] = defaultdict(list)
        for i, question in enumerate(questions):
            apart[question.asked_with].append(encode(self.tokenizer, i, question))
        answers = {
            one.number: self._answer(prompt, one)
            for together in apart.values()
            for prompt in self._answered(together, max_new_tokens)
            for one in prompt.questions
        }
        return [answers[i] for i in range(len(questions))]

    def _answered(
        self, encoded: Sequence[EncodedQuestion], max_new_tokens: int
    ) -> list[PromptGroup]:
        """The questions by prompt, with their scores and continuations."""
        prompts = by_prefix(encoded)
        rows = DecodeBatch()
        with self._for_short_rows(max((len(p.tokens) for p in prompts), default=0)):
            for group in batches(prompts, max(1, self.max_rows // 2)):
                while not self._has_room(rows, group):
                    self._decode_step(rows, max_new_tokens)
                self._run_prompts(group, rows, max_new_tokens)
            while rows.owners:
                self._decode_step(rows, max_new_tokens)
        return prompts

    @contextmanager
    def _for_short_rows(self, longest: int) -> Iterator[None]:
        """Inside the `with`, the model runs in the way that is fastest for many short rows.

        The head computes logits for the selected positions only. On a CPU, with `plain_attention`,
        attention of prompts up to `PLAIN_TOKENS` is computed as plain products.

        longest  tokens of the longest prompt
        """
        hook = self.model.get_output_embeddings().register_forward_pre_hook(self._selector)
        used = self.model.config._attn_implementation
        on_cpu = self.device.type == "cpu"
        plain = self.plain_attention and on_cpu and longest <= PLAIN_TOKENS
        try:
            if plain:
                self.model.set_attn_implementation("eager")
            yield
        finally:
            hook.remove()
            if plain:
                self.model.set_attn_implementation(used)

    def _has_room(self, rows: DecodeBatch, group: Sequence[PromptGroup]) -> bool:
        """Whether the prompts of `group` fit beside the rows that are being continued: in number of
        rows, and in cached tokens."""
        number = len(rows.owners) + len(group)
        width = max(rows.width, max(len(prompt.tokens) for prompt in group))
        return not rows.owners or (
            number <= self.max_rows and number * width <= self.max_rows * CACHED_TOKENS_A_ROW
        )

    def _run_prompts(
        self, group: Sequence[PromptGroup], rows: DecodeBatch, max_new_tokens: int
    ) -> None:
        """Run prompts and score their candidates; add those that are continued to `rows`."""
        ids_BT, mask_BT = pad_rows([p.tokens for p in group], left=True, device=self.device)
        whole = any(one.question.whole for prompt in group for one in prompt.questions)
        own_BT = mask_BT.bool() if whole else None
        output = self._forward(ids_BT, mask_BT, empty_cache(self.model), at=own_BT)
        logits_BV, cache = output.logits.float(), output.past_key_values
        if whole:
            self._score_prompts(group, ids_BT, mask_BT.bool(), logits_BV)
            logits_BV = logits_BV[mask_BT.sum(1).cumsum(0) - 1]
        last_BV = logits_BV
        self._score_candidates(group, last_BV, mask_BT, cache)
        next_B = argmax_last(last_BV)
        continued = [
            b
            for b, (prompt, token) in enumerate(zip(group, next_B.tolist(), strict=True))
            if self._add_token(prompt, token, max_new_tokens)
        ]
        if continued:
            new = DecodeBatch()
            new.add_rows(group, next_B, mask_BT, cache)
            new.keep_rows(continued)
            rows.add_rows(new.owners, new.next_N, new.mask_NW, new.cache)

    def _decode_step(self, rows: DecodeBatch, max_new_tokens: int) -> None:
        """Generate one more token for every row, and remove the rows that have ended."""
        mask = torch.cat([rows.mask_NW, rows.mask_NW.new_ones(len(rows.owners), 1)], 1)
        logits_NV = self._forward(rows.next_N[:, None], mask, rows.cache).logits
        rows.mask_NW, rows.next_N = mask, argmax_last(logits_NV)
        tokens = zip(rows.owners, rows.next_N.tolist(), strict=True)
        rows.keep_rows(
            [
                n
                for n, (owner, token) in enumerate(tokens)
                if self._add_token(owner, token, max_new_tokens)
            ]
        )

    def _add_token(self, prompt: PromptGroup, token: int, max_new_tokens: int) -> bool:
        """Add a generated token to a continuation; whether a question needs more tokens."""
        before = prompt.continuation
        takers = [one for one in prompt.unfinished if not self._stops(one.question, token)]
        after = [*before, token] if takers else before
        rest = [one for one in takers if not self._is_finished(one.question, after, max_new_tokens)]
        for one in prompt.unfinished:
            if one not in rest:
                prompt.lengths[one.number] = len(after) if one in takers else len(before)
        prompt.continuation, prompt.unfinished = after, rest
        return bool(rest)

    def _stops(self, question: Question, token: int) -> bool:
        """Whether a token ends the continuation of a question."""
        if question.past_ends:
            return False
        more = self._turn_ids if question.chat else self._line_ids
        return token in self._end_ids or token in more

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any, at: Tensor | None = None) -> Any:
        """The model's output, with the logits [K, V] of the positions selected by `at`, a boolean
        [N, T]; without `at`, of the last position of each row."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        self._selector.at = at
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=0 if at is not None else 1,
        )
        output.logits = output.logits.flatten(0, 1)
        return output

    def _continue(self, ids: Tensor, mask: Tensor, cache: Any, at: Tensor) -> Tensor:
        """Logits [K, V] at the selected positions of rows that go on behind a cache; one token
        after the other where the cache keeps states."""
        if not keeps_states(cache):
            return self._forward(ids, mask, cache, at=at).logits
        before = mask.shape[1] - ids.shape[1]
        steps = [
            self._forward(ids[:, t : t + 1], mask[:, : before + t + 1], cache).logits
            for t in range(ids.shape[1])
        ]
        return torch.stack(steps, dim=1)[at]

    def _score_prompts(
        self, group: Sequence[PromptGroup], ids_BT: Tensor, own_BT: Tensor, logits_KV: Tensor
    ) -> None:
        """Score the tokens of the prompts themselves: all but those that the tokenizer puts in
        front, or all but the first where it puts none."""
        ids_K = ids_BT[own_BT]
        # Rows follow each other, so a prompt's last logits meet the next one's first token: unused.
        next_K = ids_K[1:]
        counts_K = self._counts(next_K)
        logp_K, argmax_K = token_logprobs(logits_KV[:-1].clone(), next_K * counts_K)
        logp_K, argmax_K = logp_K.masked_fill(~counts_K, 0.0), argmax_K & counts_K
        num_given = max(1, len(self.front_A))
        start = 0
        for prompt in group:
            end = start + len(prompt.tokens)
            own = slice(start + num_given - 1, end - 1)
            number = int(counts_K[own].sum())
            prompt.score = logp_K[own].sum().item(), number, int(argmax_K[own].sum())
            start = end

    def _score_candidates(
        self, group: Sequence[PromptGroup], last_BV: Tensor, mask_BT: Tensor, cache: Any
    ) -> None:
        """Score every candidate of every prompt. Rows of similar length run together; a row of one
        token need not run, because the prompt predicts it.

        last_BV  logits at the last token of each prompt
        """
        owners = [
            (b, one, c)
            for b, prompt in enumerate(group)
            for one in prompt.questions
            for c in range(len(one.rows))
        ]
        owners.sort(key=lambda owner: len(owner[1].rows[owner[2]]))
        single = sum(len(one.rows[c]) == 1 for _, one, c in owners)
        first = last_BV, last_BV.logsumexp(-1), argmax_last(last_BV)
        lengths = [len(one.rows[c]) - 1 for _, one, c in owners[single:]]
        parts = (owners[:single], *chunks(owners[single:], lengths, self.max_rows))
        for chunk in filter(None, parts):
            owner_N = torch.tensor([b for b, _, _ in chunk], device=self.device)
            rows = [one.rows[c] for _, one, c in chunk]
            logp_NT, argmax_NT, counts_NT = self._score_rows(rows, owner_N, first, mask_BT, cache)
            for n, ((_, one, c), row) in enumerate(zip(chunk, rows, strict=True)):
                own = slice(one.first[c], len(row))
                sums = (int(of_NT[n, own].sum()) for of_NT in (counts_NT, argmax_NT))
                one.scores[c] = logp_NT[n, own].sum().item(), *sums

    def _score_rows(
        self,
        rows: Sequence[Sequence[int]],
        owner_N: Tensor,
        first: tuple[Tensor, Tensor, Tensor],
        mask_BT: Tensor,
        cache: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log p of each token of the rows, whether it has the greatest logit, and whether it
        counts (`_counts`), [N, T] each; 0 of one that does not.

        owner_N  index of each row's prompt in its batch
        first    logits at the last token of each prompt [B, V], their logsumexp and argmax [B]

        A row's last token does not run, since nothing after it is scored.
        """
        last_BV, norm_B, argmax_B = first
        ids_NT, mask_NT = pad_rows(rows, left=False, device=self.device)
        counts_NT = self._counts(ids_NT)
        gold_NT = ids_NT * counts_NT
        logp_NT = (last_BV[owner_N, gold_NT[:, 0]] - norm_B[owner_N])[:, None]
        argmax_NT = (argmax_B[owner_N] == gold_NT[:, 0])[:, None]
        if ids_NT.shape[1] > 1:
            mask = torch.cat([mask_BT[owner_N], mask_NT[:, :-1]], 1)
            prompt_cache, at_NT = copy_cache_rows(cache, owner_N), mask_NT[:, 1:].bool()
            logits_KV = self._continue(ids_NT[:, :-1], mask, prompt_cache, at_NT)
            logp_K, argmax_K = token_logprobs(logits_KV.float(), gold_NT[:, 1:][at_NT])
            later_NT = logp_NT.new_zeros(at_NT.shape).masked_scatter_(at_NT, logp_K)
            logp_NT = torch.cat([logp_NT, later_NT], 1)
            later_NT = argmax_NT.new_zeros(at_NT.shape).masked_scatter_(at_NT, argmax_K)
            argmax_NT = torch.cat([argmax_NT, later_NT], 1)
        logp_NT = logp_NT.masked_fill(~counts_NT, 0.0)
        return logp_NT.cpu(), (argmax_NT & counts_NT).cpu(), counts_NT.cpu()

    def _counts(self, ids: Tensor) -> Tensor:
        """Whether each token is the text's own, to be predicted: not one that the tokenizer
        inserts, for which the model may have no logit."""
        return ~torch.isin(ids, torch.tensor(sorted(self.inserted), device=ids.device))

    def _answer(self, prompt: PromptGroup, encoded: EncodedQuestion) -> Answer:
        """The answer to one question, once its candidates are scored and its continuation ended."""
        question = encoded.question
        logp, num, num_argmax = prompt.score if question.whole else (0.0, 0, 0)
        length = prompt.lengths.get(encoded.number)
        ids = prompt.continuation[:length] if question.greedy else []
        return Answer(
            id=question.id,
            logprobs=tuple(logp + own for own, _, _ in encoded.scores),
            num_tokens=tuple(num + own for _, own, _ in encoded.scores),
            num_argmax=tuple(num_argmax + own for _, _, own in encoded.scores),
            greedy=self._text(question, ids) if question.greedy else None,
            greedy_ids=tuple(ids),
        )

    def _is_finished(self, question: Question, ids: Sequence[int], max_new_tokens: int) -> bool:
        """Whether a continuation has reached its limit of tokens or satisfies `until`."""
        if len(ids) >= (question.max_new_tokens or max_new_tokens):
            return True
        if question.until is None or len(ids) < question.min_new_tokens:
            return False
        return is_settled(self._text(question, ids), question.until)

    def _text(self, question: Question, ids: Sequence[int]) -> str:
        """The text of a continuation without surrounding white space, cut at a newline unless
        `past_ends` or in a chat."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return (text if question.past_ends or question.chat else text.split("\n")[0]).strip()


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids of the end-of-text tokens."""
    eos = model.generation_config.eos_token_id if model.can_generate() else None
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    return frozenset((ends | {tokenizer.eos_token_id}) - {None})


def _line_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of all tokens that hold a newline."""
    lines = {i for token, i in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token}
    return frozenset(lines | ({tokenizer.get_vocab().get("<0x0A>")} - {None}))
