"""Runs fine-tuning on the tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from editors_helpers import changes
from torch import Tensor

from editors.base import Base
from editors.editor import Corpus, EditorCall, Progress, Proposal, silent
from editors.global_optimization.constrained_fine_tuning.config import FtMConfig, LocFtBfConfig
from editors.global_optimization.constrained_fine_tuning.fine_tune import FtM, LocFtBf
from editors.request import EditRequest

CONFIG = LocFtBfConfig(
    layer=1, learning_rate=3e-3, epochs=3, batch=2, epoch_steps=1, stop_loss=1e-6
)


def propose(
    model: Any,
    tokenizer: Any,
    requests: Sequence[EditRequest],
    config: LocFtBfConfig = CONFIG,
    *,
    store: dict[str, Tensor] | None = None,
    progress: Progress = silent,
) -> Proposal:
    base = Base(model, tokenizer, "base")
    editor = FtM(config) if isinstance(config, FtMConfig) else LocFtBf(config)
    call = EditorCall(base, store={} if store is None else store, progress=progress)
    assert editor.fit(call, Corpus(["text"])) is None
    work = editor.prepare(call, requests)
    assert not work.groups
    return editor.propose(call, work)


def change_of(proposal: Proposal) -> Tensor:
    [change] = changes(proposal.delta).values()
    return change.dense().double()
