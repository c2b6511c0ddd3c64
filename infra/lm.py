"""Ask a language model questions: how likely is each answer, and what does it say by itself?

A prompt's tokens run once; its candidate answers and its greedy continuation both start from the
cached keys and values. Axis letters: B prompts of a batch, N candidate rows, T tokens, V
vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from infra.errors import ModelError
from infra.text import settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt, and what is to be known of it."""

    id: str
    prompt: str
    """Text up to, not including, the answer and the space before it."""
    candidates: tuple[str, ...] = ()
    """Answers to be scored, without a leading space."""
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
    """log p(" " + candidate | prompt), natural, summed over the candidate's tokens."""
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


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A question in tokens: what all its rows share, and what is each one's own."""

    question: Question
    prefix: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    """Tokens after the prefix, for each candidate."""
    first: tuple[int, ...]
    """Index in each row of the first token that belongs to the candidate."""


class LanguageModel:
    """A decoder and its tokenizer, put to questions in batches.

    Results do not depend on how questions are batched beyond rounding. Any Hugging Face causal
    model whose cache holds keys and values works; `max_rows` bounds the memory.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_rows: int = 64) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"tokenizer {type(tokenizer).__name__} gives no character offsets. "
                "Use a model with a fast tokenizer (tokenizer.json)."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.device = next(model.parameters()).device
        self._stop_ids = _stop_ids(model, tokenizer)

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], *, max_new_tokens: int = 16) -> list[Answer]:
        """One answer for each question, in their order."""
        encoded = [self._encode(question) for question in questions]
        order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i].prefix), i))
        answers: dict[int, Answer] = {}
        # A slice of tokens is not contiguous, and torch's linear then makes a product a row of it.
        hook = self.model.get_output_embeddings().register_forward_pre_hook(_contiguous)
        try:
            for batch in _chunks(order, self.max_rows):
                group = [encoded[i] for i in batch]
                answers |= dict(zip(batch, self._ask_batch(group, max_new_tokens), strict=True))
        finally:
            hook.remove()
        return [answers[i] for i in range(len(encoded))]

    @torch.inference_mode()
    def read(
        self, texts: Sequence[Text], reference: LanguageModel | None = None
    ) -> list[TextScore]:
        """Likelihood of each text, and KL divergence of what is predicted from the reference's:
        Σ_v p_ref log(p_ref / p), summed over positions, in float32.

        A text's first token is not predicted; one longer than the model's positions is cut there,
        and of less than two tokens nothing is said.
        """
        scores = []
        for key, ids_T in (piece for text in texts for piece in self._pieces(text)):
            logp_TV = self._predictions(ids_T)
            gold_T = ids_T[1:].to(logp_TV.device)
            kl = energy = None
            if reference is not None:
                with compared(reference.model, self.model) as energies:
                    base_TV = reference._predictions(ids_T)
                kl = (base_TV.exp() * (base_TV - logp_TV)).sum().item()
                energy = max(energies.values(), default=0.0)
            nll = -logp_TV.gather(1, gold_T[:, None]).sum().item()
            made = TextScore(id=key, nll=nll, kl=kl, energy=energy, num_tokens=len(gold_T))
            scores.append(made)
        return scores

    def _pieces(self, text: Text) -> Iterator[tuple[str, Tensor]]:
        """Ids and tokens of what is measured by itself."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        ids_T = self.tokenizer(text.text, return_tensors="pt")["input_ids"][0].long()
        if text.window is None:
            if len(ids_T) > 1:
                yield text.id, ids_T[:limit]
            return
        size = min(text.window, limit or text.window)
        for i, piece_T in enumerate(ids_T.split(size)):
            if len(piece_T) == size:
                yield f"{text.id}/{i}", piece_T

    def _predictions(self, ids_T: Tensor) -> Tensor:
        """log p of every next token [T - 1, V], float32."""
        logits = self.model(ids_T[None].to(self.device), use_cache=False).logits[0, :-1]
        return logits.float().log_softmax(-1)

    def _encode(self, question: Question) -> _Encoded:
        """Prompt and candidates tokenised together, so that the boundary is the model's own."""
        boundary = len(question.prompt)
        texts = [f"{question.prompt} {candidate}" for candidate in question.candidates]
        encoded = self.tokenizer([*texts, question.prompt], return_offsets_mapping=True)
        *rows, bare = encoded["input_ids"]
        starts = [
            next(i for i, (_, end) in enumerate(offsets) if end > boundary)
            for offsets in encoded["offset_mapping"][:-1]
        ]
        shared = len(bare)
        for row, start in zip(rows, starts, strict=True):
            shared = min(shared, start, _common(row, bare))
        if shared == 0:
            raise ModelError(f"question {question.id}: prompt {question.prompt!r} has no token.")
        if question.greedy:
            shared = min(shared, len(bare))
        return _Encoded(
            question,
            tuple(bare[:shared]),
            tuple(tuple(row[shared:]) for row in rows),
            tuple(start - shared for start in starts),
        )

    def _ask_batch(self, group: Sequence[_Encoded], max_new_tokens: int) -> list[Answer]:
        ids_BT, mask_BT = _pad([e.prefix for e in group], left=True, device=self.device)
        output = self._forward(ids_BT, mask_BT, None)
        last_BV = torch.log_softmax(output.logits[:, -1].float(), -1)
        scores = self._score(group, last_BV, mask_BT, output.past_key_values)
        greedy = self._decode(group, last_BV, mask_BT, output.past_key_values, max_new_tokens)
        return [
            Answer(
                id=e.question.id,
                logprobs=tuple(score for score, _, _ in scores[b]),
                num_tokens=tuple(count for _, count, _ in scores[b]),
                num_argmax=tuple(right for _, _, right in scores[b]),
                greedy=self._text(e.question, greedy[b]) if e.question.greedy else None,
                greedy_ids=tuple(greedy.get(b, ())),
            )
            for b, e in enumerate(group)
        ]

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any, last_only: bool = True) -> Any:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=DynamicCache() if cache is None else cache,
            use_cache=True,
            logits_to_keep=1 if last_only else 0,
        )

    def _score(
        self, group: Sequence[_Encoded], last_BV: Tensor, mask_BT: Tensor, cache: Any
    ) -> list[list[tuple[float, int, int]]]:
        """(log-likelihood, tokens, tokens that are the likeliest) of every candidate of every
        prompt.

        Rows of similar length run together, and without their last token, which predicts nothing.
        """
        scores = [[(0.0, 0, 0)] * len(e.rows) for e in group]
        owners = [(b, c) for b, e in enumerate(group) for c in range(len(e.rows))]
        owners.sort(key=lambda owner: len(group[owner[0]].rows[owner[1]]))
        for chunk in _chunks(owners, self.max_rows):
            owner_N = torch.tensor([b for b, _ in chunk], device=self.device)
            rows = [group[b].rows[c] for b, c in chunk]
            ids_NT, mask_NT = _pad(rows, left=False, device=self.device)
            token_NT = last_BV[owner_N, ids_NT[:, 0]][:, None]
            right_NT = (last_BV.argmax(-1)[owner_N] == ids_NT[:, 0])[:, None]
            if ids_NT.shape[1] > 1:
                branch = copy.deepcopy(cache)
                branch.batch_select_indices(owner_N)
                mask = torch.cat([mask_BT[owner_N], mask_NT[:, :-1]], 1)
                logits_NTV = self._forward(ids_NT[:, :-1], mask, branch, last_only=False).logits
                later = -torch.nn.functional.cross_entropy(
                    logits_NTV.flatten(0, 1).float(), ids_NT[:, 1:].flatten(), reduction="none"
                )
                token_NT = torch.cat([token_NT, later.view(len(chunk), -1)], 1)
                right_NT = torch.cat([right_NT, logits_NTV.argmax(-1) == ids_NT[:, 1:]], 1)
            token_NT, right_NT = token_NT.cpu(), right_NT.cpu()
            for n, ((b, c), row) in enumerate(zip(chunk, rows, strict=True)):
                first = group[b].first[c]
                own = slice(first, len(row))
                total, right = token_NT[n, own].sum().item(), int(right_NT[n, own].sum())
                scores[b][c] = total, len(row) - first, right
        return scores

    def _decode(
        self,
        group: Sequence[_Encoded],
        last_BV: Tensor,
        mask_BT: Tensor,
        cache: Any,
        max_new_tokens: int,
    ) -> dict[int, list[int]]:
        """Greedy continuation of the prompts that want one; rows leave the batch as they finish."""
        said: dict[int, list[int]] = {b: [] for b, e in enumerate(group) if e.question.greedy}
        owners = list(range(len(group)))  # whose each row is
        next_B, mask = last_BV.argmax(-1), mask_BT
        while True:
            going = []
            for n, (b, token) in enumerate(zip(owners, next_B.tolist(), strict=True)):
                if b in said and (group[b].question.past_ends or token not in self._stop_ids):
                    said[b].append(token)
                    if not self._is_over(group[b].question, said[b], max_new_tokens):
                        going.append(n)
            if not going:
                return said
            if len(going) < len(owners):
                keep = torch.tensor(going, device=self.device)
                cache.batch_select_indices(keep)
                next_B, mask, owners = next_B[keep], mask[keep], [owners[n] for n in going]
            mask = torch.cat([mask, mask.new_ones(len(owners), 1)], 1)
            next_B = self._forward(next_B[:, None], mask, cache).logits[:, -1].argmax(-1)

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


@contextmanager
def compared(reference: Any, model: Any) -> Iterator[dict[str, float]]:
    """While `reference` runs, what each module that differs in `model` would make of the same
    input: by name, the energy of the difference over that of the reference's own output."""
    others = dict(model.named_modules())
    energies: dict[str, float] = {}

    def compare(name: str) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            change = (others[name](*inputs) - output).float()
            energies[name] = float(change.square().sum() / output.float().square().sum())

        return hook

    hooks = [
        module.register_forward_hook(compare(name))
        for name, module in reference.named_modules()
        if _differs(module, others[name])
    ]
    try:
        yield energies
    finally:
        for hook in hooks:
            hook.remove()


def _differs(module: Any, other: Any) -> bool:
    """Whether a module's own matrix has other weights."""
    weight = module._parameters.get("weight")
    return (
        weight is not None
        and weight.ndim == 2
        and not torch.equal(weight, other._parameters["weight"])
    )


def _contiguous(_: Any, args: tuple[Tensor, ...]) -> Tensor:
    """What a head is given, in one piece of memory."""
    return args[0].contiguous()


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """End of text, and every token that holds a newline."""
    eos = model.generation_config.eos_token_id if model.can_generate() else None
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    ends |= {tokenizer.eos_token_id} - {None}
    lines = {i for token, i in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token}
    return frozenset(ends | lines | ({tokenizer.get_vocab().get("<0x0A>")} - {None}))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _pad(rows: Sequence[Sequence[int]], *, left: bool, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids [B,T] and mask [B,T]; padding repeats token 0, which the mask hides."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)
