"""Stage 9: write a release: delta, manifest, report, page, model card, and a checkpoint to load.

The id of a release is a digest of its base model, the ids of its edits, the editor and the delta
(`make_manifest`), so it does not depend on when or where the release was made. The exports are the
very files that were evaluated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from discovery.facts.tables import to_table
from editors.deltas.delta import recorded_counts
from infra.errors import StageError
from infra.execution.runner import Runner
from infra.files.digest import file_digest
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace
from pipeline.edit.output import DELTA
from pipeline.evaluate.output import FACTS, REPORT
from pipeline.export.candidate import ADAPTER, CHECKPOINT
from pipeline.gate.output import GATE, PAGE
from pipeline.plan.edits import EDIT_SCHEMA
from pipeline.plan.fact_sheet import SHEET, SHEET_LINES
from pipeline.plan.output import FULL
from pipeline.release.manifest import ReleaseInputs, make_manifest
from pipeline.release.output import CARD, MANIFEST, QUARANTINED
from pipeline.release.pages.card import render_card
from pipeline.release.pages.page import render_page


def release(inputs: ReleaseInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the release; return its id, and counts of its edits and facts. Starts no worker.

    Raises StageError where another process has replaced an output that the release is made from.
    """
    _require_unchanged(inputs)
    live = inputs.live
    out.copy(inputs.edit.file(DELTA), DELTA)
    for name in (REPORT, FACTS):
        out.copy(inputs.evaluation.file(name), name)
    out.copy(inputs.gate.file(GATE), GATE)
    for name in (SHEET, SHEET_LINES):
        out.copy(inputs.plan.file(name), name)
    out.write_table("edits.parquet", to_table(live, EDIT_SCHEMA))
    aside = [edit for edit, _ in inputs.page.quarantined]
    out.write_table(QUARANTINED, to_table(aside, EDIT_SCHEMA))
    if inputs.full:
        out.write_table(FULL, to_table(inputs.full, EDIT_SCHEMA))
    for kind in (CHECKPOINT, ADAPTER):  # the very files that were evaluated
        if (made := inputs.evaluation.path / kind).is_dir():
            out.keep_tree(made, kind)
    manifest = make_manifest(inputs, out.path)
    said = {"release id": manifest["release_id"], **inputs.page.provenance}
    page = render_page(replace(inputs.page, provenance=said))
    out.write_text(PAGE, page)
    manifest["page"] = {"file": PAGE, "digest": file_digest(out.path / PAGE)}
    card = render_card(
        manifest,
        license=inputs.license,
        report=inputs.page.report,
        gate=inputs.page.gate,
        plan=inputs.plan.counts,
        live=live,
    )
    for name in (CARD, f"{CHECKPOINT}/{CARD}"):
        out.write_text(name, card)
    out.write_json(MANIFEST, manifest)
    return {
        "release_id": manifest["release_id"],
        "edits": len(live),
        **recorded_counts(manifest),
        "fact_sheet": manifest["fact_sheet"]["rows"],
    }


def _require_unchanged(inputs: ReleaseInputs) -> None:
    """Raises StageError where an output that a release is made from is not what it was when this
    run made or found it. While the release is made, none is replaced (`Workspace.run_stage`)."""
    for made in (inputs.snapshot, inputs.plan, inputs.edit, inputs.evaluation, inputs.gate):
        stage, version = made.record["stage"], made.record["version"]
        now = Workspace(made.directory.parents[1]).find(stage, version)
        if now is None or now.digest != made.digest:
            raise StageError(
                f"{stage} {version} was replaced by another process meanwhile. Run the same "
                "command again when it has ended."
            )
