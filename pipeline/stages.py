"""The nine stages by name, and how a stage's output is made, or reused if it exists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.execution.runner import Runner
from infra.storage.artifact import Artifact
from infra.storage.identity import identity_of
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace

STAGES = ("crawl", "snapshot", "diff", "probe", "plan", "edit", "evaluate", "gate", "release")
"""Names of the stages, in their order."""

CODE: dict[str, int] = {
    **dict.fromkeys(STAGES, 1),
    **{"crawl": 2, "snapshot": 2, "diff": 3, "probe": 4, "plan": 6},
    **{"edit": 2, "evaluate": 3, "gate": 3, "release": 4},
}
"""Version of each stage's code; raised when the same inputs give another output than before."""

FOLLOWS_PARENT: dict[str, frozenset[str]] = {
    "diff": frozenset({"old"}),
    "probe": frozenset({"diff", "earlier", "live", "serving"}),
    "plan": frozenset({"parent", "diff", "probe", "history", "live", "aside", "full", "sheet"}),
    "edit": frozenset({"edits", "preserved"}),
    "evaluate": frozenset({"cases", "parent", "edited", "seen"}),
    "gate": frozenset({"report", "num_planned", "num_quarantined", "history", "searched"}),
}
"""Stage -> its inputs that come from the release before, which is settled late: directly, or
through a stage before. All others are settings, or what the sources say."""

Stage = Callable[[Any, StageDir, Runner], Mapping[str, Any]]
"""A stage: takes its frozen inputs, a directory and a runner; writes files into the directory and
returns counts for the record."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Where stages write their outputs, what runs them, and what is called as they begin or end."""

    workspace: Workspace
    runner: Runner
    stamp: Mapping[str, Any] | None = None
    """Added to every record, without effect on its identity: commit, runner."""
    restart: bool = False
    """Whether the partial output of an interrupted stage is discarded. The editor's statistics and
    values are cached by content outside of it, and are reused all the same."""
    begin: Callable[[str, str], None] = lambda stage, version: None
    """Called with the stage's name and the version as each stage begins."""
    tell: Callable[[str], None] = lambda line: None
    """Called with a line on what a user should know, such as an output that is made anew."""
    end: Callable[[Artifact], None] = lambda artifact: None
    """Called with each output, new or reused."""

    def make(
        self, stage: Stage, version: str, inputs: Any, *, volatile: Sequence[str] = ()
    ) -> Artifact:
        """The output of one stage, new or reused.

        An output is reused if it was made from the same inputs by the same version of the stage's
        code. `volatile` names files that the output's digest leaves out. Raises StageError if this
        version exists already and may not be replaced: made from other inputs, or damaged.
        """
        name = stage.__name__
        self.begin(name, version)
        told: list[str] = []

        def outdated(found: Artifact, differing: Collection[str]) -> bool:
            why = self.why_outdated(found, differing)
            if why and not told:
                told.append(why)
                self.tell(why)
            return why is not None

        artifact = self.workspace.run_stage(
            name,
            version,
            code=CODE[name],
            made_from=identity_of(inputs),
            written=identity_of(inputs, written=True),
            body=lambda out: stage(inputs, out, self.runner),
            replace=self.may_replace(version),
            outdated=outdated,
            fixed_by=self.fixed_by(name, version),
            restart=self.restart,
            remake=self.tell if self.may_remake(version) else None,
            stamp=self.stamp_of(name),
            volatile=volatile,
        )
        self.end(artifact)
        return artifact

    def stamp_of(self, stage: str) -> Mapping[str, Any]:
        """What is added to the record of a stage's output, without effect on its identity."""
        return self.stamp or {}

    def fixed_by(self, stage: str, version: str) -> tuple[str, str] | None:
        """Stage and version of the output for which an output is used, and which fixes it once it
        is finished; None where nothing does."""
        return None

    def why_outdated(self, found: Artifact, differing: Collection[str]) -> str | None:
        """Why a finished output is made anew without being asked for; None where it is not.

        differing  names of the inputs that are others than those that it was made from
        """
        return None

    def may_replace(self, version: str) -> bool:
        """Whether an existing output made from other inputs is discarded; if not, it is refused."""
        return False

    def may_remake(self, version: str) -> bool:
        """Whether a damaged output is made anew from the same inputs; if not, it is an error."""
        return True
