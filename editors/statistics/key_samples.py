"""Keys of a projection at the last tokens of rows, and what they say of unrelated prompts.

How far apart the keys of unrelated prompts are is the scale of GRACE's deferral radius; the paper's
1.0 is absolute and means another thing in every model and layer. C: rows. I: width of a key. D:
hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from editors.base import Base
from editors.editor import WHOLE, CorpusPart, Progress, silent
from editors.internals.architecture import Architecture
from editors.internals.forward import frozen, recorded, tensor_of, work_dtype
from editors.internals.tokens import bucketed, pad, waste_tokens
from infra.errors import EditError
from infra.files.tensors import load_tensors, save_with_digest
from infra.lm.text_tokens import added_in_front, cut, own_tokens

FORMAT = "corrigenda-keys-1"
BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class KeySample:
    """Keys of unrelated prompts, with weights."""

    keys_CI: Tensor
    """Float32 or wider."""
    weights_C: Tensor
    """How much each counts, float64."""

    def merge(self, other: KeySample) -> KeySample:
        """Those of both texts together."""
        parts = [part for part in (self, other) if len(part.keys_CI)] or [self]
        return KeySample(
            torch.cat([part.keys_CI for part in parts]),
            torch.cat([part.weights_C for part in parts]),
        )

    def blend(self, other: KeySample, share: float) -> KeySample:
        """Those of both, the other's with this share of the weight, [0, 1]."""
        mine = KeySample(self.keys_CI, (1 - share) * self.weights_C / self.weights_C.sum())
        return mine.merge(KeySample(other.keys_CI, share * other.weights_C / other.weights_C.sum()))

    def distance(self, quantile: float) -> float:
        """The weighted quantile, (0, 1], of the Euclidean distances between all pairs of keys.

        Raises EditError for fewer than two keys.
        """
        num_keys = len(self.keys_CI)
        if num_keys < 2:
            raise EditError(
                f"{num_keys} prompts are no scale for a radius; give texts of at least two "
                "different beginnings, or set `radius`."
            )
        one, two = torch.triu_indices(num_keys, num_keys, 1)
        distances, order = torch.pdist(self.keys_CI.double()).sort()
        share = (self.weights_C[one] * self.weights_C[two])[order].cumsum(0)
        reached = torch.searchsorted(share, quantile * share[-1])
        return float(distances[min(int(reached), len(distances) - 1)])

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors = {"keys": self.keys_CI.cpu().contiguous(), "weights": self.weights_C.contiguous()}
        save_with_digest(tensors, path, {"format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> KeySample:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        tensors, _ = load_tensors(path, "keys", FORMAT)
        return cls(tensors["keys"], tensors["weights"])


def sample(
    base: Base,
    texts: Iterable[str],
    layer: int,
    *,
    num_prompts: int,
    prompt_tokens: int,
    part: CorpusPart = WHOLE,
    progress: Progress = silent,
) -> KeySample:
    """Keys of the first `prompt_tokens` tokens of each of the first `num_prompts` texts.

    These tokens include what the tokenizer puts in front of a text. A text without a token of its
    own has no key. Texts that begin alike count once. Raises EditError when there is no text,
    ConfigError where `prompt_tokens` leaves no room for a text's own.
    """
    front = added_in_front(base.tokenizer)
    beginnings = (
        next(cut(front, own_tokens(base.tokenizer, text), prompt_tokens), [])
        for text in islice(texts, num_prompts)
    )
    rows = list(dict.fromkeys(tuple(row) for row in beginnings if row))
    if not rows:
        raise EditError("no text to gather keys on; give texts with at least one token.")
    rows = rows[part[0] :: part[1]]
    with frozen(base.model), torch.no_grad():
        keys_CI, _ = at_last_tokens(base.architecture, rows, layer)
    progress("keys", len(rows), len(rows))
    return KeySample(keys_CI.cpu(), torch.ones(len(rows), dtype=torch.float64))


def at_last_tokens(
    architecture: Architecture, rows: Sequence[Sequence[int]], layer: int
) -> tuple[Tensor, Tensor]:
    """Input [C, I] and output [C, D] of a layer's projection at the last token of each row.

    Float32 or wider. Use it under `no_grad` and `frozen`.
    """
    projection = architecture.blocks[layer].projection
    device = architecture.model.get_input_embeddings().weight.device
    order: list[int] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for members in bucketed([len(row) for row in rows], waste_tokens(device), BATCH_TOKENS):
        ids_BT, mask_BT = pad([rows[i] for i in members], device=device)
        with recorded({"site": projection}) as calls:
            architecture.hidden(ids_BT, torch.ones_like(mask_BT), stop_after=layer)
        call, every = calls["site"], torch.arange(len(members), device=device)
        last_B = mask_BT.sum(dim=1) - 1
        inputs.append(call.args[0][every, last_B])
        outputs.append(tensor_of(call.output)[every, last_B])
        order += members
    if not order:
        return torch.zeros(0, 0), torch.zeros(0, 0)
    back = torch.tensor(order, device=device).argsort()
    keys_CI, outputs_CD = torch.cat(inputs)[back], torch.cat(outputs)[back]
    dtype = work_dtype(keys_CI.dtype)
    return keys_CI.to(dtype), outputs_CD.to(dtype)
