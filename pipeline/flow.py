"""The nine stages in their order: one edition of the world in, one release out.

Each stage is a plain function from finished outputs to one new output; where it runs is the
runner's business. What is finished is found again and not made again, so the same command
continues after any interruption, and once more does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from discovery.crawl.output import VOLATILE
from discovery.crawl.stage import crawl, local_inputs
from discovery.diff.stage import diff
from discovery.facts.tables import from_table
from discovery.probe.intake import Intake, reader
from discovery.probe.output import UNEDITED, VERDICTS, read_verdicts
from discovery.relations.relation import Relation, load_relations
from discovery.snapshot.stage import snapshot
from infra.files.digest import digest_of
from infra.models.loading import ModelRef, locate
from infra.storage.artifact import Artifact
from pipeline.asking import Asking
from pipeline.attempt import Attempts
from pipeline.config import Edition
from pipeline.gate.stage import require_passed
from pipeline.lineage import parent_of, snapshot_before
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.fact_sheet import SHEET, SheetRow
from pipeline.plan.stage import Situation, plan
from pipeline.release import ledger
from pipeline.release.alias import Alias
from pipeline.release.manifest import ReleaseInputs
from pipeline.release.output import QUARANTINED
from pipeline.release.stage import release
from pipeline.run import STAGES, Run


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
    parent = parent_of(run.workspace, alias, version)
    known = parent and parent.table("edits.parquet")
    live = from_table(known, PlannedEdit) if known is not None else []
    aside = from_table(parent.table(QUARANTINED), PlannedEdit) if parent else []
    said = digest_of({key: relation.model_dump() for key, relation in sorted(relations.items())})
    upstream = {"base": base.digest, "parent": parent.digest if parent else ""}
    compute = model.compute

    seen = snapshot_before(run.workspace, edition)
    crawled = run.stage(
        "crawl",
        version,
        inputs={**local_inputs(config.sources, run.config_dir), "previous": seen or ""},
        config=[edition.as_of, [source.model_dump() for source in config.sources]],
        body=lambda out: crawl(
            config.sources,
            edition.as_of,
            previous=seen,
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
        inputs={"crawl": crawled, "previous": seen or ""},
        config=[edition.as_of, [source.name for source in config.sources]],
        body=lambda out: snapshot(
            crawled, config.sources, edition.as_of, previous=seen, out=out, runner=runner
        ),
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

    asking = Asking(
        run=run,
        edition=edition,
        relations=relations,
        snapshot=world,
        changed=changed,
        parent=parent,
        live=live,
        base=base,
    )
    before = run.workspace.find("plan", parent.record["version"]) if parent else None
    trust = edition.trusting(config.trust)
    probed = run.stage(
        "probe",
        version,
        inputs={
            "diff": changed,
            "snapshot": world,
            "held": before or "",
            "relations": said,
            **upstream,
        },
        config={
            "as_of": edition.as_of.isoformat(),
            **config.probe.model_dump(),
            **asdict(compute),
            "trust": trust.model_dump(),
            "route": config.route.model_dump(),
        },
        body=asking,
    )
    yield probed

    planned = run.stage(
        "plan",
        version,
        inputs={"probe": probed, "snapshot": world, "relations": said, **upstream},
        config={
            **policy.model_dump(),
            "route": config.route.model_dump(),
            "approve": list(trust.approve),
        },
        body=lambda out: plan(
            Situation.read(
                reader(world, relations),
                intake=Intake.read(probed, asking.earlier.history),
                verdicts=read_verdicts(probed, VERDICTS),
                unedited=read_verdicts(probed, f"{UNEDITED}/{VERDICTS}"),
                live=live,
                aside=aside,
                sheet=from_table(parent.table(SHEET), SheetRow) if parent else [],
                relations=relations,
            ),
            version=version,
            line=config.line,
            config=policy,
            route=config.route,
            approve=frozenset(trust.approve),
            inputs={**upstream, "diff": changed.digest, "probe": probed.digest},
            out=out,
        ),
    )
    yield planned
    made = Attempts(
        run=run,
        version=version,
        as_of=edition.as_of.isoformat(),
        base=base,
        parent=parent,
        snapshot=world,
        plan=planned,
        relations=relations,
    )
    final = yield from made.attempts()
    require_passed(version, final.gate.counts["failed"])

    released = run.stage(
        "release",
        version,
        inputs={
            "snapshot": world,
            "plan": planned,
            "edit": final.edit,
            "gate": final.gate,
            **upstream,
        },
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
                edit=final.edit,
                evaluation=final.evaluate,
                gate=final.gate,
                page=made.page(final),
            ),
            [edit for edit in made.edits if edit.id not in final.quarantined],
            out,
        ),
    )
    events = ledger.events(
        version,
        planned.counts["plan_hash"],
        made.edits,
        made.removals,
        made.refusals,
        final.quarantined,
        made.held,
        made.sheet,
    )
    ledger.append(root, version, events)
    if version not in {move.version for move in alias.history()}:
        alias.move(version, f"passed the gate, plan {planned.counts['plan_hash'][:12]}")
    yield released
