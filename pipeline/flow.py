"""The nine stages in their order: one edition of the world in, one release out.

Each stage is a plain function from finished outputs to one new output; where it runs is the
runner's business. What is finished is found again and not made again, so the same command
continues after any interruption, and once more does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from discovery.crawl import VOLATILE, crawl, local_inputs
from discovery.diff import diff
from discovery.fact import Change, from_table
from discovery.probe import probe
from discovery.properties import properties
from discovery.snapshot import MANIFEST, snapshot
from discovery.verbalise import Relation, load_relations
from discovery.verdict import Verdict
from infra.examine import Examinee
from infra.models import ModelRef, locate
from infra.storage import Artifact, Workspace, digest_of
from pipeline import ledger
from pipeline.alias import Alias
from pipeline.composition import Composition
from pipeline.config import Edition
from pipeline.edits import PlannedEdit
from pipeline.gate import require_passed
from pipeline.plan import plan
from pipeline.release import QUARANTINED, ReleaseInputs, as_released, release
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
    parent = _parent(run.workspace, alias, version)
    known = parent and parent.table("edits.parquet")
    live = from_table(known, PlannedEdit) if known is not None else []
    held = from_table(parent.table(QUARANTINED), PlannedEdit) if parent else []
    said = digest_of({key: relation.model_dump() for key, relation in sorted(relations.items())})
    upstream = {"base": base.digest, "parent": parent.digest if parent else ""}
    compute = model.compute
    unedited = Examinee(name="base", path=base.path)
    serving = as_released(parent, "parent") if parent else None

    seen = _seen_before(run.workspace, edition)
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
    changes = from_table(changed.table("changes.parquet"), Change)

    probed = run.stage(
        "probe",
        version,
        inputs={"snapshot": world, "diff": changed, "relations": said, **upstream},
        config={
            "as_of": edition.as_of.isoformat(),
            **config.probe.model_dump(),
            **asdict(compute),
        },
        body=lambda out: probe(
            changes,
            relations,
            as_of_date=edition.as_of,
            named=properties(world, {change.relation for change in changes}),
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
            held=held,
            out=out,
        ),
    )
    yield planned
    made = Composition(
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
    )
    ledger.append(root, version, events)
    if version not in {move.version for move in alias.history()}:
        alias.move(version, f"passed the gate, plan {planned.counts['plan_hash'][:12]}")
    yield released


def _seen_before(workspace: Workspace, edition: Edition) -> Artifact | None:
    """The latest snapshot of an earlier day, on which the crawl builds."""
    found = (workspace.find("snapshot", version) for version in workspace.versions("snapshot"))
    earlier = [
        (made.json(MANIFEST)["as_of"], made.record["version"], made)
        for made in found
        if made is not None and made.json(MANIFEST)["as_of"] < edition.as_of.isoformat()
    ]
    return max(earlier, key=lambda known: known[:2])[2] if earlier else None


def _parent(workspace: Workspace, alias: Alias, version: str) -> Artifact | None:
    """The release that production pointed at before this version was first released."""
    before = []
    for move in alias.history():
        if move.version == version:
            break
        before.append(move.version)
    return workspace.find("release", before[-1]) if before else None
