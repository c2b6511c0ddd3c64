"""A base model is carried through a run on a few tokens, or refused in one line, before the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loaders import all_serve
from safetensors import SafetensorError
from tiny_models import (
    MULTIMODAL,
    PARTLY,
    STATEFUL,
    UNEDITABLE,
    make_model,
    make_multimodal,
    make_tokenizer,
)
from worlds import job

from editors import EDITORS
from infra.errors import ConfigError, ModelError
from infra.execution.runner import InProcessRunner
from infra.lm.chat_trial import require_fillable
from infra.lm.inference import Compute
from infra.models.checkpoint import Checkpoint
from infra.models.loading import locate
from infra.models.tokenizer import trial
from pipeline.check.model import check_model
from pipeline.edit.config import EditConfig, OverConfig
from pipeline.flow import run_editions
from pipeline.preflight.passage import step
from pipeline.preflight.preflight import Preflight, preflight


def fly(path: Path, cache: Path, system: str | None = None, **edit: Any) -> Preflight:
    return preflight(
        locate(str(path)),
        edit=EditConfig(**edit),
        compute=Compute(),
        system=system,
        cache=cache,
        runner=InProcessRunner(),
    )


@pytest.mark.parametrize("editor", EDITORS)
def test_every_editor_passes(
    editor: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also one whose export has more tokens than the base."""
    assert fly(checkpoint("llama"), tmp_path, editor=editor).found.blocks == 4


def test_the_editor_of_each_lane_is_tried(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """That is told once, and neither is tried again; settings of the second that do not fit the
    model are one line."""
    begun: list[None] = []

    def both(**options: Any) -> Preflight:
        return preflight(
            locate(str(checkpoint("llama"))),
            edit=EditConfig(over=OverConfig(editor="scoped", options=options)),
            compute=Compute(),
            system=None,
            cache=tmp_path,
            runner=InProcessRunner(),
            begin=lambda: begun.append(None),
        )

    first = both()
    assert first.found.edited and first.seconds > 0 and begun == [None]
    assert len([*(tmp_path / "preflight").glob("*.json")]) == 2
    assert both().seconds == 0 and begun == [None]
    with pytest.raises(ConfigError, match="layer"):
        both(layer=99)


def saved(model: Any, path: Path) -> Path:
    model.float().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "too little memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "too little memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "too little memory",
        ),
        (OSError(28, "No space left on device"), "See to the disk"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "See to the disk"),
        (IndexError("list index out of range"), "Choose another model"),
    ],
)
def test_a_fault_of_the_machine_is_none_of_the_model(error: Exception, words: str) -> None:
    """One line that says whose fault it is, and what to do."""
    with pytest.raises(ModelError, match=words) as caught, step("exported", "mine"):
        raise error
    assert "\n" not in str(caught.value)


CHATS = {
    "filled": ("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", "Be brief.", ""),
    "system prompt refused": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ messages[-1]['content'] }}",
        "Be brief.",
        "no system",
    ),
    "no template": (None, "Be brief.", "has no chat template"),
    "a loop for ever": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        None,
        "too much time or memory",
    ),
    "memory without end": (
        "{% set x = namespace(t='aaaaaaaaaa') %}"
        "{% for i in range(40) %}{% set x.t = x.t + x.t %}{% endfor %}{{ x.t }}",
        None,
        "too much time or memory",
    ),
}
"""Chat template, system prompt, and what is said of the two; empty where they pass."""


@pytest.mark.parametrize("what", CHATS)
def test_a_chat_template_is_tried_before_anything_is_asked(
    what: str,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one line, within limits of time and memory of a process of its own."""
    template, system, said = CHATS[what]
    path = Path(shutil.copytree(checkpoint("llama"), tmp_path / "base"))
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    monkeypatch.setattr(trial, "MEMORY_BYTES", 2 * 2**30)
    if not said:
        return require_fillable(path, system, cpu_s=12)
    with pytest.raises(ModelError, match=said) as caught:
        require_fillable(path, system, cpu_s=12)
    assert "\n" not in str(caught.value) and "serve.system" in str(caught.value)


def test_a_refused_system_prompt_stops_a_run_before_it_begins(
    world: Callable[..., Path], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Neither a source is read nor a stage begun; the check of the settings says it too."""
    path = Path(shutil.copytree(checkpoint("llama"), tmp_path / "gemma"))
    (path / "chat_template.jinja").write_text(CHATS["system prompt refused"][0])
    config = world('\n[serve]\nsystem = "Be brief."\n', model=path)
    run = job(config, tmp_path / "workspace")
    with pytest.raises(ModelError, match="no system"):
        run_editions(run)
    assert run.workspace.find("crawl", run.config.editions[0].version) is None
    found = check_model(run.config, tmp_path / "cache")
    assert len(found.stops) == 1 and "no system" in found.stops[0]


QUICK = {"gpt2", "jamba", "lfm2", "deepseek_v3", "gemma4_text", "gemma3", "qwen3_5"}
CARRIED = [
    pytest.param(kind, marks=[] if kind in QUICK else [pytest.mark.slow])
    for kind in ("gpt2", "gemma2", *STATEFUL, *PARTLY, *MULTIMODAL)
]


@pytest.mark.parametrize("kind", CARRIED)
def test_kinds_that_can_be_carried_are(kind: str, tmp_path: Path) -> None:
    """Asked, edited, exported, loaded again and taken back; what every loader takes of an export is
    the edit, whatever the name it is stored under."""
    model = make_multimodal(kind) if kind in MULTIMODAL else make_model(kind, torch.float32)
    base = saved(model, tmp_path / "base")
    passed = fly(base, tmp_path)
    assert passed.seconds and passed.found.edited and passed.found.editable
    assert "mlp" in passed.found.edited[0] or "feed_forward" in passed.found.edited[0]
    stored = Checkpoint(base)
    name = passed.found.edited[0]
    edited = stored.tensor(name) + 1
    stored.export(tmp_path / "out", {name: edited})
    assert all_serve(tmp_path / "out", stored.stored_name(name), edited, name)


@pytest.mark.parametrize("kind", UNEDITABLE)
def test_kinds_that_cannot_be_carried_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    """The line names the block or the step at fault; nothing is kept of it."""
    base = saved(make_model(kind, torch.float32), tmp_path / "base")
    with pytest.raises(ModelError) as caught:
        fly(base, tmp_path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not list((tmp_path / "preflight").glob("*.json"))


def spoilt(value: float) -> Callable[[Any], None]:
    def spoil(model: Any) -> None:
        model.model.layers[2].mlp.down_proj.weight.data[3] = value

    return spoil


def overflowing(model: Any) -> None:
    model.model.layers[0].mlp.up_proj.weight.data *= 1e30


def unused_row(model: Any) -> None:
    model.model.embed_tokens.weight.data[299] = float("nan")


SPOILT = {
    "NaN": (spoilt(float("nan")), "model.layers.2.mlp.down_proj.weight"),
    "infinity": (spoilt(float("inf")), "model.layers.2.mlp.down_proj.weight"),
    "a NaN that no prompt meets": (unused_row, "model.embed_tokens.weight"),
    "activations": (overflowing, "block 0"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_values_that_are_not_finite_are_named(what: str, tmp_path: Path) -> None:
    """With the tensor or the block, and not as a fault of statistics or of a tolerance."""
    spoil, named = SPOILT[what]
    model = make_model("mistral", torch.float32)
    spoil(model)
    with pytest.raises(ModelError, match=f"{named}.*not finite") as caught:
        fly(saved(model, tmp_path / "base"), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("editor", ["scoped", "grace", "locft-bf", "ft-m"])
def test_every_editor_is_tried(editor: str, checkpoint: Any, tmp_path: Path) -> None:
    """Also on models that keep states, whose blocks share keys, and whose decoder is given
    embeddings by a vision tower's model; nothing is left beside what was found."""
    others = {kind: make_model(kind, torch.float32) for kind in ("lfm2", "gemma4_text")}
    others |= {kind: make_multimodal(kind) for kind in ("gemma3", "qwen3_vl")}
    bases = [saved(model, tmp_path / f"base-{kind}") for kind, model in others.items()]
    for base in (checkpoint("llama"), *bases):
        assert fly(base, tmp_path, editor=editor).found.blocks == 4
    assert {path.suffix for path in (tmp_path / "preflight").iterdir()} == {".json"}


def test_what_has_passed_passes_at_once(checkpoint: Any, tmp_path: Path) -> None:
    """The second time costs nothing; another editor or setting is looked at anew."""
    first, second = fly(checkpoint("llama"), tmp_path), fly(checkpoint("llama"), tmp_path)
    assert first.seconds > 0 == second.seconds and first.found == second.found
    other = fly(checkpoint("llama"), tmp_path, options={"layers": [3]})
    assert other.seconds and other.found.edited == ("model.layers.3.mlp.down_proj.weight",)
    with pytest.raises(ConfigError, match="has 4"):
        fly(checkpoint("llama"), tmp_path, options={"layers": [9]})


def test_a_run_reads_nothing_before_its_model_has_passed(
    world: Callable[..., Path], tmp_path: Path
) -> None:
    """A model that cannot be carried ends the run before the crawl; one that can, with other
    weights beside it, is told of them once."""
    bad = saved(make_model("mixtral", torch.float32), tmp_path / "bad")
    with pytest.raises(ModelError, match="experts"):
        run_editions(job(world(model=str(bad)), tmp_path / "one"))
    assert not (tmp_path / "one" / "crawl").exists()
    good = saved(make_model("llama"), tmp_path / "good")
    (good / "consolidated.safetensors").write_bytes(b"")
    told: list[Preflight | str] = []
    watch = {"checking": lambda: told.append("begins"), "checked": told.append}
    for _ in range(2):  # the second time it has passed before
        run_editions(job(world(model=str(good)), tmp_path / "two", **watch), until="probe")
    assert told[0] == "begins" and "begins" not in told[1:]
    left = [one.left for one in told if isinstance(one, Preflight)]
    assert left == [("consolidated.safetensors",)] * 2


def test_two_runs_try_a_model_at_the_same_time(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Neither takes away what the other writes, and nothing is left but what was found."""
    path, before = checkpoint("llama"), torch.get_num_threads()
    torch.set_num_threads(1)  # other threads do not live on in a fork
    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            code = 1
            try:
                fly(path, tmp_path)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    torch.set_num_threads(before)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert len([*(tmp_path / "preflight").iterdir()]) == 1
    assert fly(path, tmp_path).seconds == 0.0
