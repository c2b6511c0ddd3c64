"""The manifest of a release: its id, and the digests of what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.deltas.delta import recorded_counts
from infra.files.digest import content_digest, digest_of, file_digest
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from pipeline.edit.config import EditConfig
from pipeline.edit.output import DELTA
from pipeline.export.candidate import ADAPTER, CHECKPOINT
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.fact_sheet import SHEET, SHEET_LINES
from pipeline.release.output import CARD
from pipeline.release.pages.page import PageInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInputs:
    """Inputs of the release stage."""

    version: str
    line: str
    """Name of the model line."""
    parent: str | None
    """Version of the release before; None for the first."""
    as_of: str
    """Day of the edition, an ISO date."""
    base: ModelRef
    base_name: str | None
    """What the release calls the base; None where it has a digest only."""
    license: str | None
    """Licence of the base model, for the model card."""
    editor: Mapping[str, Any]
    """Name and options of the editor; of two, those of the second lane's as `over`."""
    compute: Mapping[str, Any]
    """How the models were run in the evaluation: dtype, most tokens of an answer, system prompt of
    chats or None."""
    snapshot: Artifact
    """Output of the snapshot stage."""
    plan: Artifact
    """Output of the plan stage."""
    edit: Artifact
    """Output of the edit stage."""
    evaluation: Artifact
    """Output of the evaluate stage."""
    gate: Artifact
    """Output of the gate stage."""
    live: Sequence[PlannedEdit]
    """The edits that the delta holds."""
    full: Sequence[PlannedEdit]
    """Edits for which the weights have no room: their facts are on the fact sheet."""
    page: PageInputs
    """Inputs of the report page, without the release id."""


def editor_of(edit: EditConfig, live: Sequence[PlannedEdit]) -> dict[str, Any]:
    """Name and options of the editor of a release and, where edits are in two lanes of editors, of
    the second as `over`."""
    first, *more = (
        {"name": lane.editor, "options": dict(lane.options)} for lane in edit.lanes.values()
    )
    beside = any(planned.lane == "beside" for planned in live)
    return {**first, "over": more[0]} if more and beside else first


def make_manifest(inputs: ReleaseInputs, path: Path) -> dict[str, Any]:
    """The manifest as JSON values. It has no times and no paths, so it is the same on any machine.

    path  directory of the release, in which delta, exports and fact sheet are already

    The release id is the digest of the base's digest and of the batch of edits: the editor, its
    options, the delta and the ids of the edits. What the base is called is no part of it.
    """
    batch = {
        "editor": dict(inputs.editor),
        "delta": file_digest(path / DELTA),
        "solved_on": inputs.base.digest,
        "edits": [edit.id for edit in inputs.live],
    }
    core = {"base": inputs.base.digest, "batches": [batch]}
    return {
        "schema": 1,
        "name": inputs.version,
        "line": inputs.line,
        "parent": inputs.parent,
        "as_of": inputs.as_of,
        "release_id": digest_of(core),
        "base": {"name": inputs.base_name, "digest": inputs.base.digest},
        "batches": [batch],
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
            "files": {name: content_digest(path / name) for name in (SHEET, SHEET_LINES)},
        },
        "unsigned": True,
    }


def digests(directory: Path) -> dict[str, str]:
    """File name -> SHA-256, for the files of an export without its model card.

    The card is left out because it has the release id in it.
    """
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name != CARD)
    return {file.name: file_digest(file) for file in files}
