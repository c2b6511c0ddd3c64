"""The edit stage by a group of processes, started by test_edit_group.py under torchrun.

`edit_group_worker.py DIRECTORY CHECKPOINT SETTINGS EDITOR...` edits with each editor in turn, into
a workspace of its own in DIRECTORY/EDITOR. SETTINGS is JSON for `edited`. Each process leaves its
id in DIRECTORY/RANK.pid.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from planned_edits import planned_edit
from tiny_models import TEXTS

from infra.execution.runner import Runner
from infra.execution.torchrun_runner import serve_torchrun, torchrun_runner
from infra.files.digest import digest_of
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.edit.config import EditConfig
from pipeline.edit.stage import EditInputs, edit
from pipeline.plan.edits import PlannedEdit

PEOPLE = ("Tom Brady", "Wayne Rooney", "Neymar", "Ada Lovelace", "Grace Hopper", "Tim Cook")
VERSION = "1"
VALUES = "cache/values"
"""Folder of the values in the directory of an editor."""
OPTIONS: dict[str, dict[str, Any]] = {
    "memit": {
        **{"layers": [1, 2], "statistics_tokens": 2000, "fisher_tokens": 200, "window": 64},
        "min_leverage": 0,
    },
    "scoped": {"layer": 1},
    "errata": {},
    "grace": {"layer": 1, "radius": 0.1},
    "ft-m": {"layer": 1, "epochs": 2},
    "locft-bf": {"layer": 1, "epochs": 2},
}
"""Settings of each editor that run in a moment."""
TRAINED = {"ft-m", "locft-bf"}
"""Editors that search for no values."""


def planned(name: str, target: str = "the Navy", *, at: str = "") -> PlannedEdit:
    """A lesson about one person; `at` tells two of them apart."""
    return planned_edit(
        digest_of(name + at)[:16],
        name,
        relation="P108",
        prompt=f"{name} works for",
        target=target,
        accepted=(target,),
    )


EDITS = (*map(planned, PEOPLE), planned("Neymar", "Paris", at="again"), planned("Nobody", ""))
"""Six people, of whom one is asked for two targets, and one without a target."""


def edited(
    editor: str,
    base: Path,
    place: Path,
    runner: Runner,
    *,
    chunk: int = 2,
    values: dict[str, Any] | None = None,
    **settings: Any,
) -> Artifact:
    """The output of the edit stage on the checkpoint `base`, in the workspace `place`.

    chunk   most facts in a group of values
    values  settings of the search for values, over those that run in a moment
    """
    search = {"values": {"steps": 6, "learning_rate": 0.3, **(values or {})}, "chunk": chunk}
    options = OPTIONS[editor] | ({} if editor in TRAINED else search)
    place.mkdir(parents=True, exist_ok=True)
    text = place / "text.txt"
    text.write_text("\n\n".join(TEXTS * 20))
    inputs = EditInputs(
        relations={},
        edits=EDITS,
        preserved=("London is in England.",) * 20,
        base=ModelRef("tiny", base, "digest"),
        config=EditConfig(editor=editor, options=options, text=str(text), **settings),
        device="cpu",
        dtype="float32",
        cache=place / "cache",
    )
    return Workspace(place).run_stage(
        "edit", VERSION, code=1, made_from={}, body=lambda out: edit(inputs, out, runner)
    )


def main(directory: Path, base: Path, settings: dict[str, Any], editors: list[str]) -> None:
    (directory / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    if serve_torchrun():
        return
    with torchrun_runner() as runner:
        for editor in editors:
            edited(editor, base, directory / editor, runner, **settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
