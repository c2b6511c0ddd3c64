"""The files of a release, whether they are whole, and the model of a release as it is served."""

from __future__ import annotations

from infra.errors import StageError
from infra.files.digest import digest_of
from infra.lm.inference import ServedModel
from infra.storage.artifact import Artifact
from infra.storage.integrity import BYTES, RECORD
from pipeline.edit.attach import as_exported
from pipeline.edit.output import DELTA
from pipeline.export.candidate import CHECKPOINT

QUARANTINED = "quarantined.parquet"
"""Edits that were refused or set aside; the next edition tries them again."""
MANIFEST = "manifest.json"
CARD = "README.md"
"""The model card."""


def require_release(release: Artifact, *, thorough: bool = False) -> None:
    """Raise StageError unless a release is whole and its manifest is the one of its id.

    thorough  whether the contents of large files are read too, as before something is built on it
    """
    release.require_whole(thorough=thorough)
    if fault := wrong_manifest(release):
        raise StageError(f"{fault}. Restore it from a backup.")


def wrong_manifest(release: Artifact) -> str | None:
    """What is wrong where the manifest of a release is not the one that its id was made of, or its
    delta not the manifest's; otherwise None. Earlier versions made ids in another way."""
    manifest, path = release.json(MANIFEST), release.path / MANIFEST
    try:
        named, batches = manifest["release_id"], manifest["batches"]
        core = {"base": manifest["base"]["digest"], "batches": batches}
        delta = batches[0]["delta"]
    except (LookupError, TypeError):
        return f"{path} is no manifest of a release"
    if named != release.counts.get("release_id"):
        return f"{path} has another release id than {release.path / RECORD}"
    if BYTES in release.record and digest_of(core) != named:
        return f"{path} names another base or other edits than its release id was made of"
    if delta != release.record["files"].get(DELTA):
        return f"{path} names another delta than {release.path / DELTA}"
    return None


def as_released(release: Artifact, name: str) -> ServedModel:
    """The model of a release as it is served: its checkpoint, with the parts of the delta that a
    checkpoint cannot hold.

    name  role of the model in an evaluation
    """
    return as_exported(name, release.path / CHECKPOINT, release.path / DELTA, digest=release.digest)
