"""The Fisher information equals plain autograd, does not depend on batches, and steers values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import small_config, some_requests
from tiny_models import TEXTS, make_model

from editors.base import Base
from editors.editor import Corpus, EditorCall
from editors.internals.discover import discover
from editors.internals.forward import frozen
from editors.local_modification.gradient_based.memit import Memit
from editors.statistics.fisher import fisher, preconditioner
from editors.statistics.key_moments import Statistics
from editors.values.config import ValueConfig


@pytest.mark.parametrize("kind", ["llama", "gptj", "gemma2"])
def test_is_the_metric_of_small_shifts(kind: str, tokenizer: Any) -> None:
    """δᵀGδ/2 is the mean KL that a small shift of one token's state causes, over draws of y."""
    model = make_model(kind)
    architecture = discover(model)
    ids = tokenizer(TEXTS[0])["input_ids"][:6]
    rows = [[*ids, i] for i in range(40, 240)]  # the last token differs: as many draws of y
    with frozen(model):
        total_DD, count = fisher(architecture, rows, 1)
    block = architecture.blocks[1]
    site = block.module if block.gain is not None else block.projection
    assert count == len(rows) * len(ids)
    G_DD = total_DD / count
    torch.manual_seed(0)
    delta_D = 1e-2 * torch.randn(len(G_DD)).double()
    divergences = []
    for row in rows[::20]:
        x = torch.tensor([row])
        for t in range(1, len(row)):

            def shift(_m: Any, _a: Any, output: Any, t: int = t) -> Any:
                hidden = (output[0] if isinstance(output, tuple) else output).clone()
                hidden[0, t] += delta_D
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            with torch.no_grad():
                before = model(input_ids=x).logits[0].log_softmax(-1)
                handle = site.register_forward_hook(shift)
                after = model(input_ids=x).logits[0].log_softmax(-1)
                handle.remove()
            divergences.append(float((before.exp() * (before - after)).sum()))
    mean = sum(divergences) / len(divergences)
    assert float(delta_D @ G_DD @ delta_D) / 2 == pytest.approx(mean, rel=0.3)


def test_batches_and_order_do_not_matter(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row a batch, reversed, in two parts: the same sum."""
    architecture = discover(llama)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS[:6]]
    with frozen(llama):
        whole_DD, count = fisher(architecture, rows, 1)
        halves = [fisher(architecture, rows[i::2], 1) for i in range(2)]
        monkeypatch.setattr("editors.statistics.fisher.BATCH_TOKENS", 1)
        single_DD, _ = fisher(architecture, rows[::-1], 1)
    torch.testing.assert_close(single_DD, whole_DD, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(halves[0][0] + halves[1][0], whole_DD, rtol=1e-6, atol=1e-9)
    assert count == halves[0][1] + halves[1][1] == sum(len(row) - 1 for row in rows)


def test_preconditioner() -> None:
    """Of mean diagonal 1; the identity for large ε; small where G is large."""
    G_DD = torch.diag(torch.tensor([9.0, 1.0, 1.0]))
    P_DD = preconditioner(G_DD, damping=0.5)
    assert float(P_DD.diagonal().mean()) == pytest.approx(1)
    assert float(P_DD[0, 0] / P_DD[1, 1]) == pytest.approx((3 / 11 / 0.5 + 1) / (27 / 11 / 0.5 + 1))
    torch.testing.assert_close(preconditioner(G_DD, damping=1e8), torch.eye(3).double())


def test_values_mind_ordinary_text_less(llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """At the same target probability, δᵀGδ is smaller with the metric; and it is part of keys and
    files."""
    config = small_config(
        fisher_tokens=200,
        values=ValueConfig(steps=40, learning_rate=0.1, clamp=5, stop_loss=3.0, damping=0.03),
    )
    base = Base(llama, tokenizer, "base")
    requests = some_requests()[:3]
    plain = Memit(replace(config, fisher_tokens=0))
    G_DD = Memit(config).fit(EditorCall(base), Corpus(TEXTS)).site
    assert G_DD is not None
    harm: list[float] = []
    keys: list[set[str]] = []
    for editor in (Memit(config), plain):
        editor.fit(EditorCall(base), Corpus(TEXTS)).save(tmp_path / "fitted")
        fitted = Statistics.load(tmp_path / "fitted")
        found = editor.find_values(EditorCall(base, fitted), requests)
        bare = Memit(replace(editor.config, values=replace(config.values, steps=1)))
        start = bare.find_values(EditorCall(base, fitted), requests)
        shift_FD = torch.stack([x[:-4] for x in found.values()])
        shift_FD = shift_FD - torch.stack([x[:-4] for x in start.values()])
        harm.append(float((shift_FD @ G_DD * shift_FD).sum()))
        keys.append(set(found))
    assert harm[0] < 0.9 * harm[1]
    assert keys[0].isdisjoint(keys[1])
