"""A group of processes edits as one process does, whole models or a sharded one; a lost process
costs the values that were being found."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from edit_group_worker import EDITS, VALUES, VERSION, edited
from processes import launch

from editors import EDITORS
from editors.deltas.delta import Delta
from editors.deltas.weights import WeightPart
from infra.execution.runner import InProcessRunner
from infra.files.tensors import load_tensors
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.edit.group import PEAKS, greatest
from pipeline.edit.output import DELTA, REPORTS

WORKER = Path(__file__).parents[1] / "edit_group_worker.py"
TOLERANCE = 1e-4
"""Of the largest number of a tensor: how far a sharded model's delta may be from a whole one's."""
SHARDABLE = [name for name, editor in EDITORS.items() if editor.shardable]


@pytest.fixture(scope="module")
def alone(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Artifact]:
    """What one process makes of the same edits, by editor."""
    folder, made = tmp_path_factory.mktemp("alone"), {}

    def of(editor: str) -> Artifact:
        if editor not in made:
            before = torch.get_num_threads()
            made[editor] = edited(editor, checkpoint("llama"), folder / editor, InProcessRunner())
            torch.set_num_threads(before)
        return made[editor]

    return of


def run(directory: Path, base: Path, editors: list[str], *, size: int, **settings: Any) -> str:
    """Edit with a group of processes under torchrun; what they printed."""
    given = json.dumps({"workers": size, **settings})
    return launch(WORKER, directory, str(base), given, *editors, timeout_s=300, num_processes=size)


def made_by(directory: Path, editor: str, printed: str) -> Artifact:
    """The output of the edit stage, which must be there."""
    made = Workspace(directory / editor).find("edit", VERSION)
    assert made is not None, printed[-4000:]
    return made


def outcomes(made: Artifact) -> list[tuple[Any, ...]]:
    """What became of each edit."""
    rows = made.table(REPORTS).to_pylist()
    return [(row["id"], row["status"], row["reason"], row["steps"]) for row in rows]


@pytest.mark.slow  # real processes
def test_workers_with_whole_models_make_the_same_bytes(
    checkpoint: Callable[[str], Path], alone: Callable[[str], Artifact], tmp_path: Path
) -> None:
    """Every editor on four ranks: delta, weights and reports are those of one process; and the
    record says what memory each rank took."""
    size = 4
    printed = run(tmp_path, checkpoint("llama"), [*EDITORS], size=size)
    for editor in EDITORS:
        made, expected = made_by(tmp_path, editor, printed), alone(editor)
        assert made.digest == expected.digest, editor
        peaks = made.counts[PEAKS]
        assert len(peaks) == size and all(peak["memory"] > 50e6 for peak in peaks)
        assert {key: n for key, n in made.counts.items() if key != PEAKS} == expected.counts


@pytest.mark.slow  # DeepSpeed compiles an operation of its own at its first use: a minute
@pytest.mark.parametrize(("size", "editors"), [(2, SHARDABLE), (4, ["memit"])])
def test_workers_with_a_sharded_model_make_the_same_delta(
    size: int,
    editors: list[str],
    checkpoint: Callable[[str], Path],
    alone: Callable[[str], Artifact],
    tmp_path: Path,
) -> None:
    """Every editor that can: the same edits are made and refused, in as many steps, and the delta
    is that of one process to TOLERANCE."""
    printed = run(tmp_path, checkpoint("llama"), editors, size=size, sharding="zero3")
    for editor in editors:
        made, expected = made_by(tmp_path, editor, printed), alone(editor)
        assert outcomes(made) == outcomes(expected), editor
        assert len(outcomes(made)) == len(EDITS)
        assert {status for _, status, *_ in outcomes(made)} == {"edited", "quarantined"}
        assert len(made.counts[PEAKS]) == size
        found, wanted = tensors(made), tensors(expected)
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            scale = float(tensor.abs().max())
            torch.testing.assert_close(
                found[name],
                tensor,
                rtol=0,
                atol=TOLERANCE * scale,
                msg=lambda text, name=name, editor=editor: f"{editor}: {name}: {text}",
            )


def tensors(made: Artifact) -> dict[str, torch.Tensor]:
    """The tensors of a delta: changes of weights as matrices, since factors are not unique, and all
    others as they are."""
    delta = Delta.load(made.path / DELTA)
    changes = {name: part.change.dense() for name, part in delta.of(WeightPart).items()}
    stored, _ = load_tensors(made.path / DELTA, "delta", "corrigenda-delta-1")
    others = {
        name: tensor.double()
        for name, tensor in stored.items()
        if not any(name.startswith(weight) for weight in changes)
    }
    return {name: change.double() for name, change in changes.items()} | others


@pytest.mark.slow  # real processes
def test_a_killed_rank_ends_the_group_and_the_next_run_goes_on(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """SIGKILL of rank 1 while values are found: all ranks end within seconds, the stage has no
    output, and the same command keeps the values that were found and ends with the same bytes."""
    base, values = checkpoint("llama"), tmp_path / "memit" / VALUES
    slow: Any = {"chunk": 1, "values": {"steps": 300, "stop_loss": 0.0}}
    killed_s: list[float] = []

    def kill() -> None:
        end = time.monotonic() + 120
        while len(list(values.glob("*.safetensors"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "1.pid").read_text()), signal.SIGKILL)
            killed_s.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    printed = run(tmp_path, base, ["memit"], size=2, **slow)
    ended_s = time.monotonic()
    killer.join()
    assert killed_s and ended_s - killed_s[0] < 30, printed[-4000:]
    assert Workspace(tmp_path / "memit").find("edit", VERSION) is None
    found = {path: path.stat().st_mtime_ns for path in values.glob("*.safetensors")}
    assert 2 <= len(found) < 5
    printed = run(tmp_path, base, ["memit"], size=2, **slow)
    made = made_by(tmp_path, "memit", printed)
    assert len(list(values.glob("*.safetensors"))) == 5
    assert found == {path: path.stat().st_mtime_ns for path in found}
    whole = edited("memit", base, tmp_path / "whole", InProcessRunner(), **slow)
    assert made.digest == whole.digest


def test_the_greatest_memory_of_several_lanes() -> None:
    """Of each rank the greater number, kind by kind; nothing where no group edited."""
    lanes = [
        [{"memory": 3, "gpu": 1}, {"memory": 2, "gpu": 2}],
        [{"memory": 1, "gpu": 4}, {"memory": 5, "gpu": 2}],
    ]
    assert greatest(lanes) == {PEAKS: [{"memory": 3, "gpu": 4}, {"memory": 5, "gpu": 2}]}
    assert greatest([[], []]) == {}
