"""The nine stages in their order: one edition of the world in, one release out.

Each stage is a plain function from finished outputs to one new output; where it runs is the
runner's business. What is finished is found again and not made again, so the same command
continues after any interruption, and once more does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from discovery.crawl import VOLATILE, crawl, local_inputs
from discovery.diff import diff
from discovery.fact import Change, from_table
from discovery.probe import Verdict, probe
from discovery.snapshot import snapshot
from discovery.verbalise import Relation, load_relations
from infra.examine import Examinee
from infra.models import ModelRef, locate
from infra.runner import Runner
from infra.storage import Artifact, StageDir, Workspace, digest_of, file_digest
from pipeline import ledger
from pipeline.alias import Alias
from pipeline.config import Config, Edition
from pipeline.culprits import find_culprits
from pipeline.edit import REPORTS, edit, text_path
from pipeline.edits import Neighbour, PlannedEdit, Refusal, Removal
from pipeline.evaluate import FACTS, REPORT, evaluate
from pipeline.gate import GATE, Report, gate, require_passed
from pipeline.page import PAGE, PageInputs, render_page
from pipeline.plan import PRESERVED, plan
from pipeline.planned import case_set
from pipeline.release import CHECKPOINT, ReleaseInputs, as_released, exported, release

STAGES = ("crawl", "snapshot", "diff", "probe", "plan", "edit", "evaluate", "gate", "release")

CODE: dict[str, int] = {**dict.fromkeys(STAGES, 1), "evaluate": 2, "gate": 2, "release": 2}
"""Version of each stage's code; counts up when it makes something else of the same input."""

RETRY = "-without-culprits"
"""Behind the version, of outputs made again without the edits that failed the gate."""


@dataclass(frozen=True)
class Attempt:
    """One solve of an edition's edits, and what came of it."""

    edit: Artifact
    evaluate: Artifact
    gate: Artifact
    quarantined: Mapping[str, str]
    """Reason by id, of edits that were refused or set aside."""

    @property
    def outputs(self) -> tuple[Artifact, Artifact, Artifact]:
        """In their order."""
        return self.edit, self.evaluate, self.gate


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
            replace=self.replace and self.workspace.find("release", version) is None,
            restart=self.restart,
            stamp=self.stamp,
            **more,
        )
        self.end(artifact)
        return artifact


def run_editions(run: Run, *, until: str = STAGES[-1]) -> None:
    """Every edition in order, up to a stage; `run.end` is given each output.

    Raises GateError at the first edition outside its bounds; later ones are not begun.
    """
    base = locate(run.config.model.name)
    relations_path = run.config.relations and run.config_dir / run.config.relations
    relations = load_relations(relations_path or None)
    for edition in run.config.editions:
        for artifact in run_edition(run, edition, base, relations):
            if artifact.record["stage"] == until:
                break


def run_edition(
    run: Run, edition: Edition, base: ModelRef, relations: Mapping[str, Relation]
) -> Iterator[Artifact]:
    """The nine stages of one edition, each output as it is finished."""
    config, version, runner = run.config, edition.version, run.runner
    model, policy = config.model, edition.policy(config.plan)
    root, cache = run.workspace.root, run.workspace.root / "cache"
    alias = Alias(root, config.line)
    parent = _parent(run.workspace, alias, version)
    known = parent and parent.table("edits.parquet")
    live = from_table(known, PlannedEdit) if known is not None else []
    said = digest_of({key: relation.model_dump() for key, relation in sorted(relations.items())})
    upstream = {"base": base.digest, "parent": parent.digest if parent else ""}
    compute = model.compute
    run_on = {"dtype": compute.dtype, "device": compute.device}
    unedited = Examinee(name="base", path=base.path)
    serving = as_released(parent, "parent") if parent else None

    crawled = run.stage(
        "crawl",
        version,
        inputs=local_inputs(config.sources, run.config_dir),
        config=[edition.as_of, [source.model_dump() for source in config.sources]],
        body=lambda out: crawl(
            config.sources,
            edition.as_of,
            out=out,
            runner=runner,
            cache=cache / "http",
            base_dir=run.config_dir,
        ),
        volatile=VOLATILE,
    )
    yield crawled

    world = run.stage(
        "snapshot",
        version,
        inputs={"crawl": crawled},
        config=[edition.as_of, [source.name for source in config.sources]],
        body=lambda out: snapshot(crawled, config.sources, edition.as_of, out=out, runner=runner),
    )
    yield world

    earlier = run.workspace.find("snapshot", parent.record["version"]) if parent else None
    changed = run.stage(
        "diff",
        version,
        inputs={"old": earlier or "", "new": world, "relations": said},
        config=None,
        body=lambda out: diff(earlier, world, relations, out=out, runner=runner),
    )
    yield changed
    changes = from_table(changed.table("changes.parquet"), Change)

    probed = run.stage(
        "probe",
        version,
        inputs={"diff": changed, "relations": said, **upstream},
        config={**config.probe.model_dump(), **asdict(compute)},
        body=lambda out: probe(
            changes,
            relations,
            examinee=serving or unedited,
            live={(edit.subject, edit.relation) for edit in live},
            config=config.probe,
            compute=compute,
            out=out,
            runner=runner,
        ),
    )
    yield probed

    planned = run.stage(
        "plan",
        version,
        inputs={"diff": changed, "probe": probed, "relations": said, **upstream},
        config=policy.model_dump(),
        body=lambda out: plan(
            changes,
            from_table(probed.table("verdicts.parquet"), Verdict),
            live,
            relations,
            version=version,
            line=config.line,
            config=policy,
            inputs={**upstream, "diff": changed.digest, "probe": probed.digest},
            out=out,
        ),
    )
    yield planned
    edits = from_table(planned.table("edits.parquet"), PlannedEdit)
    removals = from_table(planned.table("removals.parquet"), Removal)

    neighbours = from_table(planned.table("neighbours.parquet"), Neighbour)
    preserved = planned.json(PRESERVED)
    refusals = from_table(planned.table("refusals.parquet"), Refusal)
    history = ancestors(run.workspace, parent)

    def solve(chosen: Sequence[PlannedEdit], out: StageDir) -> dict[str, Any]:
        """The edit stage on some of the edits."""
        return edit(
            chosen,
            preserved,
            base=base,
            config=config.edit,
            device=compute.device,
            dtype=compute.dtype,
            cache=cache,
            out=out,
            runner=runner,
        )

    def judge(chosen: Sequence[PlannedEdit], made: Path, out: StageDir) -> dict[str, Any]:
        """The evaluate stage on what `solve` made of them in a directory."""
        cases = case_set(
            config.line,
            chosen,
            removals,
            neighbours,
            num_alternatives=config.evaluate.num_alternatives,
        )
        return evaluate(
            cases,
            base=unedited,
            parent=serving,
            candidate=exported(base, made, out.path / CHECKPOINT),
            seen=[*(edit.prompt for edit in chosen), *preserved],
            config=config.evaluate,
            compute=compute,
            out=out,
            runner=runner,
        )

    def page(evaluated: Artifact, verdict: Any, search: Any, quarantined: Any) -> PageInputs:
        """What the page tells of a candidate."""
        return PageInputs(
            version=version,
            line=config.line,
            parent=parent.record["version"] if parent else None,
            as_of=edition.as_of.isoformat(),
            report=evaluated.json(REPORT),
            gate=verdict,
            facts=evaluated.table(FACTS).to_pylist(),
            quarantined=[(e, quarantined[e.id]) for e in edits if e.id in quarantined],
            refusals=refusals,
            search=search,
            history=history,
            relations={key: relation.label for key, relation in relations.items()},
            provenance={
                "base": base.name,
                "base digest": base.digest,
                "editor": config.edit.editor,
                "plan": planned.counts["plan_hash"],
                "snapshot": world.digest,
                "evaluation": evaluated.digest,
                "commit": evaluated.record.get("commit"),
            },
        )

    def attempt(
        name: str, chosen: Sequence[PlannedEdit], set_aside: Mapping[str, str], tried: Any = None
    ) -> Attempt:
        """Edit, evaluate and gate some of the plan's edits. `tried` is the search that set some
        aside."""
        aside = {"set_aside": digest_of(dict(set_aside))} if set_aside else {}
        text = file_digest(text_path(config.edit))
        edited = run.stage(
            "edit",
            name,
            inputs={"plan": planned, "base": base.digest, "text": text, **aside},
            config={**config.edit.model_dump(exclude={"text"}), **run_on},
            body=lambda out: solve(chosen, out),
        )
        reports = edited.table(REPORTS).to_pylist()
        refused = {r["id"]: r["reason"] for r in reports if r["status"] == "quarantined"}
        quarantined = {**refused, **set_aside}
        evaluated = run.stage(
            "evaluate",
            name,
            inputs={"plan": planned, "edit": edited, **upstream},
            config={**config.evaluate.model_dump(), **asdict(compute)},
            body=lambda out: judge(chosen, edited.path, out),
        )

        def judged(out: StageDir) -> dict[str, Any]:
            """The gate stage; a candidate that it stops has its page there."""
            verdict = gate(
                evaluated.json(REPORT),
                num_planned=len(edits),
                num_quarantined=len(quarantined),
                config=config.gate,
                history=history,
                find=lambda: find_culprits(
                    [edit for edit in chosen if edit.id not in refused],
                    {r["id"]: r["p_target"] for r in reports},
                    solve=solve,
                    judge=judge,
                    config=config.gate,
                    out=out,
                ),
                out=out,
            )
            if not verdict["passed"]:
                written = json.loads((out.path / GATE).read_text(encoding="utf-8"))
                found = page(evaluated, written, tried or written["search"], quarantined)
                (out.path / PAGE).write_text(render_page(found), encoding="utf-8")
            return verdict

        gated = run.stage(
            "gate",
            name,
            inputs={"evaluate": evaluated, "edit": edited},
            config=config.gate.model_dump(),
            body=judged,
        )
        return Attempt(edited, evaluated, gated, quarantined)

    final = attempt(version, edits, {})
    yield from final.outputs
    culprits: Mapping[str, str] = final.gate.counts["culprits"]
    search = final.gate.json(GATE)["search"]
    if culprits:
        rest = [edit for edit in edits if edit.id not in culprits]
        final = attempt(f"{version}{RETRY}", rest, culprits, search)
        yield from final.outputs
    require_passed(version, final.gate.counts["failed"])
    edited, evaluated, gated = final.outputs
    quarantined = dict(final.quarantined)

    released = run.stage(
        "release",
        version,
        inputs={"snapshot": world, "plan": planned, "edit": edited, "gate": gated, **upstream},
        config={"line": config.line, "license": model.license, **asdict(compute)},
        body=lambda out: release(
            ReleaseInputs(
                version=version,
                line=config.line,
                parent=parent.record["version"] if parent else None,
                as_of=edition.as_of.isoformat(),
                base=base,
                license=model.license,
                editor={"name": config.edit.editor, "options": dict(config.edit.options)},
                compute={"dtype": compute.dtype, "max_new_tokens": compute.max_new_tokens},
                snapshot=world,
                plan=planned,
                edit=edited,
                evaluation=evaluated,
                gate=gated,
                page=page(evaluated, gated.json(GATE), search, quarantined),
            ),
            [edit for edit in edits if edit.id not in quarantined],
            out,
        ),
    )
    events = ledger.events(
        version, planned.counts["plan_hash"], edits, removals, refusals, quarantined
    )
    ledger.append(root, version, events)
    if version not in {move.version for move in alias.history()}:
        alias.move(version, f"passed the gate, plan {planned.counts['plan_hash'][:12]}")
    yield released


def ancestors(workspace: Workspace, parent: Artifact | None) -> list[tuple[str, Report]]:
    """Versions and reports of a release and those before it, oldest first."""
    found: list[tuple[str, Report]] = []
    while parent:
        found.append((parent.record["version"], parent.json(REPORT)))
        before = parent.json("manifest.json")["parent"]
        parent = workspace.find("release", before) if before else None
    return found[::-1]


def _parent(workspace: Workspace, alias: Alias, version: str) -> Artifact | None:
    """The release that production pointed at before this version was first released."""
    before = []
    for move in alias.history():
        if move.version == version:
            break
        before.append(move.version)
    return workspace.find("release", before[-1]) if before else None
