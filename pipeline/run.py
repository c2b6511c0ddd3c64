"""The settings of a run, which its editions share, and the versions of attempts at an edition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import RETRY, Config
from pipeline.preflight.preflight import Preflight
from pipeline.stages import FOLLOWS_PARENT, Stages

ATTEMPTED = ("edit", "evaluate", "gate")
"""Stages that run a second time if the gate names culprits, or edits that the weights have no room
for."""


@dataclass(frozen=True, kw_only=True)
class Run(Stages):
    """The settings and the workspace that all editions of one run share."""

    config: Config
    config_dir: Path
    """Directory of the config file; relative paths in the config begin there."""
    checking: Callable[[], None] = lambda: None
    """Called as the preflight of the base model begins, unless the model has passed before."""
    checked: Callable[[Preflight], None] = lambda preflight: None
    """Called with what the preflight of the base model found, before the first stage."""
    start: str | None = None
    """The release that the first edition without one of its own follows, instead of the one in
    production; `pipeline.lineage.BASE` for none."""
    parent: str | None = None
    """The release that the present edition follows."""
    replace: bool = False
    """Whether an unreleased output that was made from other inputs is discarded; if not, it is an
    error."""

    def stamp_of(self, stage: str) -> Mapping[str, Any]:
        """The run's own stamp, the line and, where it matters, the release that is followed."""
        parent = {"parent": self.parent} if stage in FOLLOWS_PARENT else {}
        return {**(self.stamp or {}), "line": self.config.line, **parent}

    def fixed_by(self, stage: str, version: str) -> tuple[str, str] | None:
        """The release of the edition."""
        return None if stage == "release" else ("release", edition_of(version))

    def why_outdated(self, found: Artifact, differing: Collection[str]) -> str | None:
        """That it was made before it was settled which release the edition follows; None where it
        follows the same one, or other inputs differ too."""
        record = found.record
        follows = FOLLOWS_PARENT.get(record["stage"], frozenset())
        if record.get("parent", self.parent) == self.parent or not follows.issuperset(differing):
            return None
        before, now = (v or "the unedited model" for v in (record["parent"], self.parent))
        return f"made anew: the edition followed {before} when it was made, and now follows {now}"

    def may_replace(self, version: str) -> bool:
        """Whether outputs of this version may be discarded; never those of a released edition."""
        return (
            self.replace and not self.workspace.directory("release", edition_of(version)).exists()
        )

    def may_remake(self, version: str) -> bool:
        """Whether a damaged output of this version is made anew; never that of a release."""
        return not self.workspace.directory("release", edition_of(version)).exists()


def attempts_at(workspace: Workspace, edition: str) -> list[str]:
    """Versions of the attempts at an edition, the first one first.

    There is a second attempt only if the gate of the first named culprits, or edits that the
    weights have no room for; leftovers of an interrupted run do not count.
    """
    first = workspace.find("gate", edition)
    again = first is not None and bool(first.counts["culprits"] or first.counts.get("moved"))
    return [edition, f"{edition}{RETRY}"] if again else [edition]


def plan_of(workspace: Workspace, edition: str) -> Artifact | None:
    """The plan that the last attempt at an edition has carried out; None where there is none.

    A second attempt has a plan of its own where the gate of the first named edits that the weights
    have no room for.
    """
    plans = (workspace.find("plan", name) for name in attempts_at(workspace, edition))
    return [None, *filter(None, plans)][-1]


def edition_of(version: str) -> str:
    """The edition of an output's version; both attempts at an edition have the same one."""
    return version.removesuffix(RETRY)
