"""What a run would make: its editions, what of them is finished, and how many facts they touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from infra.errors import StageError
from infra.storage.workspace import Workspace
from pipeline.config import Config
from pipeline.lineage import Parent
from pipeline.release.alias import Alias
from pipeline.release.production import parent_of
from pipeline.stages import STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class EditionCheck:
    """What is known of one edition."""

    version: str
    as_of: date
    parent: str | None
    """The release that it follows: one that there is, or the edition before; None for the first
    of its line."""
    finished: tuple[str, ...]
    """Stages whose output there is. It is used where the settings are still the same."""
    max_asked: int
    """Facts that the model is asked about, at most."""
    max_edits: int
    """New facts that are edited, at most."""
    teaches: bool
    """Whether facts are taught that the model does not know."""

    @property
    def released(self) -> bool:
        """Whether there is nothing left to do."""
        return "release" in self.finished


@dataclass(frozen=True, slots=True, kw_only=True)
class EditionsCheck:
    """What is known of all editions of a config."""

    editions: tuple[EditionCheck, ...]
    workspace: str
    stops: tuple[str, ...] = ()


def next_day(config: Config, workspace: Workspace) -> date:
    """The day of the first edition that is not released; of the last where all are."""
    open_ones = [e for e in config.editions if workspace.find("release", e.version) is None]
    return (open_ones or config.editions[-1:])[0].as_of


def check_editions(
    config: Config, workspace: Workspace, num_facts: Sequence[int] | None
) -> EditionsCheck:
    """The editions of a config, as the workspace has them.

    num_facts  facts in each source; None where they are not known without a crawl
    """
    alias = Alias(workspace, config.line)
    known = None if num_facts is None else sum(num_facts)
    found: list[EditionCheck] = []
    stops: list[str] = []
    for edition in config.editions:
        version = edition.version
        parent = found[-1].version if found else None
        if not found or found[-1].released:
            try:
                follows = parent_of(workspace, alias, version)
                parent = Parent.of(workspace, config.line, follows).version
            except StageError as error:
                parent = None
                stops.append(str(error))
        asked = config.probe.max_changes if known is None else min(config.probe.max_changes, known)
        plan = edition.policy(config.plan)
        found.append(
            EditionCheck(
                version=version,
                as_of=edition.as_of,
                parent=parent,
                finished=tuple(s for s in STAGES if workspace.find(s, version)),
                max_asked=asked + (config.probe.max_unchanged if parent else 0),
                max_edits=min(plan.max_edits, asked),
                teaches=plan.teach_unknown,
            )
        )
    return EditionsCheck(
        editions=tuple(found), workspace=workspace.address, stops=tuple(dict.fromkeys(stops))
    )
