"""Edited models to evaluate: the output of the edit stage, or a checkpoint edited elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from infra.files.digest import digest_of, file_digest
from infra.lm.inference import ServedModel
from infra.models.files import model_files
from infra.models.loading import ModelRef
from pipeline.export.candidate import Candidate, export


class Edited(Protocol):
    """An edited model, whoever edited it."""

    @property
    def digest(self) -> str:
        """Identity of the edit."""
        ...

    def candidate(self, out: Path) -> Candidate:
        """The model to be evaluated; its exports, if it needs any, are written into `out`."""
        ...


@dataclass(frozen=True)
class EditedModel:
    """A base model as the edit stage has edited it."""

    base: ModelRef
    made: Path
    """Directory of the edit stage's output."""
    digest: str
    """Digest of that output and of the base's hub id, which the exported adapter has."""
    served_alone: bool = False
    """Whether only the checkpoint is evaluated, which is then not kept; if not, so are the delta in
    memory and the adapter, which shows whether the exports agree with the editor's own model."""

    def candidate(self, out: Path) -> Candidate:
        """Export the edit into `out` (`pipeline.export.candidate`)."""
        whole = export(self.base, self.made, out, lasting=not self.served_alone)
        return replace(whole, memory=None, adapter=None) if self.served_alone else whole


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint that was edited elsewhere."""

    path: Path
    """Directory of the checkpoint."""
    digest: str
    """Digest of its weight files."""
    edited: tuple[str, ...] = ()
    """Names of the edited parameters, if known; the size of their change is then measured."""

    @classmethod
    def at(cls, path: Path) -> ForeignCheckpoint:
        """The checkpoint in a directory. Raises ModelError where it has no weights."""
        names = model_files(path).weights
        return cls(path, digest_of({name: file_digest(path / name) for name in names}))

    def candidate(self, out: Path) -> Candidate:
        """The checkpoint itself; nothing is exported."""
        return Candidate(served=ServedModel(name="candidate", path=self.path), edited=self.edited)
