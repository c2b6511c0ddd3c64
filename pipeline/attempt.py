"""Stages 6 to 8 of one edition (edit, evaluate, gate), which may run twice.

If the gate fails, parts of the batch are edited and evaluated in the same way, to find the edits
that make it fail (culprits), or how many of them the weights hold. The batch is then attempted once
more, without the culprits, by a plan that keeps the facts over the capacity elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from discovery.relations.relation import Relation
from infra.files.digest import digest_of
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.config import RETRY
from pipeline.edit.output import REPORTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.evaluate.output import FACTS, REPORT, Report
from pipeline.evaluate.plan_cases import cases_of_plan
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.edited import EditedModel
from pipeline.gate.bisection import Search
from pipeline.gate.capacity_history import CapacityHistory, Measured, capacity_of
from pipeline.gate.checks import CHECKS
from pipeline.gate.culprits import find_culprits
from pipeline.gate.output import GATE
from pipeline.gate.stage import GateInputs, gate
from pipeline.lineage import ancestors
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.lanes import by_lane
from pipeline.plan.output import Plan
from pipeline.plan.stage import PlanInputs, plan
from pipeline.plan.triage import as_refusals
from pipeline.plan.wordings import relation_texts
from pipeline.release.manifest import editor_of
from pipeline.release.output import as_released
from pipeline.release.pages.page import PageInputs, render_page
from pipeline.run import Run


@dataclass(frozen=True)
class Attempt:
    """The outputs of edit, evaluate and gate for one set of edits."""

    planned: Artifact
    """Output of the plan stage that it carries out."""
    plan: Plan
    """The plan, read from its files."""
    edit: Artifact
    """Output of the edit stage."""
    evaluate: Artifact
    """Output of the evaluate stage."""
    gate: Artifact
    """Output of the gate stage."""
    quarantined: dict[str, str]
    """Edit id -> reason, for edits that the editor refused or the gate's search set aside."""
    page: PageInputs
    """Inputs of the report page."""


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """The plan of one edition, and what its editing, evaluation and gate need."""

    run: Run
    version: str
    """Version of the edition."""
    as_of: str
    """Day of the edition, an ISO date."""
    base: ModelRef
    """The unedited model."""
    parent: Artifact | None
    """The release that the new one follows; None before the first."""
    snapshot: Artifact
    """Output of the snapshot stage."""
    planned: Artifact
    """Output of the plan stage."""
    plan_inputs: PlanInputs
    """What it was made from."""
    capacity: CapacityHistory
    """What is known of the capacity of the weights; each gate adds to it."""
    relations: Mapping[str, Relation]

    @cached_property
    def plan(self) -> Plan:
        """The plan, read from its files."""
        return Plan.read(self.planned)

    @cached_property
    def history(self) -> list[tuple[str, Report]]:
        """Versions and evaluation reports of earlier releases, oldest first."""
        return ancestors(self.run.workspace, self.parent)

    def attempts(self) -> Generator[Artifact, None, Attempt]:
        """Yield each output of edit, evaluate and gate as it is finished; return the last attempt.

        If the gate names culprits, or edits that the weights have no room for, the three stages run
        a second time: without the former, and by a new plan for the latter.
        """
        first = yield from self.attempt(self.version, {})
        culprits: Mapping[str, str] = first.gate.counts["culprits"]
        if not culprits and not first.gate.counts["moved"]:
            return first
        name, searched = f"{self.version}{RETRY}", first.gate.json(GATE)["search"]
        again = self
        if measured := searched["capacity"]:
            found = Measured(
                version=self.version, passed=measured["passed"], failed=measured["failed"]
            )
            self.capacity.note(found)
            lanes = replace(self.plan_inputs.lanes, capacity=capacity_of([found]))
            set_aside = frozenset({*first.quarantined, *culprits})
            inputs = replace(self.plan_inputs, lanes=lanes, set_aside=set_aside)
            again = replace(self, planned=self.run.make(plan, name, inputs))
            yield again.planned
        return (yield from again.attempt(name, culprits, searched))

    def attempt(
        self,
        name: str,
        set_aside: Mapping[str, str],
        searched: Mapping[str, Any] | None = None,
    ) -> Generator[Artifact, None, Attempt]:
        """Edit, evaluate and gate the plan's edits; yield each output, return the attempt.

        name       version of the outputs
        set_aside  edit id -> reason, for culprits that are left out
        searched   record of the search that found them; a batch that has one is not searched again
        """
        edits = [edit for edit in self.plan.edits if edit.id not in set_aside]
        edited = self.run.make(edit, name, self.edit_inputs(edits))
        yield edited
        reports = edited.table(REPORTS).to_pylist()
        refused = {r["id"]: r["reason"] for r in reports if r["status"] == "quarantined"}
        quarantined = {**refused, **set_aside}
        identity = digest_of([edited.digest, self.base.hub_id])  # the adapter names the base
        made = EditedModel(self.base, edited.path, identity)
        evaluated = self.run.make(evaluate, name, self.evaluate_inputs(edits, made))
        yield evaluated
        left = [planned for planned in edits if planned.id not in refused]
        hardness = {r["id"]: r["p_target"] for r in reports}
        gated = self.run.make(
            gate,
            name,
            GateInputs(
                report=evaluated.json(REPORT),
                num_planned=len(self.plan.edits),
                num_quarantined=len(quarantined),
                config=self.run.config.gate,
                history=self.history,
                searched=searched,
                find=None if searched else partial(self.search, left, hardness),
                explain=lambda verdict: render_page(self.page_of(evaluated, verdict, quarantined)),
            ),
        )
        in_weights = sum(planned.lane == "weights" for planned in left)
        if gated.counts["passed"] and in_weights:
            self.capacity.note(Measured(version=name, passed=in_weights))
        yield gated
        page = self.page_of(evaluated, gated.json(GATE), quarantined)
        return Attempt(self.planned, self.plan, edited, evaluated, gated, quarantined, page)

    def edit_inputs(self, edits: Sequence[PlannedEdit]) -> EditInputs:
        """Inputs of the edit stage for some of the edits."""
        config, compute = self.run.config.edit, self.run.config.model.compute
        second = {planned.id for planned in edits if planned.lane == "beside" and config.over}
        return EditInputs(
            edits=edits,
            beside=frozenset(second),
            preserved=self.plan.preserved,
            relations=relation_texts(self.relations),
            base=self.base,
            config=config,
            device=compute.device,
            dtype=compute.dtype,
            cache=self.run.workspace.root / "cache",
        )

    def evaluate_inputs(
        self,
        edits: Sequence[PlannedEdit],
        made: EditedModel,
        failed: Sequence[str] | None = None,
    ) -> EvaluateInputs:
        """Inputs of the evaluate stage for a model that holds some of the edits.

        `failed` is given for a trial of the search for culprits: names of the gate's checks that
        the whole batch failed. Only their metrics are then measured, and removals, capability tasks
        and the parent release are left out.
        """
        settings = self.run.config.evaluate
        if failed is not None:
            needed = {CHECKS[name][0] for name in failed}
            metrics = tuple(name for name in settings.metrics if name in needed)
            settings = settings.model_copy(update={"metrics": metrics, "capability": ()})
        serving = self.parent if failed is None else None
        return EvaluateInputs(
            cases=cases_of_plan(
                self.run.config.line,
                edits,
                self.plan.removals if failed is None else (),
                self.plan.neighbours,
                num_alternatives=settings.num_alternatives,
            ),
            base=self.base,
            parent=as_released(serving, "parent") if serving else None,
            edited=made,
            seen=[*(prompt for planned in edits for prompt in planned.seen), *self.plan.preserved],
            lanes=by_lane([*edits, *self.plan.full]) if failed is None else {},
            config=settings,
            compute=self.run.config.model.compute,
            system=self.run.config.serve.system,
        )

    def search(
        self,
        edits: Sequence[PlannedEdit],
        p_targets: Mapping[str, float | None],
        failed: Sequence[str],
        out: StageDir,
    ) -> Search:
        """Find the edits that make the checks named `failed` fail.

        p_targets  edit id -> probability of the target after the editor's optimisation; edits with
                   a low one are tried first
        out        directory of the gate stage, where finished trials are kept
        """

        def solve(part: Sequence[PlannedEdit], place: StageDir) -> object:
            return edit(self.edit_inputs(part), place, self.run.runner)

        def judge(part: Sequence[PlannedEdit], solved: Path, place: StageDir) -> object:
            made = EditedModel(self.base, solved, digest="unfinished", served_alone=True)
            return evaluate(self.evaluate_inputs(part, made, failed), place, self.run.runner)

        return find_culprits(
            edits,
            p_targets,
            failed,
            solve=solve,
            judge=judge,
            config=self.run.config.gate,
            out=out,
        )

    def page_of(
        self, evaluated: Artifact, verdict: Mapping[str, Any], quarantined: Mapping[str, str]
    ) -> PageInputs:
        """Inputs of the report page; usable before the gate's output is finished.

        verdict      the content of `gate.json`
        quarantined  edit id -> reason
        """
        editor = editor_of(self.run.config.edit, self.plan.edits)
        over = editor.get("over", {}).get("name")
        return PageInputs(
            version=self.version,
            line=self.run.config.line,
            parent=self.parent.record["version"] if self.parent else None,
            as_of=self.as_of,
            report=evaluated.json(REPORT),
            gate=verdict,
            facts=evaluated.table(FACTS).to_pylist(),
            quarantined=[(e, quarantined[e.id]) for e in self.plan.edits if e.id in quarantined],
            refusals=[*self.plan.refusals, *as_refusals(self.plan.held)],
            search=verdict["search"],
            history=self.history,
            relations={key: relation.label for key, relation in self.relations.items()},
            provenance={
                "base": self.base.public_name,
                "base digest": self.base.digest,
                "editor": " and ".join(name for name in (editor["name"], over) if name),
                "plan": self.planned.counts["plan_hash"],
                "snapshot": self.snapshot.digest,
                "evaluation": evaluated.digest,
                "commit": evaluated.record.get("commit"),
            },
        )
