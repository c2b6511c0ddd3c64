"""Any model on any edit set, outside of a release: the unedited base, the base with the fact in its
prompt, editors of ours, and checkpoints edited by others, all asked the same.

Every system is one edit and one evaluate output in a workspace, found again when asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.errors import ConfigError
from infra.lm.inference import Compute
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from pipeline.edit.config import EditConfig
from pipeline.edit.output import REPORTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.edited import Edited, EditedModel, ForeignCheckpoint
from pipeline.stages import Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A row of the table: an editor of ours, or a checkpoint that is edited already."""

    name: str
    """Names its outputs in the workspace."""
    edit: EditConfig | None = None
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if (self.edit is None) == (self.checkpoint is None):
            raise ConfigError(
                f"system {self.name}: give an editor or a checkpoint, one of the two."
            )


@dataclass(frozen=True, kw_only=True)
class Comparison(Stages):
    """What all systems of one call share."""

    cases: CaseSet
    base: ModelRef
    config: EvaluateConfig
    compute: Compute
    preserved: Sequence[str] = ()
    """Statements about other subjects that editors are told to leave alone."""
    suffix: str = ""
    """Behind the version of evaluations that ask something else than the table does, so that they
    lie beside the table's."""

    def run(self, system: System) -> Artifact:
        """The evaluation of one system; `report.json` has the base's numbers beside its own."""
        version = self._version(system)
        if system.edit:
            made = self.make(edit, version, self._edit_inputs(system.edit))
            edited: Edited = EditedModel(self.base, made.path, made.digest)
            seen = [*(case.prompt for case in self.cases.cases), *self.preserved]
        else:
            edited, seen = ForeignCheckpoint.at(system.checkpoint or Path()), []
        return self.make(
            evaluate,
            f"{version}{self.suffix}",
            EvaluateInputs(
                cases=self.cases,
                base=self.base,
                parent=None,
                edited=edited,
                seen=seen,
                config=self.config,
                compute=self.compute,
            ),
        )

    def may_replace(self, version: str) -> bool:
        """An output of an edit set that is made from anything else than before is made anew."""
        return True

    def seconds(self, system: System) -> float | None:
        """What the edit stage took; None for a checkpoint."""
        made = self.workspace.find("edit", self._version(system))
        return float(made.record["duration_s"]) if made else None

    def refused(self, system: System) -> dict[str, str]:
        """Reason by id, of what the editor did not carry out."""
        made = self.workspace.find("edit", self._version(system))
        rows = made.table(REPORTS).to_pylist() if made else []
        return {row["id"]: row["reason"] for row in rows if row["status"] != "edited"}

    def _version(self, system: System) -> str:
        digest = self.cases.digest[:8]
        return f"{self.cases.name}-{len(self.cases.cases)}-{digest}-{system.name}"

    def _edit_inputs(self, config: EditConfig) -> EditInputs:
        return EditInputs(
            edits=self.cases.cases,
            preserved=self.preserved,
            base=self.base,
            config=config,
            device=self.compute.device,
            dtype=self.compute.dtype,
            cache=self.workspace.root / "cache",
        )
