"""Compares models on an edit set, without a release: the unedited base, the base with the fact in
its prompt, models edited by our editors, and checkpoints edited by other software. All are asked
the same questions.

Each system has one output of the stage edit and one of the stage evaluate in a workspace. A second
run of the same system finds them and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from discovery.relations.relation import Relation, load_relations
from infra.errors import ConfigError
from infra.lm.inference import Compute
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.names import as_path_part
from pipeline.edit.config import EditConfig
from pipeline.edit.output import REPORTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.edited import Edited, EditedModel, ForeignCheckpoint
from pipeline.plan.wordings import relation_texts
from pipeline.stages import Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of the comparison: either one of our editors, or a checkpoint that is already edited.

    Raises ConfigError unless exactly one of `edit` and `checkpoint` is given.
    """

    name: str
    """Name of the system; part of the version of its outputs in the workspace."""
    edit: EditConfig | None = None
    """The editor and its settings."""
    checkpoint: Path | None = None
    """Directory of the edited checkpoint."""

    def __post_init__(self) -> None:
        if (self.edit is None) == (self.checkpoint is None):
            raise ConfigError(
                f"system {self.name}: give an editor or a checkpoint, one of the two."
            )


@dataclass(frozen=True, kw_only=True)
class Comparison(Stages):
    """What all systems of one comparison have in common."""

    cases: CaseSet
    """The facts to edit, and the questions."""
    base: ModelRef
    """The unedited model."""
    config: EvaluateConfig
    """What is measured of each system."""
    compute: Compute
    """Device and precision of edits and answers."""
    preserved: Sequence[str] = ()
    """Statements about other subjects that editors are told to leave alone."""
    relations: Mapping[str, Relation] = field(default_factory=load_relations)
    """What prompts may be about."""
    suffix: str = ""
    """Appended to the version of the evaluation. It keeps evaluations with other questions apart
    from those of the comparison itself."""

    def run(self, system: System) -> Artifact:
        """Edit and evaluate one system. The returned evaluation's `report.json` has the numbers of
        the system and of the base."""
        version = self._version(system)
        if system.edit:
            made = self.make(edit, version, self._edit_inputs(system.edit))
            edited: Edited = EditedModel(self.base, made.path, made.digest)
            seen = [*(text for case in self.cases.cases for text in case.seen), *self.preserved]
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
        """True: outputs are replaced where their inputs have changed since they were made."""
        return True

    def edited(self, system: System) -> Artifact | None:
        """The output of the edit stage; None for a checkpoint, or before the edit has run."""
        return self.workspace.find("edit", self._version(system))

    def seconds(self, system: System) -> float | None:
        """Seconds that the edit stage took; None for a checkpoint, or before the edit has run."""
        made = self.edited(system)
        return float(made.record["duration_s"]) if made else None

    def refused(self, system: System) -> dict[str, str]:
        """The edits that the editor did not make: reason by case id."""
        made = self.edited(system)
        rows = made.table(REPORTS).to_pylist() if made else []
        return {row["id"]: row["reason"] for row in rows if row["status"] != "edited"}

    def _version(self, system: System) -> str:
        digest = self.cases.digest[:8]
        return f"{self.cases.name}-{len(self.cases.cases)}-{digest}-{as_path_part(system.name)}"

    def _edit_inputs(self, config: EditConfig) -> EditInputs:
        return EditInputs(
            edits=self.cases.cases,
            preserved=self.preserved,
            relations=relation_texts(self.relations),
            base=self.base,
            config=config,
            device=self.compute.device,
            dtype=self.compute.dtype,
            cache=self.workspace.root / "cache",
        )
