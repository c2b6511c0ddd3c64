"""Stages 6 to 8 of one edition, edit, evaluate and gate, which may run twice.

A batch that fails its gate is searched for culprits, by the same solve and the same judgement on
parts of it; without them it is attempted once more.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from discovery.facts.tables import from_table
from discovery.relations.relation import Relation
from discovery.trust.backlog import HeldChange, read_held
from infra.files.digest import digest_of, file_digest
from infra.lm.inference import ServedModel
from infra.models.loading import ModelRef
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.edit.config import text_path
from pipeline.edit.output import REPORTS
from pipeline.edit.stage import edit
from pipeline.evaluate.capability.tasks import read_tasks
from pipeline.evaluate.config import read_text
from pipeline.evaluate.output import FACTS, REPORT, Report
from pipeline.evaluate.plan_cases import cases_of_plan
from pipeline.evaluate.stage import evaluate
from pipeline.export.candidate import export
from pipeline.gate.checks import CHECKS
from pipeline.gate.culprits import find_culprits
from pipeline.gate.output import GATE
from pipeline.gate.stage import gate
from pipeline.lineage import ancestors
from pipeline.plan.edits import Neighbour, PlannedEdit, Refusal, Removal
from pipeline.plan.fact_sheet import SHEET, SheetRow
from pipeline.plan.output import HELD, PRESERVED
from pipeline.plan.triage import as_refusals
from pipeline.release.output import as_released
from pipeline.release.pages.page import PAGE, PageInputs, render_page
from pipeline.run import RETRY, Run


@dataclass(frozen=True)
class Attempt:
    """One solve of an edition's edits, and what came of it."""

    edit: Artifact
    evaluate: Artifact
    gate: Artifact
    quarantined: dict[str, str]
    """Reason by id, of edits that were refused or set aside."""


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """What an edition is to hold, and all that solving and judging it needs."""

    run: Run
    version: str
    as_of: str
    base: ModelRef
    parent: Artifact | None
    """The release that is served now."""
    snapshot: Artifact
    plan: Artifact
    relations: Mapping[str, Relation]

    @cached_property
    def edits(self) -> list[PlannedEdit]:
        return from_table(self.plan.table("edits.parquet"), PlannedEdit)

    @cached_property
    def removals(self) -> list[Removal]:
        return from_table(self.plan.table("removals.parquet"), Removal)

    @cached_property
    def refusals(self) -> list[Refusal]:
        return from_table(self.plan.table("refusals.parquet"), Refusal)

    @cached_property
    def held(self) -> list[HeldChange]:
        """Changes that wait for a later edition."""
        return read_held(self.plan.table(HELD))

    @cached_property
    def sheet(self) -> list[SheetRow]:
        return from_table(self.plan.table(SHEET), SheetRow)

    @cached_property
    def neighbours(self) -> list[Neighbour]:
        return from_table(self.plan.table("neighbours.parquet"), Neighbour)

    @cached_property
    def preserved(self) -> list[str]:
        """Statements about other subjects that the editor is told to leave alone."""
        return self.plan.json(PRESERVED)

    @cached_property
    def history(self) -> list[tuple[str, Report]]:
        """Versions and reports of the releases before, oldest first."""
        return ancestors(self.run.workspace, self.parent)

    def attempts(self) -> Generator[Artifact, None, Attempt]:
        """Edit, evaluate and gate, each output as it is finished; again without culprits if any."""
        final = yield from self.attempt(self.version, self.edits, {})
        culprits: Mapping[str, str] = final.gate.counts["culprits"]
        if culprits:
            rest = [edit for edit in self.edits if edit.id not in culprits]
            searched = final.gate.json(GATE)["search"]
            final = yield from self.attempt(f"{self.version}{RETRY}", rest, culprits, searched)
        return final

    def attempt(
        self,
        name: str,
        chosen: Sequence[PlannedEdit],
        set_aside: Mapping[str, str],
        searched: Mapping[str, Any] | None = None,
    ) -> Generator[Artifact, None, Attempt]:
        """Some of the plan's edits under a name. What is left by a search is not searched again."""
        config, compute = self.run.config, self.run.config.model.compute
        aside = {"set_aside": digest_of(dict(set_aside))} if set_aside else {}
        tasks = read_tasks(config.evaluate.capability, config.evaluate.capability_limit)
        asked = {"tasks": digest_of([task.label for task in tasks])} if tasks else {}
        edited = self.run.stage(
            "edit",
            name,
            inputs={
                "plan": self.plan,
                "base": self.base.digest,
                "text": file_digest(text_path(config.edit)),
                **aside,
            },
            config={
                **config.edit.model_dump(exclude={"text"}),
                "dtype": compute.dtype,
                "device": compute.device,
            },
            body=lambda out: self.solve(chosen, out),
        )
        yield edited
        reports = edited.table(REPORTS).to_pylist()
        refused = {r["id"]: r["reason"] for r in reports if r["status"] == "quarantined"}
        evaluated = self.run.stage(
            "evaluate",
            name,
            inputs={
                "plan": self.plan,
                "edit": edited,
                "text": digest_of(read_text(config.evaluate)),
                "base": self.base.digest,
                "parent": self.parent.digest if self.parent else "",
                **asked,
            },
            config={**config.evaluate.model_dump(exclude={"text"}), **asdict(compute)},
            body=lambda out: self.judge(chosen, edited.path, out),
        )
        yield evaluated
        quarantined = {**refused, **set_aside}

        def judged(out: StageDir) -> dict[str, Any]:
            """The gate stage; a candidate that it stops has its page there."""
            left = [edit for edit in chosen if edit.id not in refused]
            hardness = {r["id"]: r["p_target"] for r in reports}
            verdict = gate(
                evaluated.json(REPORT),
                num_planned=len(self.edits),
                num_quarantined=len(quarantined),
                config=config.gate,
                history=self.history,
                find=None if searched else partial(self.search, left, hardness, out),
                searched=searched,
                out=out,
            )
            if not verdict["passed"]:
                page = self.page_of(evaluated, out.read_json(GATE), quarantined)
                (out.path / PAGE).write_text(render_page(page), encoding="utf-8")
            return verdict

        gated = self.run.stage(
            "gate",
            name,
            inputs={"evaluate": evaluated, "edit": edited},
            config=config.gate.model_dump(),
            body=judged,
        )
        yield gated
        return Attempt(edited, evaluated, gated, quarantined)

    def solve(self, chosen: Sequence[PlannedEdit], out: StageDir) -> dict[str, Any]:
        """The edit stage on some of the edits."""
        config, compute = self.run.config, self.run.config.model.compute
        return edit(
            chosen,
            self.preserved,
            base=self.base,
            config=config.edit,
            device=compute.device,
            dtype=compute.dtype,
            cache=self.run.workspace.root / "cache",
            out=out,
            runner=self.run.runner,
        )

    def judge(
        self,
        chosen: Sequence[PlannedEdit],
        made: Path,
        out: StageDir,
        failed: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The evaluate stage on what `solve` made of some edits in a directory.

        A probe asks no more than the checks that failed need to know, and nothing that is not of
        its edits' making.
        """
        config, compute = self.run.config, self.run.config.model.compute
        settings = config.evaluate
        candidate = export(self.base, made, out.path)
        if failed is not None:
            candidate = replace(candidate, memory=None, adapter=None)
            needed = {CHECKS[name][0] for name in failed}
            metrics = tuple(name for name in settings.metrics if name in needed)
            settings = settings.model_copy(update={"metrics": metrics, "capability": ()})
        cases = cases_of_plan(
            config.line,
            chosen,
            self.removals if failed is None else (),
            self.neighbours,
            num_alternatives=settings.num_alternatives,
        )
        serving = self.parent if failed is None else None
        return evaluate(
            cases,
            base=ServedModel(name="base", path=self.base.path),
            parent=as_released(serving, "parent") if serving else None,
            candidate=candidate,
            seen=[*(edit.prompt for edit in chosen), *self.preserved],
            config=settings,
            compute=compute,
            out=out,
            runner=self.run.runner,
        )

    def search(
        self,
        edits: Sequence[PlannedEdit],
        p_targets: Mapping[str, float | None],
        out: StageDir,
        failed: Sequence[str],
    ) -> Any:
        """Which of the edits make these checks fail."""
        return find_culprits(
            edits,
            p_targets,
            failed,
            solve=self.solve,
            judge=partial(self.judge, failed=failed),
            config=self.run.config.gate,
            out=out,
        )

    def page(self, attempt: Attempt) -> PageInputs:
        """What the page of an attempt tells."""
        return self.page_of(attempt.evaluate, attempt.gate.json(GATE), attempt.quarantined)

    def page_of(
        self, evaluated: Artifact, verdict: Mapping[str, Any], quarantined: Mapping[str, str]
    ) -> PageInputs:
        """The same before the gate's output is finished."""
        return PageInputs(
            version=self.version,
            line=self.run.config.line,
            parent=self.parent.record["version"] if self.parent else None,
            as_of=self.as_of,
            report=evaluated.json(REPORT),
            gate=verdict,
            facts=evaluated.table(FACTS).to_pylist(),
            quarantined=[(e, quarantined[e.id]) for e in self.edits if e.id in quarantined],
            refusals=[*self.refusals, *as_refusals(self.held)],
            search=verdict["search"],
            history=self.history,
            relations={key: relation.label for key, relation in self.relations.items()},
            provenance={
                "base": self.base.name,
                "base digest": self.base.digest,
                "editor": self.run.config.edit.editor,
                "plan": self.plan.counts["plan_hash"],
                "snapshot": self.snapshot.digest,
                "evaluation": evaluated.digest,
                "commit": evaluated.record.get("commit"),
            },
        )
