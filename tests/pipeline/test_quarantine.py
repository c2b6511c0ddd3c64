"""Edits that spoil their batch, through the whole job on a tiny model: found, set aside by id with
their reasons, and the rest is released.

The bound on KL drift is about twice what the six sound edits cost together (.64 nats a token);
one poisoned edit costs more by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from workspace_helpers import output_of, outputs
from worlds import job, kill_at

from editors import EDITORS
from editors.editor import EditorCall
from editors.local_modification.gradient_based.memit import Memit
from editors.request import EditRequest
from infra.errors import GateError, StageError
from infra.storage import workspace as storage
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import SHARDS
from infra.storage.workspace import Workspace
from pipeline.config import RETRY
from pipeline.flow import run_editions
from pipeline.queries import status
from pipeline.release import ledger
from pipeline.release.alias import Alias
from pipeline.run import Run

VERSION = "2016.06.30"
POISONED = {"Neymar", "Ada Lovelace"}
"""Subjects."""
KL = 1.3


class Amplified(Memit):
    """MEMIT, with the values of the poisoned subjects twenty times too long."""

    def find_values(
        self, call: EditorCall[Any], group: Sequence[EditRequest]
    ) -> dict[str, torch.Tensor]:
        found = super().find_values(call, group)
        poisoned = [request for request in group if request.subject in POISONED]
        for key in super().find_values(call, poisoned) if poisoned else ():
            found[key][:-4] *= 20
        return found


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child cannot use its parent's pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture()
def poisoned(world: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config of one edition, whose editor spoils two of its edits and whose gate searches."""
    monkeypatch.setitem(EDITORS, "amplified", Amplified)
    config = world()
    text = config.read_text()
    for old, new in (
        ("[edit]\n", '[edit]\neditor = "amplified"\n'),
        ("bisect = false", "bisect = true"),
        ("kl = 1000.0", f"kl = {KL}"),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text[: text.rindex("[[editions]]")])
    return config


def found(root: Path, stage: str, version: str = VERSION) -> Artifact:
    return output_of(root, stage, version)


def test_culprits_are_set_aside_and_the_rest_is_released(poisoned: Path, tmp_path: Path) -> None:
    """Two of six are too many for the bound on quarantine: nothing is released. Where they are not,
    and with --replace, the other four are; the record, the ledger and the lists all say so."""
    root = tmp_path / "ws"
    loose = poisoned.read_text()
    poisoned.write_text(loose.replace("quarantined = 1.0", "quarantined = 0.1"))
    with pytest.raises(GateError, match=r"quarantined is 0\.3333"):
        run_editions(job(poisoned, root))
    assert Alias(Workspace(root), "tiny").current() is None
    poisoned.write_text(loose)
    with pytest.raises(StageError, match="quarantined"):
        run_editions(job(poisoned, root))
    run_editions(job(poisoned, root, replace=True))

    planned = found(root, "plan").table("edits.parquet").to_pylist()
    wrong = {edit["id"] for edit in planned if edit["subject_label"] in POISONED}
    rest = {edit["id"] for edit in planned} - wrong
    assert len(wrong) == 2 and len(rest) == 4
    first, last = found(root, "gate"), found(root, "gate", VERSION + RETRY)
    assert not first.counts["passed"] and last.counts["passed"]
    release = found(root, "release")
    assert set(release.table("edits.parquet")["id"].to_pylist()) == rest

    search = release.json("gate.json")["search"]
    assert search == first.json("gate.json")["search"]
    assert search["checks"] == ["kl"] and not search["given_up"]
    assert search["culprits"].keys() == wrong
    assert all(why.startswith("kl is ") and "off by" in why for why in search["culprits"].values())
    tried = {tuple(sorted(probe["ids"])): bool(probe["failed"]) for probe in search["probes"]}
    assert all(fails == bool(wrong & set(ids)) for ids, fails in tried.items())
    assert all((i,) in tried for i in wrong)

    card = (release.path / "README.md").read_text(encoding="utf-8")
    assert all(f"`{i}`: kl is" in card for i in wrong)
    told = {e["edit_id"]: e for e in ledger.read(root).to_pylist() if e["event"] != "planned"}
    assert {i for i, e in told.items() if e["event"] == "quarantined"} == wrong
    assert {i for i, e in told.items() if e["event"] == "applied"} == rest
    assert all(told[i]["reason"] == search["culprits"][i] for i in wrong)

    assert set(release.table("quarantined.parquet")["id"].to_pylist()) == wrong

    state = status.status(Workspace.at(str(root)))
    assert set(state["versions"]) == {VERSION}
    assert set(state["versions"][VERSION].values()) == {"done"}
    [row] = status.releases(Workspace.at(str(root)))
    assert (row["version"], row["edits"], row["production"]) == (VERSION, 4, True)
    same_files(found(root, "evaluate", VERSION + RETRY), release)
    before = outputs(root)
    run_editions(job(poisoned, root, replace=True))
    assert outputs(root) == before and len(Alias(Workspace(root), "tiny").history()) == 1


def same_files(evaluated: Artifact, release: Artifact) -> None:
    """What was evaluated is what is released: the same bytes, and of weights the same blocks of the
    disk."""
    files = {k: v for k, v in evaluated.record["files"].items() if k.startswith("checkpoint/")}
    card = "checkpoint/README.md"
    copied = {k: v for k, v in release.record["files"].items() if k.startswith("checkpoint/")}
    assert copied == {**files, card: copied[card]} and card not in files
    for name in files:
        one, two = evaluated.path / name, release.path / name
        assert not name.endswith(".safetensors") or one.stat().st_ino == two.stat().st_ino


def kill_in_search(run: Run, number: int) -> int:
    """Run in a forked process that is killed with SIGKILL when that many trials are finished and
    the next one is about to be; returns the wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    original = os.replace

    def deadly(source: Any, target: Path) -> None:
        shards = target.parent
        outcome = shards.name == SHARDS and target.suffix == ".json"
        if outcome and len(list(shards.glob("*.json"))) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target)

    storage.os.replace = deadly  # type: ignore[assignment]
    try:
        run_editions(run)
    finally:
        os._exit(0)


def test_killed_in_the_search_and_behind_it_the_same_is_released(
    poisoned: Path, tmp_path: Path
) -> None:
    """kill -9 after one trial and after three, and in each stage of the second attempt."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_editions(job(poisoned, whole))
    for number in (1, 3):
        assert os.WIFSIGNALED(kill_in_search(job(poisoned, killed), number)), number
        assert len(list((killed / "gate").glob(f"*.partial/{SHARDS}/*.json"))) == number
    for stage in ("edit", "evaluate", "gate"):
        for moment in ("first", "commit"):
            status = kill_at(job(poisoned, killed), stage, VERSION + RETRY, moment)
            assert os.WIFSIGNALED(status), (stage, moment)
    run_editions(job(poisoned, killed))
    assert outputs(killed) == outputs(whole)
    assert ledger.read(killed).equals(ledger.read(whole))
    assert not list(killed.rglob("*.partial"))
