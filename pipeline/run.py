"""What the stages of a run share: where outputs go, who computes, how a stage is made or found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.execution.runner import Runner
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import Config

STAGES = ("crawl", "snapshot", "diff", "probe", "plan", "edit", "evaluate", "gate", "release")

CODE: dict[str, int] = {
    **dict.fromkeys(STAGES, 1),
    **{"crawl": 2, "snapshot": 2, "diff": 2, "probe": 3, "plan": 3},
    **{"evaluate": 2, "gate": 2, "release": 3},
}
"""Version of each stage's code; counts up when it makes something else of the same input."""

ATTEMPTED = ("edit", "evaluate", "gate")
RETRY = "-without-culprits"
"""Behind the version, of what is attempted again without the edits that failed the gate."""


@dataclass(frozen=True)
class Run:
    """What all editions of one run share."""

    config: Config
    config_dir: Path
    workspace: Workspace
    runner: Runner
    replace: bool = False
    """Whether unreleased output made from other inputs is discarded instead of refused."""
    restart: bool = False
    """Whether what an unfinished stage has finished so far is discarded. Statistics and values are
    kept by content, and found all the same."""
    stamp: Mapping[str, Any] | None = None
    """Additions to every record: commit, hardware."""
    begin: Callable[[str, str], None] = lambda stage, version: None
    """Called with stage and version as each stage begins."""
    end: Callable[[Artifact], None] = lambda artifact: None
    """Called with each output, made or found."""

    def stage(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, Any],
        config: Any,
        body: Any,
        **more: Any,
    ) -> Artifact:
        """Make the output of one stage, or find it. Inputs are outputs (by digest) or digests."""
        self.begin(name, version)
        artifact = self.workspace.run_stage(
            name,
            version,
            code=CODE[name],
            config=config,
            inputs={k: v.digest if isinstance(v, Artifact) else v for k, v in inputs.items()},
            body=body,
            replace=self.replace and not self.workspace.find("release", edition_of(version)),
            restart=self.restart,
            stamp=self.stamp,
            **more,
        )
        self.end(artifact)
        return artifact


def attempts_at(workspace: Workspace, edition: str) -> list[str]:
    """Versions of the attempts at an edition; there is a second where the first one's gate named
    culprits, and what an earlier run left of one is none."""
    first = workspace.find("gate", edition)
    again = first is not None and bool(first.counts["culprits"])
    return [edition, f"{edition}{RETRY}"] if again else [edition]


def edition_of(version: str) -> str:
    """The edition that an output belongs to, whichever attempt at it it is of."""
    return version.removesuffix(RETRY)
