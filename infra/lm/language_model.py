"""Ask a language model questions: how likely is each answer, and what does it say by itself?

A prompt runs once, for all questions that have it; its candidate answers and its greedy
continuation both start from the cached keys and values. Axis letters: B prompts of a batch, N
rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from infra.errors import ModelError
from infra.lm.batching import Encoded, PromptGroup, batches, by_prefix, chunks, encode, pad_rows
from infra.lm.decoding import DecodeBatch, branched
from infra.lm.logits import Head, hits, likeliest
from infra.lm.matching import settled
from infra.lm.question import Answer, Question

CACHED_TOKENS_A_ROW = 64
"""What bounds the cache of the rows that are continued: on average so many tokens each."""
PLAIN_TOKENS = 256
"""Up to this length of a prompt attention is fastest, on a CPU, when it is plain products."""


class LanguageModel:
    """A decoder and its tokenizer, put to questions in batches.

    Results do not depend on how questions are batched beyond rounding. Any Hugging Face causal
    model whose cache holds keys and values works; `max_rows` bounds the memory.

    `plain_attention`: questions are asked, on a CPU, with attention as plain products, which is
    faster for short rows and rounds otherwise than torch's fused one. What is compared has to be
    asked in one way; a codebook's radii are those of the attention that it was made with.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, max_rows: int = 128, plain_attention: bool = False
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"tokenizer {type(tokenizer).__name__} gives no character offsets. "
                "Use a model with a fast tokenizer (tokenizer.json)."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.plain_attention = plain_attention
        self.device = next(model.parameters()).device
        self._stop_ids = _stop_ids(model, tokenizer)
        self._head = Head()

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], *, max_new_tokens: int = 16) -> list[Answer]:
        """One answer for each question, in their order."""
        encoded = [encode(self.tokenizer, i, question) for i, question in enumerate(questions)]
        prompts = by_prefix(encoded)
        rows = DecodeBatch()
        with self._for_short_rows(max((len(p.tokens) for p in prompts), default=0)):
            for group in batches(prompts, max(1, self.max_rows // 2)):
                while not self._has_room(rows, group):
                    self._step(rows, max_new_tokens)
                self._begin(group, rows, max_new_tokens)
            while rows.owners:
                self._step(rows, max_new_tokens)
        answers = {
            part.number: self._answer(prompt, part) for prompt in prompts for part in prompt.parts
        }
        return [answers[i] for i in range(len(encoded))]

    @contextmanager
    def _for_short_rows(self, longest: int) -> Iterator[None]:
        """Inside, the model runs as is best for many short rows.

        A slice of tokens is not contiguous, and torch's linear then makes a product a row of it.
        What is padded, or predicts nothing that is asked, does not pass the head. torch's fused
        attention on a CPU costs more a row than the products of a short one.
        """
        hook = self.model.get_output_embeddings().register_forward_pre_hook(self._head)
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
        """Whether a batch can join those that are being continued, in rows and in tokens cached."""
        number = len(rows.owners) + len(group)
        width = max(rows.width, max(len(prompt.tokens) for prompt in group))
        return not rows.owners or (
            number <= self.max_rows and number * width <= self.max_rows * CACHED_TOKENS_A_ROW
        )

    def _begin(self, group: Sequence[PromptGroup], rows: DecodeBatch, max_new_tokens: int) -> None:
        """Run prompts and score their candidates; those that are to be continued join `rows`."""
        ids_BT, mask_BT = pad_rows([p.tokens for p in group], left=True, device=self.device)
        whole = any(part.question.whole for prompt in group for part in prompt.parts)
        own_BT = mask_BT.bool() if whole else None
        output = self._forward(ids_BT, mask_BT, DynamicCache(), at=own_BT)
        logits_BV, cache = output.logits.float(), output.past_key_values
        if whole:
            self._score_prompts(group, ids_BT, mask_BT.bool(), logits_BV)
            logits_BV = logits_BV[mask_BT.sum(1).cumsum(0) - 1]
        last_BV = logits_BV
        self._score(group, last_BV, mask_BT, cache)
        next_B = likeliest(last_BV)
        going = [
            b
            for b, (prompt, token) in enumerate(zip(group, next_B.tolist(), strict=True))
            if self._goes_on(prompt, token, max_new_tokens)
        ]
        if going:
            joining = DecodeBatch()
            joining.join(group, next_B, mask_BT, cache)
            joining.keep(going)
            rows.join(joining.owners, joining.next_N, joining.mask_NW, joining.cache)

    def _step(self, rows: DecodeBatch, max_new_tokens: int) -> None:
        """One more token for every row; those that have said enough leave."""
        mask = torch.cat([rows.mask_NW, rows.mask_NW.new_ones(len(rows.owners), 1)], 1)
        logits_NV = self._forward(rows.next_N[:, None], mask, rows.cache).logits
        rows.mask_NW, rows.next_N = mask, likeliest(logits_NV)
        said = zip(rows.owners, rows.next_N.tolist(), strict=True)
        rows.keep(
            [
                n
                for n, (owner, token) in enumerate(said)
                if self._goes_on(owner, token, max_new_tokens)
            ]
        )

    def _goes_on(self, prompt: PromptGroup, token: int, max_new_tokens: int) -> bool:
        """Hear the next token of a continuation: whether anybody wants to hear more."""
        stops = token in self._stop_ids
        heard = [p for p in prompt.listening if p.question.past_ends or not stops]
        said = [*prompt.said, token] if heard else prompt.said
        going = [p for p in heard if not self._is_over(p.question, said, max_new_tokens)]
        for part in prompt.listening:
            if part not in going:
                prompt.ends[part.number] = len(said) if part in heard else len(prompt.said)
        prompt.said, prompt.listening = said, going
        return bool(going)

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any, at: Tensor | None = None) -> Any:
        """The model's output; logits [K, V] of the K places of `at` [N, T], or of each last one."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        self._head.at = at
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

    def _score_prompts(
        self, group: Sequence[PromptGroup], ids_BT: Tensor, own_BT: Tensor, logits_KV: Tensor
    ) -> None:
        """What the prompts themselves are worth: of each, all tokens but the first."""
        ids_K = ids_BT[own_BT]
        logp_K, hit_K = hits(logits_KV[:-1].clone(), ids_K[1:])  # a prompt's last says the next's
        start = 0
        for prompt in group:
            number = len(prompt.tokens) - 1
            own = slice(start, start + number)
            prompt.score = logp_K[own].sum().item(), number, int(hit_K[own].sum())
            start += number + 1

    def _score(
        self, group: Sequence[PromptGroup], last_BV: Tensor, mask_BT: Tensor, cache: Any
    ) -> None:
        """Score every candidate of every prompt. Rows of similar length run together; those of one
        token do not run, the prompt having predicted it."""
        owners = [
            (b, part, c)
            for b, prompt in enumerate(group)
            for part in prompt.parts
            for c in range(len(part.rows))
        ]
        owners.sort(key=lambda owner: len(owner[1].rows[owner[2]]))
        single = sum(len(part.rows[c]) == 1 for _, part, c in owners)
        first = last_BV, last_BV.logsumexp(-1), likeliest(last_BV)
        lengths = [len(part.rows[c]) - 1 for _, part, c in owners[single:]]
        parts = (owners[:single], *chunks(owners[single:], lengths, self.max_rows))
        for chunk in filter(None, parts):
            owner_N = torch.tensor([b for b, _, _ in chunk], device=self.device)
            rows = [part.rows[c] for _, part, c in chunk]
            token_NT, right_NT = self._score_rows(rows, owner_N, first, mask_BT, cache)
            for n, ((_, part, c), row) in enumerate(zip(chunk, rows, strict=True)):
                own = slice(part.first[c], len(row))
                total, right = token_NT[n, own].sum().item(), int(right_NT[n, own].sum())
                part.scores[c] = total, len(row) - part.first[c], right

    def _score_rows(
        self,
        rows: Sequence[Sequence[int]],
        owner_N: Tensor,
        first: tuple[Tensor, Tensor, Tensor],
        mask_BT: Tensor,
        cache: Any,
    ) -> tuple[Tensor, Tensor]:
        """log p of each token, and whether it is the likeliest, [N,T] each.

        `first` is what the prompts predict, [B,V], its normaliser and its likeliest, [B]. A row's
        last token predicts nothing and does not run.
        """
        last_BV, norm_B, likeliest_B = first
        ids_NT, mask_NT = pad_rows(rows, left=False, device=self.device)
        token_NT = (last_BV[owner_N, ids_NT[:, 0]] - norm_B[owner_N])[:, None]
        right_NT = (likeliest_B[owner_N] == ids_NT[:, 0])[:, None]
        if ids_NT.shape[1] > 1:
            mask = torch.cat([mask_BT[owner_N], mask_NT[:, :-1]], 1)
            branch, at_NT = branched(cache, owner_N), mask_NT[:, 1:].bool()
            logits_KV = self._forward(ids_NT[:, :-1], mask, branch, at=at_NT).logits
            logp_K, hit_K = hits(logits_KV.float(), ids_NT[:, 1:][at_NT])
            later_NT = token_NT.new_zeros(at_NT.shape).masked_scatter_(at_NT, logp_K)
            hits_NT = right_NT.new_zeros(at_NT.shape).masked_scatter_(at_NT, hit_K)
            token_NT = torch.cat([token_NT, later_NT], 1)
            right_NT = torch.cat([right_NT, hits_NT], 1)
        return token_NT.cpu(), right_NT.cpu()

    def _answer(self, prompt: PromptGroup, part: Encoded) -> Answer:
        """What was heard of one question."""
        score, num, right = prompt.score if part.question.whole else (0.0, 0, 0)
        greedy = prompt.said[: prompt.ends.get(part.number)] if part.question.greedy else []
        return Answer(
            id=part.question.id,
            logprobs=tuple(score + own for own, _, _ in part.scores),
            num_tokens=tuple(num + own for _, own, _ in part.scores),
            num_argmax=tuple(right + own for _, _, own in part.scores),
            greedy=self._text(part.question, greedy) if part.question.greedy else None,
            greedy_ids=tuple(greedy),
        )

    def _is_over(self, question: Question, said: Sequence[int], max_new_tokens: int) -> bool:
        """Whether a continuation is as long as wanted, or says already what it was asked for."""
        if len(said) >= (question.max_new_tokens or max_new_tokens):
            return True
        if question.until is None or len(said) < question.min_new_tokens:
            return False
        return settled(self._text(question, said), question.until)

    def _text(self, question: Question, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return (text if question.past_ends else text.split("\n")[0]).strip()


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """End of text, and every token that holds a newline."""
    eos = model.generation_config.eos_token_id if model.can_generate() else None
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    ends |= {tokenizer.eos_token_id} - {None}
    lines = {i for token, i in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token}
    return frozenset(ends | lines | ({tokenizer.get_vocab().get("<0x0A>")} - {None}))
