"""The manifest: everything that identifies a release and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.deltas.delta import recorded_counts
from infra.files.digest import digest_of, file_digest
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from pipeline.edit.output import DELTA
from pipeline.export.candidate import ADAPTER, CHECKPOINT
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.fact_sheet import SHEET, SHEET_LINES
from pipeline.release.output import CARD
from pipeline.release.pages.page import PageInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInputs:
    """The finished outputs that a release is made of."""

    version: str
    line: str
    parent: str | None
    as_of: str
    base: ModelRef
    license: str | None
    editor: Mapping[str, Any]
    compute: Mapping[str, Any]
    """How the models were run: dtype, longest answer."""
    snapshot: Artifact
    plan: Artifact
    edit: Artifact
    evaluation: Artifact
    gate: Artifact
    live: Sequence[PlannedEdit]
    """The edits that the editor carried out."""
    page: PageInputs
    """What the page tells, but for the release id."""


def make_manifest(inputs: ReleaseInputs, path: Path) -> dict[str, Any]:
    """Everything that identifies the release and what it was made from; no times, no paths."""
    batch = {
        "editor": dict(inputs.editor),
        "delta": file_digest(path / DELTA),
        "solved_on": inputs.base.digest,
        "edits": [edit.id for edit in inputs.live],
    }
    core = {"base": {"name": inputs.base.name, "digest": inputs.base.digest}, "batches": [batch]}
    return {
        "schema": 1,
        "name": inputs.version,
        "line": inputs.line,
        "parent": inputs.parent,
        "as_of": inputs.as_of,
        "release_id": digest_of(core),
        **core,
        "sources": {"snapshot": inputs.snapshot.digest, **inputs.snapshot.counts},
        "plan_hash": inputs.plan.counts["plan_hash"],
        "evaluation": {"digest": inputs.evaluation.digest, **inputs.evaluation.counts},
        "gate": inputs.gate.digest,
        "compute": dict(inputs.compute),
        "exports": [
            {"kind": kind, "files": digests(path / kind)}
            for kind in (CHECKPOINT, ADAPTER)
            if (path / kind).is_dir()
        ],
        **recorded_counts(inputs.edit.counts),
        "fact_sheet": {
            "rows": inputs.plan.counts["sheet"],
            "files": {name: file_digest(path / name) for name in (SHEET, SHEET_LINES)},
        },
        "unsigned": True,
    }


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of each file of an export but its card, which names the release."""
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name != CARD)
    return {file.name: file_digest(file) for file in files}
