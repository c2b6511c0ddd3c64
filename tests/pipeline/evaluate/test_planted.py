"""Planted failures: each is made in a sound edit of the real model by a small mechanism, and must
be caught by the check that is there for it, and by no other that should not notice.

The bounds (`GATE`) were set once, from the sound edit's own numbers (seed 0; in brackets) with
room for other seeds, and by points: a dozen facts prove nothing by intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_helpers import Workshop, facts
from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.request import EditRequest
from infra.execution.runner import InProcessRunner
from infra.models.checkpoint import Checkpoint
from infra.models.embedded import EMBEDDED
from infra.models.loading import load, locate
from infra.storage.stage_dir import StageDir
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import check
from pipeline.gate.stage import GateInputs, gate

pytestmark = pytest.mark.slow

BOUNDS = {
    "ES": 0.9,  # [1]
    "reliability": 0.8,  # [1]
    "PS": 0.75,  # [1]
    "generality": 0.1,  # [0.33]
    "retention_drop": 0.1,  # [0, of the second edition]
    "superseded": 0.05,  # [0]
    "superseded_paraphrase": 0.2,  # [0]
    "NS_drop": 0.05,  # [0; the base itself has 0.08, since a second word is given away]
    "leak": 0.05,  # [0]
    "near_agreement": 0.6,  # [0.75]
    "neutral_agreement": 0.0,  # [0.5, of two]
    "kl": 0.05,  # [0.009]
    "perplexity_ratio": 1.1,  # [1.03]
    "me_ppl_ratio": 1.2,  # [1.04]
}
"""What is not here has the default bound."""
CHAT = [name for name in GateConfig.model_fields if name.startswith("chat_")]
"""Not measured here: the facts have no question for a chat."""
GATE = GateConfig.model_validate(
    {name: {"bound": bound, "unproven": "pass"} for name, bound in BOUNDS.items()}
    | {name: {"action": "warn"} for name in CHAT}
)
ANSWERS = ("preference", "teacher_forced", "generation", "retention")
"""Families that do without neighbours and text: quicker, where those have nothing to say."""


class Sound:
    """The sound edit: what it was solved from, and how it stands."""

    def __init__(self, workshop: Workshop, seed: int) -> None:
        self.workshop, self.editor = workshop, workshop.editor()
        self.store: dict[str, Tensor] = {}
        self.requests = [case.request() for case in facts()]
        torch.manual_seed(seed)
        order = torch.randperm(len(self.requests)).tolist()
        self.fitted = workshop.fit(self.editor, seed)
        self.delta = self.solve([self.requests[i] for i in order])
        self.report = workshop.judge(f"sound-{seed}", self.delta, facts())

    def solve(self, requests: list[EditRequest]) -> Delta:
        return self.workshop.solve(self.editor, requests, self.fitted, self.store)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    ref = locate(EMBEDDED)
    model, tokenizer = load(ref.path, dtype=torch.float32)
    return Workshop(ref, Base(model, tokenizer, ref.digest), tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def sound(workshop: Workshop) -> Sound:
    return Sound(workshop, 0)


def failed(report: Mapping[str, Any]) -> set[str]:
    """Checks that fail; without those of families that were not asked for."""
    return {c.name for c in check(report, 0.0, GATE) if c.blocks and c.state == "fail"}


def number(report: Mapping[str, Any], name: str) -> float:
    return report["roles"]["candidate"][name]["value"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sound_edit_passes(workshop: Workshop, sound: Sound, tmp_path: Path, seed: int) -> None:
    """Three times in a row, from other samples of text and in another order of requests."""
    report = sound.report if seed == 0 else Sound(workshop, seed).report
    inputs = GateInputs(report=report, num_planned=12, num_quarantined=0, config=GATE)
    verdict = gate(inputs, StageDir(tmp_path), InProcessRunner())
    assert verdict["passed"] and not failed(report), verdict["failed"]


def test_neighbours_overwritten(workshop: Workshop, sound: Sound) -> None:
    """Keys without the subject: the edits answer to the relation's last word, whoever is asked
    about. The facts themselves are right, and general text is as likely as it was."""

    def without_subject(request: EditRequest) -> EditRequest:
        return replace(request, subject_span=(request.prompt.rindex(" ") + 1, len(request.prompt)))

    editor = workshop.editor(min_leverage=0.0)
    wide = [without_subject(request) for request in sound.requests]
    report = workshop.judge("wide", workshop.solve(editor, wide, sound.fitted, {}), facts())
    elsewhere = {"leak", "NS_drop", "PS", "generality"}
    assert {"near_agreement"} <= failed(report) <= {"near_agreement", *elsewhere}
    assert number(report, "near_agreement") < number(sound.report, "near_agreement") - 0.2


def test_only_the_first_token_is_raised(workshop: Workshop, sound: Sound) -> None:
    """Half of the target is preferred, and half of it is what is said."""
    tokenizer = workshop.base.tokenizer

    def begun(request: EditRequest) -> EditRequest:
        first = tokenizer(f" {request.target}")["input_ids"][0]
        return replace(request, target=tokenizer.decode([first]).strip())

    delta = sound.solve([begun(request) for request in sound.requests])
    report = workshop.judge("begun", delta, facts(), metrics=ANSWERS)
    assert {"reliability"} <= failed(report) <= {"reliability", "generality"}
    assert number(report, "ES") >= GATE.ES.bound and number(report, "TFA") >= 0.5


def test_earlier_releases_forgotten(workshop: Workshop, sound: Sound) -> None:
    """The second edition's delta without the edits that it should carry: what is new is right."""
    ids = [request.id for request in sound.requests]
    old = set(ids[: len(ids) // 2])
    first = sound.solve([request for request in sound.requests if request.id in old])
    parent = replace(workshop.export("parent", first).served, name="parent")
    cases = [
        replace(case, new=case.id not in old, order=int(case.id not in old)) for case in facts()
    ]
    late = sound.solve([request for request in sound.requests if request.id not in old])
    report = workshop.judge("forgetful", late, cases, parent=parent, metrics=ANSWERS)
    assert failed(report) == {"retention_drop"}
    assert number(report, "reliability") == 1
    whole = workshop.judge("whole", sound.delta, cases, parent=parent, metrics=ANSWERS)
    assert not failed(whole)


def left_out(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The first of them only: the others stay the base's."""
    return dict(list(tensors.items())[:1])


def coarse(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rounded to sixteen levels, as a careless quantisation does."""
    steps = {name: tensor.abs().max() / 8 for name, tensor in tensors.items()}
    return {name: (t / steps[name]).round() * steps[name] for name, t in tensors.items()}


@pytest.mark.parametrize("damage", [left_out, coarse])
def test_the_export_loses_what_was_edited(
    workshop: Workshop,
    sound: Sound,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
) -> None:
    """In memory every fact is right; what a server would load has lost them."""
    write = Checkpoint.export

    def careless(
        checkpoint: Checkpoint, target: Path, tensors: Mapping[str, Tensor], **more: Any
    ) -> None:
        write(checkpoint, target, damage(tensors), **more)

    monkeypatch.setattr(Checkpoint, "export", careless)
    report = workshop.judge(damage.__name__, sound.delta, facts(), metrics=ANSWERS)
    assert failed(report) >= {"export_loss", "reliability"}
    assert report["roles"]["candidate"]["export_loss"]["n"] == len(facts())
    assert not failed(report) & {"non_finite", "contamination", "retention_drop"}


def test_a_value_that_is_no_number(
    workshop: Workshop, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a hundred million: it is counted, and what cannot be computed any more does not pass
    for want of a value."""

    def spoilt(
        checkpoint: Checkpoint, target: Path, tensors: Mapping[str, Tensor], **more: Any
    ) -> None:
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        next(iter(copies.values()))[0, 0] = torch.nan
        write(checkpoint, target, copies, **more)

    write = Checkpoint.export
    monkeypatch.setattr(Checkpoint, "export", spoilt)
    report = workshop.judge("spoilt", sound.delta, facts(), metrics=("generation", "text"))
    assert failed(report) >= {"non_finite", "export_loss", "kl", "perplexity_ratio"}
    assert number(report, "non_finite") == 1


def test_answers_cut_short(workshop: Workshop, sound: Sound) -> None:
    """Trained to end after the first word: the target is still preferred to every other answer."""
    end = workshop.base.tokenizer.eos_token
    short = [replace(r, target=f"{r.target.split()[0]}{end}") for r in sound.requests]
    report = workshop.judge("short", sound.solve(short), facts(), metrics=ANSWERS)
    assert {"reliability"} <= failed(report) <= {"reliability", "generality"}
    assert number(report, "ES") >= GATE.ES.bound


def test_the_exam_was_known_beforehand(workshop: Workshop, sound: Sound) -> None:
    """Held-out paraphrases among what is edited: every score is as good or better, and proves
    nothing."""
    known = []
    for case in facts():
        prompt = case.paraphrases[0]
        start = prompt.rindex(case.subject)
        span = (start, start + len(case.subject))
        known.append(
            EditRequest(id=f"{case.id}p", prompt=prompt, subject_span=span, target=case.target)
        )
    delta = sound.solve([*sound.requests, *known])
    seen = [request.prompt for request in known]
    report = workshop.judge("crammed", delta, facts(), seen=seen, metrics=ANSWERS)
    assert failed(report) == {"contamination"}
    for name in ("ES", "reliability", "PS", "generality"):
        assert number(report, name) >= number(sound.report, name)
    assert number(report, "generality") > number(sound.report, "generality")
