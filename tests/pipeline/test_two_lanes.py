"""Editions whose facts have no room in the weights, through the whole job on a tiny model: they are
released in two lanes, instead of failing the gate.

The bound on KL drift lies between what three facts in the weights cost and what six do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from workspace_helpers import output_of, outputs
from worlds import VERSIONS, job, kill_at

from editors.deltas.delta import Delta
from editors.deltas.errata import Errata
from infra.errors import GateError
from infra.models import lora
from infra.models.loading import load, locate
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import RETRY
from pipeline.flow import run_editions
from pipeline.gate.capacity_history import CapacityHistory, Measured
from pipeline.queries import status, verify
from pipeline.queries.why import why
from pipeline.release import ledger

FIRST, SECOND = VERSIONS
KL = 0.33
SCOPED = """
[edit.over]
editor = "scoped"
options = { layer = 2, num_prefixed = 0, values = { steps = 3 } }
"""

ERRATA = """
[edit.over]
editor = "errata"
options = { num_prefixed = 0, values = { steps = 3 } }
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child cannot use its parent's pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture()
def overfull(world: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a config whose weights hold fewer facts than the plan has."""

    def write(over: str = SCOPED, kl: float = KL, editions: int = 1) -> Path:
        config = world()
        text = config.read_text()
        for old, new in (
            ("[evaluate]\n", f"{over}[evaluate]\n"),
            ("bisect = false", "bisect = true"),
            ("kl = 1000.0", f"kl = {kl}"),
        ):
            assert old in text
            text = text.replace(old, new)
        if editions == 1:
            text = text[: text.rindex("[[editions]]")]
        config.write_text(text)
        return config

    return write


def found(root: Path, stage: str, version: str = FIRST) -> Artifact:
    return output_of(root, stage, version)


def lanes(root: Path, version: str = FIRST) -> dict[str, list[str]]:
    """Lane -> subjects of a release's edits, sorted."""
    found_lanes: dict[str, list[str]] = {}
    for row in found(root, "release", version).table("edits.parquet").to_pylist():
        found_lanes.setdefault(row["lane"], []).append(row["subject_label"])
    return {lane: sorted(names) for lane, names in found_lanes.items()}


def capacity(root: Path) -> dict[str, tuple[int, int | None]]:
    """What the cache has of the capacity: version -> facts that passed, and that did not."""
    [file] = (root / "cache" / "capacity").iterdir()
    return {e["version"]: (e["passed"], e["failed"]) for e in json.loads(file.read_text())["value"]}


def test_facts_over_the_capacity_go_into_the_second_lane(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """The gate of the first attempt fails and measures how many facts the weights hold; the release
    has these in the weights and the others beside them, none quarantined. The page, the report, the
    ledger and `why` say so, and a run that is repeated makes nothing."""
    root = tmp_path / "ws"
    run_editions(job(overfull(), root))
    first, last = found(root, "gate"), found(root, "gate", FIRST + RETRY)
    assert not first.counts["passed"] and last.counts["passed"]
    assert first.counts["culprits"] == {} and first.counts["moved"] > 0
    measured = first.json("gate.json")["search"]["capacity"]
    assert 0 < measured["passed"] < measured["failed"] <= 6
    assert capacity(root) == {
        FIRST: (measured["passed"], measured["failed"]),
        FIRST + RETRY: (measured["passed"], None),
    }

    plan = found(root, "plan", FIRST + RETRY)
    assert plan.counts["lanes"] == {"weights": measured["passed"], "beside": first.counts["moved"]}
    release = found(root, "release")
    edits = release.table("edits.parquet").to_pylist()
    assert {e["id"] for e in edits if e["lane"] == "beside"} == set(measured["moved"])
    assert len(edits) == 6 and release.table("quarantined.parquet").num_rows == 0
    order = [e["lane"] for e in sorted(edits, key=lambda e: -e["priority"])]
    assert order == sorted(order, reverse=True)  # weights first
    delta = Delta.load(release.path / "delta.safetensors")
    assert {part.kind for part in delta.parts} == {"", "scoped"}
    assert release.counts["scoped"] == first.counts["moved"]
    batch = release.json("manifest.json")["batches"][0]
    assert (batch["editor"]["name"], batch["editor"]["over"]["name"]) == ("memit", "scoped")

    rows = release.json("report.json")["lanes"]
    assert {lane: row["facts"] for lane, row in rows.items()} == plan.counts["lanes"]
    assert sum(row["reliability"]["n"] for row in rows.values()) == 6
    whole = release.json("report.json")["roles"]["candidate"]["reliability"]["value"]
    parts = [row["reliability"] for row in rows.values()]
    assert sum(p["value"] * p["n"] for p in parts) == pytest.approx(6 * whole)
    page = (release.path / "report.html").read_text(encoding="utf-8")
    assert "in the weights" in page and "beside the weights" in page

    applied = [e for e in ledger.read(root).to_pylist() if e["event"] == "applied"]
    assert len(applied) == 6
    workspace = Workspace.at(str(root))
    [fact] = why(workspace, next(e["subject"] for e in edits if e["lane"] == "beside"))
    [entry] = fact["history"]
    assert (entry["version"], entry["edits"][0]["lane"]) == (FIRST, "beside")
    assert set(status.status(workspace)["versions"]) == {FIRST}
    assert not verify.verify_version(workspace, FIRST, lambda size: None).damage
    assert not verify.verify_rest(workspace).damage

    before = outputs(root)
    run_editions(job(overfull(), root))
    assert outputs(root) == before and len(capacity(root)) == 2


def test_a_server_of_checkpoints_loads_both_lanes(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """Weights, and tokens of the vocabulary: nothing stands beside the checkpoint."""
    root, config = tmp_path / "ws", overfull(over=ERRATA)
    config.write_text(f'{config.read_text()}[serve]\nloads = "checkpoint"\n')
    run = job(config, root)
    run_editions(run)
    kept = lanes(root)
    assert kept["weights"] and kept["beside"]
    release = found(root, "release")
    delta = release.path / "delta.safetensors"
    assert {part.kind for part in Delta.load(delta).parts} == {"", "errata"}
    assert not Delta.load(delta, beside_weights=True).parts
    places = release.path / "checkpoint", locate(run.config.model.name).path
    tokens = [len(load(place, dtype=torch.float32)[1]) for place in places]
    [part] = Delta.load(delta).of(Errata).values()
    assert part.size == len(kept["beside"])
    assert tokens[0] - tokens[1] == sum(1 + len(erratum.ahead) for erratum in part.errata)


def test_a_later_edition_is_planned_by_the_capacity(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """It does not fail first; the first edition is found as it was, though its own plan knew of no
    capacity. Where the file is damaged, the capacity is measured again."""
    root = tmp_path / "ws"
    run_editions(job(overfull(editions=2), root))
    assert found(root, "gate", SECOND).counts["passed"]
    assert Workspace.at(str(root)).versions("gate") == [FIRST, FIRST + RETRY, SECOND]
    (room, _) = capacity(root)[FIRST]
    assert len(lanes(root, SECOND)["weights"]) == room
    assert len(lanes(root, SECOND)["beside"]) > 0
    before = outputs(root)
    run_editions(job(overfull(editions=2), root))
    assert outputs(root) == before


def test_without_a_second_lane_they_wait_on_the_fact_sheet(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """With the reason; they are edits of the next edition that has room for them."""
    root = tmp_path / "ws"
    run_editions(job(overfull(over=""), root))
    release = found(root, "release")
    waiting = release.table("weights_full.parquet").to_pylist()
    inside = release.table("edits.parquet").to_pylist()
    assert len(waiting) + len(inside) == 6 and len(waiting) > 0
    assert {row["lane"] for row in inside} == {"weights"}
    sheet = {row["subject"]: row for row in release.table("fact_sheet.parquet").to_pylist()}
    assert all(sheet[row["subject"]]["reason"].startswith("weights full: ") for row in waiting)
    assert release.json("report.json")["lanes"]["sheet"] == {"facts": len(waiting)}
    routed = [e for e in ledger.read(root).to_pylist() if e["event"] == "routed"]
    assert {e["edit_id"] for e in routed} == {None}
    assert {row["subject"] for row in waiting} <= {e["subject"] for e in routed}
    assert not verify.verify_version(Workspace.at(str(root)), FIRST, lambda size: None).damage

    run = job(overfull(over="", kl=1000.0, editions=2), root)
    more = run.config.plan.model_copy(update={"max_edits": 20})
    second = run.config.model_copy(update={"editions": run.config.editions[1:], "plan": more})
    run_editions(replace(run, config=second))
    later = found(root, "release", SECOND)
    held = {row["subject"]: row for row in later.table("edits.parquet").to_pylist()}
    same = [row for row in waiting if row["target"] == "Apple" and row["subject"] == "Tim Cook"]
    assert same and held["Tim Cook"]["action"] == "teach" and held["Tim Cook"]["since"] == SECOND
    assert not later.has("weights_full.parquet") and "lanes" not in later.json("report.json")


def test_the_gates_raise_and_lower_the_capacity(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """It is raised by an edition that was planned before it was known and passes with more, and
    lowered by one that was planned by it and fails."""
    for name, kl, known, expected in (
        ("raised", 1000.0, 2, {"other": (2, 3), FIRST: (6, None)}),
        ("lowered", KL, 5, {"other": (5, 6), FIRST: (2, 3), FIRST + RETRY: (2, None)}),
    ):
        root = tmp_path / name
        run = job(overfull(kl=kl), root)
        base = locate(run.config.model.name)
        history = CapacityHistory.of(root / "cache", base, run.config.edit, run.config.gate)
        if name == "raised":
            run_editions(run, until="plan")
        history.note(Measured(version="other", passed=known, failed=known + 1))
        run_editions(run)
        assert capacity(root) == expected
        planned = found(root, "plan").counts["lanes"]
        assert planned["weights"] == (6 if name == "raised" else known)


def test_a_finished_plan_keeps_its_capacity(overfull: Callable[..., Path], tmp_path: Path) -> None:
    """What is measured behind it does not change it, unless a person lets it be replaced; and never
    what its own gate has measured."""
    root = tmp_path / "ws"

    def planned(**more: bool) -> int:
        run = job(overfull(), root, **more)
        run_editions(run, until="plan")
        base = locate(run.config.model.name)
        history = CapacityHistory.of(root / "cache", base, run.config.edit, run.config.gate)
        for version, passed in (("other", 2), (FIRST + RETRY, 1), ("later", 4)):
            history.note(Measured(version=version, passed=passed, failed=passed + 1))
        return found(root, "plan").counts["lanes"]["weights"]

    assert planned() == 6  # nothing was known
    assert planned() == 6
    assert planned(replace=True) == 2


def test_an_adapter_that_no_server_takes_is_not_released(
    overfull: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing else is loaded, an edition without an adapter is one line."""
    config = overfull(over="", kl=1000.0)
    config.write_text(f'{config.read_text()}[serve]\nloads = "adapter"\n')
    monkeypatch.setattr(lora, "RANKS", (1,))
    with pytest.raises(GateError, match=r"the change of 6 facts is of no rank that servers take"):
        run_editions(job(config, tmp_path / "ws"))
    assert Workspace.at(str(tmp_path / "ws")).find("release", FIRST) is None
    monkeypatch.undo()
    run_editions(job(config, tmp_path / "other"))
    assert (found(tmp_path / "other", "release").path / "adapter").is_dir()


def test_killed_while_facts_are_moved_the_same_is_released(
    overfull: Callable[..., Path], tmp_path: Path
) -> None:
    """kill -9 in the gate that measures, and in each stage of the second attempt."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_editions(job(overfull(), whole))
    stages = ("plan", "edit", "evaluate", "gate")
    for stage, version, moment in (
        ("gate", FIRST, "commit"),
        *((stage, FIRST + RETRY, moment) for stage in stages for moment in ("first", "commit")),
    ):
        status = kill_at(job(overfull(), killed), stage, version, moment)
        assert os.WIFSIGNALED(status), (stage, version, moment)
    run_editions(job(overfull(), killed))
    assert outputs(killed) == outputs(whole)
    assert capacity(killed) == capacity(whole)
    assert ledger.read(killed).equals(ledger.read(whole))
    assert not list(killed.rglob("*.partial"))
