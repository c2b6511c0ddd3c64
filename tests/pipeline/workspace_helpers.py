"""What a run has left in a workspace."""

from __future__ import annotations

import json
from pathlib import Path

from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace


def output_of(root: Path, stage: str, version: str) -> Artifact:
    """The output of a stage, which must be there."""
    artifact = Workspace.at(str(root)).find(stage, version)
    assert artifact is not None, (stage, version)
    return artifact


def outputs(root: Path) -> dict[str, str]:
    """Digest of every output, of both attempts."""
    records = sorted(root.rglob("record.json"))
    return {str(r.parent.relative_to(root)): json.loads(r.read_text())["digest"] for r in records}
