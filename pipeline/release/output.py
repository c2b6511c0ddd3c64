"""The files of a release, and the model of a release as it is served."""

from __future__ import annotations

from infra.lm.inference import ServedModel
from infra.storage.artifact import Artifact
from pipeline.edit.attach import as_exported
from pipeline.edit.output import DELTA
from pipeline.export.candidate import CHECKPOINT

QUARANTINED = "quarantined.parquet"
"""Edits that were refused or set aside; the next edition tries them again."""
MANIFEST = "manifest.json"
CARD = "README.md"
"""The model card."""


def as_released(release: Artifact, name: str) -> ServedModel:
    """The model of a release as it is served: its checkpoint, with the parts of the delta that a
    checkpoint cannot hold.

    name  role of the model in an evaluation
    """
    return as_exported(name, release.path / CHECKPOINT, release.path / DELTA, digest=release.digest)
