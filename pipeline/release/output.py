"""A release's files, and a release as it is served."""

from __future__ import annotations

from infra.lm.inference import ServedModel
from infra.storage.artifact import Artifact
from pipeline.edit.attach import as_exported
from pipeline.edit.output import DELTA
from pipeline.export.candidate import CHECKPOINT

QUARANTINED = "quarantined.parquet"
"""Edits that were refused or set aside, for the next release to try again."""
MANIFEST = "manifest.json"
CARD = "README.md"


def as_released(release: Artifact, name: str) -> ServedModel:
    """A release as it is served: its checkpoint, and what its delta has beside that."""
    return as_exported(name, release.path / CHECKPOINT, release.path / DELTA, digest=release.digest)
