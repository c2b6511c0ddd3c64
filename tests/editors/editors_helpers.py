"""Requests and a config for the tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from editors.deltas.delta import Delta
from editors.deltas.weights import WeightChange, WeightPart
from editors.editor import EditorCall, Proposal
from editors.local_modification.gradient_based.memit import MemitConfig
from editors.request import EditRequest
from editors.values.config import ValueConfig


def request(
    prompt: str, subject: str, target: str, *, name: str = "", last: bool = False
) -> EditRequest:
    """A request whose subject stands where it is first (or last) found."""
    start = prompt.rindex(subject) if last else prompt.index(subject)
    return EditRequest(
        id=name or prompt,
        prompt=prompt,
        subject_span=(start, start + len(subject)),
        target=target,
    )


def some_requests() -> list[EditRequest]:
    """Prompts of unlike lengths, subjects first and in the middle, targets of one and more
    words."""
    return [
        request("Tom Brady plays for", "Tom Brady", "Derby County"),
        request("The head of the Navy in London is", "Navy", "Grace Hopper"),
        request("Neymar plays for", "Neymar", "Paris"),
        request("Many people said that Ada Lovelace works for", "Ada Lovelace", "the Navy"),
        request("The capital of France", "France", "Paris"),
    ]


def small_config(**changes: Any) -> MemitConfig:
    """A config that fits four layers and runs in a moment."""
    settings: dict[str, Any] = {
        "layers": (1, 2),
        "num_prefixed": 2,
        "context_tokens": 3,
        "statistics_tokens": 2000,
        "fisher_tokens": 0,
        "values": ValueConfig(steps=5, learning_rate=0.3),
    }
    return MemitConfig(**{**settings, **changes})


def propose(editor: Any, call: EditorCall[Any], requests: Sequence[EditRequest]) -> Proposal:
    """From requests to a delta; values that are found go to the call's store."""
    work = editor.prepare(call, requests)
    for group in work.groups:
        call.store.update(editor.find_values(call, group))
    return editor.propose(call, work)


def changes(delta: Delta) -> dict[str, WeightChange]:
    """The changes of weights, by parameter name."""
    return {name: part.change for name, part in delta.of(WeightPart).items()}
