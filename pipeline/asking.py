"""Stage 4 of one edition: judge what came in, and ask the model about what may be planned.

Asked is the model as it is served now; about facts that it was edited for, the unedited one too: an
edit that goes leaves behind what the base believes, and if that is right no new edit is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from discovery.facts.change import Change
from discovery.facts.tables import from_table
from discovery.probe.beliefs.verdicts import probe
from discovery.probe.intake import Earlier, Intake, Policy, rater, reader, take_in
from discovery.probe.output import UNEDITED
from discovery.probe.property_labels import properties
from discovery.relations.relation import Relation
from discovery.trust.policy import standings
from infra.lm.inference import ServedModel
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, SHARDS, StageDir
from pipeline.config import Edition
from pipeline.lineage import left_by
from pipeline.plan.edits import PlannedEdit
from pipeline.release.output import as_released
from pipeline.run import Run


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The body of the stage."""

    run: Run
    edition: Edition
    relations: Mapping[str, Relation]
    snapshot: Artifact
    changed: Artifact
    """The diff."""
    parent: Artifact | None
    live: Sequence[PlannedEdit]
    base: ModelRef

    @cached_property
    def earlier(self) -> Earlier:
        return left_by(self.run.workspace, self.parent)

    @cached_property
    def unchanged(self) -> list[Change]:
        """The diff's facts that hold as before."""
        found = from_table(self.changed.table("changes.parquet"), Change)
        return [change for change in found if change.kind == "keep"]

    def __call__(self, out: StageDir) -> dict[str, Any]:
        """Write the intake and the verdicts; counts of both.

        The probe gets what did not change, too: it is what its confidence can be measured on.
        """
        live = frozenset((edit.subject, edit.relation) for edit in self.live)
        intake = self.take_in(live)
        counts = intake.write(out)
        chosen = set(intake.asked)
        asked = [change for change in intake.changes if change.id in chosen]
        unchanged = [change for change in intake.changes if change.kind == "keep"]
        unedited = ServedModel(name="base", path=self.base.path)
        serving = as_released(self.parent, "parent") if self.parent else unedited
        counts |= self.put([*asked, *unchanged], serving, out)
        known = [c for c in asked if (c.subject, c.relation) in live]
        if known:
            inner = StageDir(out.path / UNEDITED)
            self.put(known, unedited, inner)
            shutil.rmtree(inner.path / SHARDS, ignore_errors=True)
            (inner.path / PROGRESS).unlink(missing_ok=True)
        return counts

    def take_in(self, live: frozenset[tuple[str, str]]) -> Intake:
        """The edition's changes, judged."""
        config = self.run.config
        trust = self.edition.trusting(config.trust)
        known = standings(config.sources, trust)
        return take_in(
            from_table(self.changed.table("changes.parquet"), Change),
            self.earlier,
            reader(self.snapshot, self.relations),
            self.relations,
            as_of=self.edition.as_of,
            live=live,
            policy=Policy(
                trust=trust,
                route=config.route,
                standings=known,
                max_asked=config.probe.max_changes,
            ),
            rate=rater(trust, known, self.run.runner.rate_limit()),
        )

    def put(
        self,
        changes: Sequence[Change],
        served: ServedModel,
        out: StageDir,
    ) -> dict[str, Any]:
        """Put changes to a model, and what has not changed too, as far as it is wanted to know how
        far verdicts can be relied on."""
        return probe(
            [*changes, *self.unchanged],
            self.relations,
            as_of_date=self.edition.as_of,
            named=properties(self.snapshot, {change.relation for change in changes}),
            served=served,
            config=self.run.config.probe,
            compute=self.run.config.model.compute,
            out=out,
            runner=self.run.runner,
        )
