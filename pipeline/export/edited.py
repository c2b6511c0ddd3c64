"""Edited models that can be judged: what our edit stage made, or a checkpoint edited by others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from infra.files.digest import digest_of, file_digest
from infra.lm.inference import ServedModel
from infra.models.loading import ModelRef
from pipeline.export.candidate import Candidate, export


class Edited(Protocol):
    """An edited model, by whomever."""

    @property
    def digest(self) -> str:
        """Identity of the edit."""
        ...

    def candidate(self, out: Path) -> Candidate:
        """The model to be judged; what has to be exported for it goes into `out`."""
        ...


@dataclass(frozen=True)
class EditedModel:
    """What the edit stage made of a base."""

    base: ModelRef
    made: Path
    """Directory of the edit stage's output."""
    digest: str
    served_alone: bool = False
    """Whether only the checkpoint is judged, and not whether the exports agree with the editor's
    own model."""

    def candidate(self, out: Path) -> Candidate:
        """Exported into `out` (`pipeline.export.candidate`)."""
        whole = export(self.base, self.made, out)
        return replace(whole, memory=None, adapter=None) if self.served_alone else whole


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint that is edited already, by anyone."""

    path: Path
    digest: str
    """Of its weights."""
    edited: tuple[str, ...] = ()
    """Names of the parameters that were edited, where that is known: their change is measured."""

    @classmethod
    def at(cls, path: Path) -> ForeignCheckpoint:
        """The checkpoint of a directory."""
        files = sorted(path.glob("*.safetensors"))
        return cls(path, digest_of({file.name: file_digest(file) for file in files}))

    def candidate(self, out: Path) -> Candidate:
        """The checkpoint itself; nothing is exported."""
        return Candidate(served=ServedModel(name="candidate", path=self.path), edited=self.edited)
