"""A run of real editions through stages that take no time: they copy what they are given.

The flow, the workspace, the log of the alias and the lineage are the real ones. What a stage writes
is a digest of its inputs and the files that the next edition reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from discovery.facts.tables import to_table
from discovery.probe.output import ACTIVITY
from discovery.snapshot.output import MANIFEST
from discovery.trust.anomalies import ACTIVITY_SCHEMA
from infra.execution.runner import InProcessRunner
from infra.files.digest import digest_of, file_digest
from infra.files.tensors import save_tensors
from infra.lm.inference import ServedModel
from infra.models.loading import ModelRef
from infra.storage.workspace import Workspace
from pipeline import flow, lineage
from pipeline.config import Config
from pipeline.edit.output import DELTA
from pipeline.plan.edits import EDIT_SCHEMA
from pipeline.plan.fact_sheet import write_sheet
from pipeline.plan.output import EDITS, Plan
from pipeline.release.output import QUARANTINED
from pipeline.run import Run

BASE = ModelRef(name="base", path=Path("base"), digest="base")
EMPTY = Plan(edits=[], removals=[], refusals=[], held=[], sheet=[], neighbours=[], preserved=[])


def crawl(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """The sources and the day; what was found before does not matter."""
    out.write_json("crawl.json", [sorted(inputs.files), inputs.as_of.isoformat()])
    return {}


def snapshot(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """A manifest; its id is that of the sources and the day, however many crawls there were."""
    names = [config.name for config in inputs.sources]
    out.write_json(
        MANIFEST,
        {
            "as_of": inputs.as_of.isoformat(),
            "num_buckets": 1,
            "sources": names,
            "snapshot_id": digest_of([names, inputs.as_of.isoformat()]),
        },
    )
    return {}


def diff(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """The ids of both snapshots."""
    out.write_json("diff.json", [inputs.old and inputs.old.snapshot_id, inputs.new.snapshot_id])
    return {}


def probe(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """The diff, and the model that was asked."""
    out.write_json("probe.json", [inputs.diff.digest, inputs.serving.digest])
    out.write_table(ACTIVITY, ACTIVITY_SCHEMA.empty_table())
    return {}


def plan(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """An empty plan, with the hash of what was given."""
    given = {"probe": inputs.probe.digest, "parent": inputs.parent.digest if inputs.parent else ""}
    return {"plan_hash": EMPTY.write(out, policy={}, inputs=given), "sheet": 0}


def release(inputs: Any, out: Any, runner: Any) -> dict[str, Any]:
    """A manifest, and the tables of a release."""
    save_tensors({}, out.path / DELTA, {"made": f"{inputs.line} {inputs.plan.digest}"})
    batches = [{"delta": file_digest(out.path / DELTA), "edits": []}]
    release_id = digest_of({"base": BASE.digest, "batches": batches})
    manifest = {
        **{"parent": inputs.parent, "line": inputs.line, "release_id": release_id},
        **{"base": {"name": None, "digest": BASE.digest}, "batches": batches},
    }
    out.write_json("manifest.json", manifest)
    out.write_json("report.json", {})
    for name in (EDITS, QUARANTINED):
        out.write_table(name, to_table([], EDIT_SCHEMA))
    write_sheet([], out)
    return {"release_id": release_id}


class Attempts(SimpleNamespace):
    """Edit, evaluate and gate: the plan passes as it is. `meanwhile` is called with the version."""

    plan = EMPTY
    meanwhile: Any = staticmethod(lambda version: None)

    def attempts(self) -> Iterator[Any]:
        """Nothing to yield; the plan stands for all three outputs."""
        type(self).meanwhile(self.version)
        made = self.planned
        outputs = {"planned": made, "edit": made, "evaluate": made, "gate": gate_of(made)}
        return SimpleNamespace(**outputs, plan=EMPTY, quarantined={}, page=None)
        yield


def gate_of(made: Any) -> Any:
    """The output of a gate that was passed."""
    return replace(made, record={**made.record, "counts": {"failed": []}})


def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put these stages in the place of the flow's."""
    for stage in (crawl, snapshot, diff, probe, plan, release, Attempts):
        monkeypatch.setattr(flow, stage.__name__, stage)
    monkeypatch.setattr(flow, "require_passed", lambda version, failed: None)
    monkeypatch.setattr(flow, "locate", lambda name, hub_id: BASE)
    monkeypatch.setattr(flow, "remember", lambda root, base: None)
    monkeypatch.setattr(flow, "preflight", lambda base, **settings: None)

    def served(found: Any, name: str) -> ServedModel:
        return ServedModel(name=name, path=found.path, digest=found.digest)

    monkeypatch.setattr(lineage, "as_released", served)


def run_editions(
    root: Path,
    line: str,
    editions: Mapping[str, str],
    *,
    until: str = "release",
    sources: tuple[Any, ...] = ({"kind": "table", "name": "people", "path": "people.jsonl"},),
    **more: Any,
) -> list[str]:
    """Run editions, version -> day, of a line; return what was told."""
    (root / "people.jsonl").touch()
    config = Config.model_validate(
        {
            "line": line,
            "sources": sources,
            "editions": [{"version": v, "as_of": day} for v, day in editions.items()],
        }
    )
    told: list[str] = []
    run = Run(
        config=config,
        config_dir=root,
        workspace=Workspace(root / "workspace"),
        runner=InProcessRunner(),
        tell=told.append,
        **more,
    )
    flow.run_editions(run, until=until)
    return told


def releases(root: Path) -> dict[str, tuple[str | None, str]]:
    """Version -> parent and id of each release."""
    place = Workspace(root / "workspace")
    found = {v: place.find("release", v) for v in place.versions("release")}
    manifests = {v: made.json("manifest.json") for v, made in found.items() if made}
    return {v: (m["parent"], m["release_id"]) for v, m in manifests.items()}
