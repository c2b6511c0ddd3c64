"""What the editions of one run share, and the attempts at an edition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.storage.workspace import Workspace
from pipeline.config import Config
from pipeline.stages import Stages

ATTEMPTED = ("edit", "evaluate", "gate")
RETRY = "-without-culprits"
"""Behind the version, of what is attempted again without the edits that failed the gate."""


@dataclass(frozen=True, kw_only=True)
class Run(Stages):
    """What all editions of one run share."""

    config: Config
    config_dir: Path
    replace: bool = False
    """Whether unreleased output made from other inputs is discarded instead of refused."""

    def may_replace(self, version: str) -> bool:
        return self.replace and not self.workspace.find("release", edition_of(version))


def attempts_at(workspace: Workspace, edition: str) -> list[str]:
    """Versions of the attempts at an edition; there is a second where the first one's gate named
    culprits, and what an earlier run left of one is none."""
    first = workspace.find("gate", edition)
    again = first is not None and bool(first.counts["culprits"])
    return [edition, f"{edition}{RETRY}"] if again else [edition]


def edition_of(version: str) -> str:
    """The edition that an output belongs to, whichever attempt at it it is of."""
    return version.removesuffix(RETRY)
