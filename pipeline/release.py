"""Stage 9: an immutable version: deltas, manifest, report, its page, model card, and a checkpoint
to load.

A release is data: *base digest + ordered deltas*. Its id digests exactly that, so the same
composition has the same id wherever it was made. The checkpoint is an export of it, bit for bit
what was evaluated.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from discovery.facts.tables import to_table
from infra.files.digest import digest_of, file_digest
from infra.lm.inference import Examinee
from infra.models.checkpoint import link
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.edit import DELTA, AttachCodebook
from pipeline.edits import EDIT_SCHEMA, PlannedEdit
from pipeline.evaluate import FACTS, REPORT
from pipeline.export import ADAPTER, CHECKPOINT
from pipeline.fact_sheet import SHEET, SHEET_LINES
from pipeline.gate import VERDICT
from pipeline.pages.card import render_card
from pipeline.pages.page import PAGE, PageInputs, render_page

QUARANTINED = "quarantined.parquet"
"""Edits that were refused or set aside, for the next release to try again."""
MANIFEST = "manifest.json"
CARD = "README.md"


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
    page: PageInputs
    """What the page tells, but for the release id."""


def as_released(release: Artifact, name: str) -> Examinee:
    """A release as it is served: its checkpoint, and its codebook where it has one."""
    book = bool(release.counts["codebook"])
    return Examinee(
        name=name,
        path=release.path / CHECKPOINT,
        attach=AttachCodebook(release.path / DELTA) if book else None,
        own_attention=book,
    )


def release(inputs: ReleaseInputs, live: Sequence[PlannedEdit], out: StageDir) -> dict[str, Any]:
    """Write the release; `live` are the edits that the editor carried out. Returns its id and
    size."""
    shutil.copyfile(inputs.edit.path / DELTA, out.path / DELTA)
    for name in (REPORT, FACTS):
        shutil.copyfile(inputs.evaluation.path / name, out.path / name)
    shutil.copyfile(inputs.gate.path / VERDICT, out.path / VERDICT)
    for name in (SHEET, SHEET_LINES):
        shutil.copyfile(inputs.plan.path / name, out.path / name)
    out.write_table("edits.parquet", to_table(live, EDIT_SCHEMA))
    aside = [edit for edit, _ in inputs.page.quarantined]
    out.write_table(QUARANTINED, to_table(aside, EDIT_SCHEMA))
    for kind in (CHECKPOINT, ADAPTER):  # the very files that were evaluated
        if (made := inputs.evaluation.path / kind).is_dir():
            shutil.copytree(made, out.path / kind, copy_function=link)
    manifest = make_manifest(inputs, live, out.path)
    said = {"release id": manifest["release_id"], **inputs.page.provenance}
    page = render_page(replace(inputs.page, provenance=said))
    (out.path / PAGE).write_text(page, encoding="utf-8")
    manifest["page"] = {"file": PAGE, "digest": file_digest(out.path / PAGE)}
    card = render_card(
        manifest,
        license=inputs.license,
        report=inputs.page.report,
        gate=inputs.page.gate,
        plan=inputs.plan.counts,
        live=live,
    )
    for path in (out.path / CARD, out.path / CHECKPOINT / CARD):
        path.write_text(card, encoding="utf-8")
    out.write_json(MANIFEST, manifest)
    return {
        "release_id": manifest["release_id"],
        "edits": len(live),
        "codebook": manifest["codebook"],
        "fact_sheet": manifest["fact_sheet"]["rows"],
    }


def make_manifest(inputs: ReleaseInputs, live: Sequence[PlannedEdit], path: Path) -> dict[str, Any]:
    """Everything that identifies the release and what it was made from; no times, no paths."""
    batch = {
        "editor": dict(inputs.editor),
        "delta": file_digest(path / DELTA),
        "solved_on": inputs.base.digest,
        "edits": [edit.id for edit in live],
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
        "codebook": inputs.edit.counts["codebook"],
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
