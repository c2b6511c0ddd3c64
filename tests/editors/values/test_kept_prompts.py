"""What the base says of an edited subject otherwise is held by every editor that has a weight for
it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import propose, request
from tiny_models import TEXTS
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.editor import Corpus, EditorCall
from editors.local_modification.gradient_based.memit import Memit
from editors.values.config import ValueConfig
from editors.values.kept_prompts import ABOUT
from infra.errors import ConfigError

SEARCH = {"steps": 60, "learning_rate": 1.0, "clamp": 100.0, "decay": 0.0, "kl_weight": 0.0}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "memit": {"layers": (1, 2), "context_tokens": 3, "statistics_tokens": 2000, "cov_ratio": 1e-6},
    "scoped": {"num_prefixed": 0},
    "errata": {"num_prefixed": 0},
}
"""Settings of each editor for the tiny models."""


@torch.no_grad()
def last_logp(model: Any, tokenizer: Any, text: str) -> Tensor:
    """Log-probabilities of what follows a text, [V]."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return model(input_ids=ids).logits[0, -1].log_softmax(dim=-1)


def test_no_editor_takes_the_weight_and_ignores_it() -> None:
    """One whose search has no such rows refuses it."""
    searching = [
        name
        for name, editor in EDITORS.items()
        if isinstance(getattr(editor.Config(), "values", None), ValueConfig)
    ]
    for name in searching:
        config = EDITORS[name].Config()
        if name not in SETTINGS:
            with pytest.raises(ConfigError, match=r"kept_weight=1\.0 has no row"):
                replace(config, values=replace(config.values, kept_weight=1.0))
    assert SETTINGS.keys() < set(searching)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_base_says_otherwise_is_held(name: str, llama: Any, tokenizer: Any) -> None:
    """With a weight on it, the drift from what the base says of the subject is smaller."""
    base = Base(llama, tokenizer, "base")
    texts = [template.replace("{}", "Neymar") for template in ABOUT]
    own = [last_logp(llama, tokenizer, text) for text in texts]
    drifts = []
    for weight in (0.0, 100.0):
        config = EDITORS[name].Config(**SETTINGS[name])
        values = replace(config.values, **SEARCH, kept_weight=weight)
        editor = EDITORS[name](replace(config, values=values))
        fitted = editor.fit(EditorCall(base), Corpus(TEXTS))
        call = EditorCall(base, fitted)
        delta = propose(editor, call, [request("Neymar plays for", "Neymar", "Paris")]).delta
        changed = delta.tokenizer(tokenizer)
        with delta.applied(llama):
            new = [last_logp(llama, changed, text) for text in texts]
        pairs = zip(own, new, strict=True)
        drifts.append(sum(float((a.exp() * (a - b)).sum()) for a, b in pairs))
    assert drifts[1] < 0.85 * drifts[0]


def test_a_weight_that_is_not_set_leaves_content_keys_as_they_were() -> None:
    """Values that were found without it are found again, however long continuations would be."""
    item = request("Neymar plays for", "Neymar", "Paris")
    keys = {
        Memit(Memit.Config(kept_tokens=tokens, values=ValueConfig(kept_weight=weight))).value_key(
            item, "base"
        )
        for tokens, weight in ((6, 0.0), (3, 0.0), (6, 1.0), (3, 1.0))
    }
    assert len(keys) == 3
