"""The nine stages by name, and how the output of any of them is made or found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.execution.runner import Runner
from infra.storage.artifact import Artifact
from infra.storage.identity import identity_of
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace

STAGES = ("crawl", "snapshot", "diff", "probe", "plan", "edit", "evaluate", "gate", "release")

CODE: dict[str, int] = {
    **dict.fromkeys(STAGES, 1),
    **{"crawl": 2, "snapshot": 2, "diff": 2, "probe": 3, "plan": 3},
    **{"evaluate": 2, "gate": 2, "release": 3},
}
"""Version of each stage's code; counts up when it makes something else of the same input."""

Stage = Callable[[Any, StageDir, Runner], Mapping[str, Any]]
"""A stage: from its frozen inputs to files in a directory, and counts for the record."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Where the outputs of stages go, who computes them, and who is told."""

    workspace: Workspace
    runner: Runner
    stamp: Mapping[str, Any] | None = None
    """Additions to every record: commit, hardware."""
    restart: bool = False
    """Whether what an unfinished stage has finished so far is discarded. Statistics and values are
    kept by content, and found all the same."""
    begin: Callable[[str, str], None] = lambda stage, version: None
    """Called with stage and version as each stage begins."""
    end: Callable[[Artifact], None] = lambda artifact: None
    """Called with each output, made or found."""

    def make(
        self, stage: Stage, version: str, inputs: Any, *, volatile: Sequence[str] = ()
    ) -> Artifact:
        """The output of one stage, made or found: its fingerprint and its call are the same value.

        `volatile` names files that are no part of the output's digest. Raises StageError where
        something else has been made under this version.
        """
        name = stage.__name__
        self.begin(name, version)
        artifact = self.workspace.run_stage(
            name,
            version,
            code=CODE[name],
            made_from=identity_of(inputs),
            body=lambda out: stage(inputs, out, self.runner),
            replace=self.may_replace(version),
            restart=self.restart,
            stamp=self.stamp,
            volatile=volatile,
        )
        self.end(artifact)
        return artifact

    def may_replace(self, version: str) -> bool:
        """Whether an output made from other inputs is discarded instead of refused."""
        return False
