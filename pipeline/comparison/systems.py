"""Any model on any edit set, outside of a release: the unedited base, the base with the fact in its
prompt, editors of ours, and checkpoints edited by others, all asked the same.

Every system is one edit and one evaluate output in a workspace, found again when asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.errors import ConfigError
from infra.execution.runner import Runner
from infra.files.digest import digest_of, file_digest
from infra.lm.inference import Compute, ServedModel
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace
from pipeline.edit.config import EditConfig, text_path
from pipeline.edit.output import REPORTS
from pipeline.edit.stage import edit
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.export.candidate import Candidate, export


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


@dataclass(frozen=True)
class Comparison:
    """What all systems of one call share."""

    cases: CaseSet
    base: ModelRef
    config: EvaluateConfig
    compute: Compute
    workspace: Workspace
    runner: Runner
    preserved: Sequence[str] = ()
    """Statements about other subjects that editors are told to leave alone."""
    begin: Callable[[str, str], None] = lambda stage, version: None
    """Called with stage and version as each output is begun."""
    end: Callable[[Artifact], None] = lambda artifact: None
    """Called with each output, made or found."""

    def run(self, system: System) -> Artifact:
        """The evaluation of one system; `report.json` has the base's numbers beside its own."""
        version = self._version(system)
        inputs = {"cases": self.cases.digest, "base": self.base.digest}
        made = self._edited(system.edit, version, inputs) if system.edit else None
        checkpoint = system.checkpoint
        if checkpoint:
            inputs["checkpoint"] = digest_of(
                {f.name: file_digest(f) for f in sorted(checkpoint.glob("*.safetensors"))}
            )

        def judge(out: StageDir) -> Mapping[str, Any]:
            return evaluate(
                self.cases,
                base=ServedModel(name="base", path=self.base.path),
                parent=None,
                candidate=(
                    export(self.base, made.path, out.path)
                    if made
                    else Candidate(served=ServedModel(name="candidate", path=checkpoint or Path()))
                ),
                seen=[*(case.prompt for case in self.cases.cases), *self.preserved] if made else (),
                config=self.config,
                compute=self.compute,
                out=out,
                runner=self.runner,
            )

        return self._stage(
            "evaluate",
            version,
            config={**self.config.model_dump(), **asdict(self.compute)},
            inputs={**inputs, "edit": made.digest if made else ""},
            body=judge,
        )

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

    def _stage(self, stage: str, version: str, **what: Any) -> Artifact:
        """An output of this edit set. Made from anything else than before, it is made anew."""
        self.begin(stage, version)
        made = self.workspace.run_stage(stage, version, code=1, replace=True, **what)
        self.end(made)
        return made

    def _edited(self, config: EditConfig, version: str, inputs: Mapping[str, str]) -> Artifact:
        return self._stage(
            "edit",
            version,
            config={
                **config.model_dump(exclude={"text"}),
                "dtype": self.compute.dtype,
                "device": self.compute.device,
            },
            inputs={
                **inputs,
                "text": file_digest(text_path(config)),
                "preserved": digest_of(list(self.preserved)),
            },
            body=lambda out: edit(
                self.cases.cases,
                self.preserved,
                base=self.base,
                config=config,
                device=self.compute.device,
                dtype=self.compute.dtype,
                cache=self.workspace.root / "cache",
                out=out,
                runner=self.runner,
            ),
        )
