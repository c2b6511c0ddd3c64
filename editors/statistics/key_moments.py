"""Second moments of MLP keys over text: C_l = E[k kᵀ], uncentred, for the layers to be edited; and,
where it is wanted, the Fisher information at the site of values (`editors/statistics/fisher.py`).

One pass over the text serves every layer and stops at the deepest. Sums merge, so shards may be
fitted apart, and neither batch size nor order matters beyond rounding. Every row begins with what
the tokenizer puts in front of a text. The keys of these tokens are left out: C is a mean over text,
and they are one key as often as there are rows. Where nothing is put in front, the first token of a
row is kept, as any other. I: width of a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.editor import WHOLE, CorpusPart, Progress, silent
from editors.internals.architecture import Architecture
from editors.internals.discover import discover
from editors.internals.forward import frozen, recorded, work_dtype
from editors.internals.tokens import batched, pad, windows
from infra.distributed.group import SINGLE_PROCESS, Group, share
from infra.errors import EditError
from infra.files.tensors import load_tensors, save_with_digest
from infra.lm.text_tokens import added_in_front

FORMAT = "corrigenda-statistics-1"
SITE = "site"


@dataclass(slots=True)
class Statistics:
    """Sums of k kᵀ by layer, and over how many tokens."""

    sums: dict[int, Tensor] = field(default_factory=dict)
    """[I, I] by layer, float32 (float64 from a float64 model)."""
    num_tokens: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    """What they were gathered on; written to the file and read back."""
    site_DD: Tensor | None = None
    """Sum of g gᵀ at the site, [D, D], over `num_site` tokens; None if it was not wanted."""
    num_site: int = 0

    def update(self, keys_TI: Mapping[int, Tensor]) -> None:
        """Add tokens: for every layer the keys of the same T tokens, [T, I]."""
        counts = {len(k_TI) for k_TI in keys_TI.values()}
        assert len(counts) == 1 and (not self.sums or self.sums.keys() == keys_TI.keys())
        for layer, k_TI in keys_TI.items():
            product_II = gram(k_TI)
            if layer in self.sums:
                self.sums[layer] += product_II
            else:
                self.sums[layer] = product_II
        self.num_tokens += counts.pop()

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both texts together. Raises EditError for different layers."""
        if not self.num_tokens or not other.num_tokens:
            return self if self.num_tokens else other
        if self.sums.keys() != other.sums.keys():
            raise EditError(
                f"statistics of layers {sorted(self.sums)} and {sorted(other.sums)} do not merge."
            )
        sites = [x.site_DD for x in (self, other) if x.site_DD is not None]
        return Statistics(
            {layer: self.sums[layer] + other.sums[layer] for layer in self.sums},
            self.num_tokens + other.num_tokens,
            {**other.metadata, **self.metadata},
            sum(sites[1:], sites[0]) if sites else None,
            self.num_site + other.num_site,
        )

    def blend(self, other: Statistics, share: float) -> Statistics:
        """Statistics whose moments are (1 - share) of these and `share` of the other's, [0, 1].

        A small corpus then has the weight that is wanted, whatever its number of tokens. The Fisher
        information stays that of these statistics: otherwise stored values would have to be found
        anew whenever the statements to be preserved change.
        """
        mine, theirs = (1 - share) / self.num_tokens, share / other.num_tokens
        scaled = [
            Statistics({layer: w * sum_II for layer, sum_II in s.sums.items()}, 1, s.metadata)
            for s, w in ((self, mine), (other, theirs))
        ]
        blended = scaled[0].merge(scaled[1])
        blended.num_tokens = 1
        blended.site_DD, blended.num_site = self.site_DD, self.num_site
        return blended

    def moment(self, layer: int) -> Tensor:
        """C_II = E[k kᵀ] of one layer, float64. Raises EditError when the layer was not fitted."""
        if layer not in self.sums:
            raise EditError(
                f"statistics cover layers {sorted(self.sums)}, not layer {layer}; fit them again."
            )
        return self.sums[layer].double() / self.num_tokens

    @property
    def site(self) -> Tensor | None:
        """G_DD = E[g gᵀ] at the site, float64, or None."""
        return None if self.site_DD is None else self.site_DD.double() / self.num_site

    @property
    def site_digest(self) -> str:
        """Content of `site_DD`; empty where there is none."""
        if self.site_DD is None:
            return ""
        return hashlib.sha256(self.site_DD.cpu().contiguous().numpy().tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors = {str(layer): total.cpu().contiguous() for layer, total in self.sums.items()}
        header = {"format": FORMAT, "num_tokens": str(self.num_tokens)}
        if self.site_DD is not None:
            tensors[SITE] = self.site_DD.cpu().contiguous()
            header["num_site"] = str(self.num_site)
        header["metadata"] = json.dumps(self.metadata, sort_keys=True)
        save_with_digest(tensors, path, header)

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        found, header = load_tensors(path, "statistics", FORMAT)
        site_DD = found.pop(SITE, None)
        sums = {layer: found[str(layer)] for layer in sorted(map(int, found))}
        return cls(
            sums,
            int(header["num_tokens"]),
            json.loads(header["metadata"]),
            site_DD,
            int(header.get("num_site", 0)),
        )


def gram(k_TI: Tensor) -> Tensor:
    """kᵀk [I, I], summed in float32 (float64 for a float64 k). It is symmetric; only three of its
    four quarters are computed.

    Numbers that are bfloat16 already lose nothing in a product of bfloat16 numbers with sums in
    float32, which processors that have it do several times faster.
    """
    exact = k_TI.dtype == torch.bfloat16
    k_TI = k_TI.to(work_dtype(k_TI.dtype))
    half = k_TI.shape[1] // 2
    gram_II = k_TI.new_empty(k_TI.shape[1], k_TI.shape[1])
    with bfloat16_products(exact):
        torch.mm(k_TI[:, :half].T, k_TI, out=gram_II[:half])
        torch.mm(k_TI[:, half:].T, k_TI[:, half:], out=gram_II[half:, half:])
    gram_II[half:, :half] = gram_II[:half, half:].T
    return gram_II


@contextmanager
def bfloat16_products(allowed: bool) -> Iterator[None]:
    """While it lasts, the factors of float32 products may be rounded to bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if allowed else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fit(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    max_tokens: int,
    window: int = 512,
    batch_tokens: int = 4096,
    part: CorpusPart = WHOLE,
    progress: Progress = silent,
    architecture: Architecture | None = None,
    group: Group = SINGLE_PROCESS,
) -> Statistics:
    """Second moments of `layers` over the first `max_tokens` tokens of `texts`.

    A text longer than `window` tokens, or than the model's positions, is cut into windows, each
    with what the tokenizer puts in front of a text; a batch holds about `batch_tokens` of similar
    length. Merged, the statistics of all parts are those of the whole. The ranks of `group` read
    the same texts, run a share each of the part's rows, and return the part's sums. Raises
    EditError when the texts hold no token.
    """
    architecture = architecture or discover(model)
    window = architecture.longest(window)
    deepest = max(layers)
    projections = {str(layer): architecture.blocks[layer].projection for layer in layers}
    rows = windows(tokenizer, texts, max_tokens=max_tokens, window=window)
    if not rows:
        raise EditError("no text to gather statistics on; give texts with at least one token.")
    rows = share(sorted(rows, key=len, reverse=True)[part[0] :: part[1]], group)
    batches = list(batched(rows, batch_tokens))
    device = model.get_input_embeddings().weight.device
    statistics = Statistics(metadata={"window": str(window), "max_tokens": str(max_tokens)})
    num_front = len(added_in_front(tokenizer))
    total = sum(len(row) - num_front for row in rows)
    with frozen(model), torch.no_grad():
        dummies = [[]] * (group.max(len(batches)) - len(batches))  # all ranks run every pass
        for batch in [*batches, *dummies]:
            ids_BT, mask_BT = pad(batch or [[0]], device=device)
            with recorded(projections) as calls:
                architecture.hidden(ids_BT, torch.ones_like(mask_BT), stop_after=deepest)
            kept_BT = mask_BT.bool() & bool(batch)
            kept_BT[:, :num_front] = False
            statistics.update({layer: calls[str(layer)].args[0][kept_BT] for layer in layers})
            progress("statistics", statistics.num_tokens, total)
    for layer in statistics.sums:
        group.sum_(statistics.sums[layer])
    statistics.num_tokens = sum(group.gather([statistics.num_tokens]))
    return statistics
