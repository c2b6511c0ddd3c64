"""The nine stages in their order, from the sources of one edition to its release.

Each stage is a plain function from one frozen value of inputs to one new output; the runner decides
where it runs. A finished output is reused, so the same command continues after an interruption, and
a repeated command makes nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from discovery.crawl.output import VOLATILE
from discovery.crawl.stage import CrawlInputs, crawl, local_inputs
from discovery.diff.stage import DiffInputs, diff
from discovery.probe.stage import ProbeInputs, probe
from discovery.relations.relation import Relation, load_relations
from discovery.snapshot.output import Snapshot
from discovery.snapshot.stage import SnapshotInputs, snapshot
from discovery.trust.policy import standings
from infra.errors import ConfigError
from infra.execution.torchrun_runner import TORCHRUN
from infra.lm.inference import ServedModel
from infra.models.loading import ModelRef, locate
from infra.storage.artifact import Artifact
from pipeline.attempt import Attempts
from pipeline.bases import remember
from pipeline.config import Edition
from pipeline.export.candidate import require_adapter
from pipeline.gate.capacity_history import CapacityHistory
from pipeline.gate.stage import require_passed
from pipeline.lineage import Parent, lanes_of, left_by, snapshot_before
from pipeline.plan.stage import PlanInputs, plan
from pipeline.preflight.preflight import preflight
from pipeline.release import ledger
from pipeline.release.alias import Alias
from pipeline.release.manifest import ReleaseInputs, editor_of
from pipeline.release.output import require_release
from pipeline.release.production import parent_of, put_in_production, unnamed
from pipeline.release.stage import release
from pipeline.run import Run
from pipeline.stages import STAGES


def run_editions(run: Run, *, until: str = STAGES[-1]) -> None:
    """Make every edition in order, each up to the stage `until`; `run.end` is given each output.

    Raises ConfigError at once where the group of processes that `edit` asks for can never work.
    The base model passes its preflight before anything is read (`pipeline/preflight`), unless the
    run stops before a model is asked. Raises ModelError for one that does not pass, GateError at
    the first edition whose gate fails, where later ones are not begun, and StageError where another
    run makes an edition of the line.
    """
    edit = run.config.edit
    if edit.in_group or run.runner.name == TORCHRUN:
        run.runner.require_group(edit.workers, edit.resources(run.config.model.device))
    if any(run.workspace.find("crawl", e.version) is None for e in run.config.editions):
        for source in run.config.sources:  # a secret that is missing is known before a model loads
            source.filled(f"source {source.name}")
        if run.config.trust.revert_risk is not None:
            run.config.trust.revert_risk.filled("trust.revert_risk")
    base = locate(run.config.model.name, hub_id=run.config.model.base_model)
    with run.workspace.sole_run(run.config.line):
        _run_editions(run, base, until)


def _run_editions(run: Run, base: ModelRef, until: str) -> None:
    """Make every edition of a line of which no other run makes one."""
    run.workspace.remove_leftovers()
    remember(run.workspace, base)
    if STAGES.index(until) >= STAGES.index("probe"):
        passed = preflight(
            base,
            edit=run.config.edit,
            compute=run.config.model.compute,
            system=run.config.serve.system,
            cache=run.workspace.root / "cache",
            runner=run.runner,
            begin=run.checking,
        )
        run.checked(passed)
    relations_path = run.config.relations and run.config_dir / run.config.relations
    relations = load_relations(relations_path or None)
    alias = Alias(run.workspace, run.config.line)
    start = run.start
    for edition in run.config.editions:
        chosen = None if edition.version in alias.known() else start
        if chosen is not None:
            start = None
        for artifact in run_edition(run, edition, base, relations, chosen):
            if artifact.record["stage"] == until:
                break
    if start is not None:
        raise ConfigError(
            f"--from {start!r}: all editions of the config are released. Give a new one under "
            "[[editions]]."
        )


def run_edition(
    run: Run,
    edition: Edition,
    base: ModelRef,
    relations: Mapping[str, Relation],
    chosen: str | None = None,
) -> Iterator[Artifact]:
    """Run the nine stages of one edition, and yield each output as soon as it is finished.

    chosen  the release that it follows, instead of the one in production (`parent_of`)

    Raises GateError after the gate if the edited model failed a check that blocks; the gate's
    output has been yielded by then. Raises StageError after the release if production was moved
    meanwhile.
    """
    config, version, as_of = run.config, edition.version, edition.as_of
    trust, compute = edition.trusting(config.trust), config.model.compute
    alias = Alias(run.workspace, config.line)
    present = alias.last()
    follows = parent_of(run.workspace, alias, version, chosen)
    parent = Parent.of(
        run.workspace,
        config.line,
        follows,
        chosen=chosen is not None,
        thorough=run.workspace.find("release", version) is None,
    )
    run = replace(run, parent=parent.version)
    earlier = left_by(run.workspace, parent.release)
    unedited = ServedModel(name="base", path=base.path, digest=base.digest)
    before = snapshot_before(
        run.workspace, version, as_of, line=config.line, sources=config.sources
    )

    crawled = run.make(
        crawl,
        version,
        CrawlInputs(
            sources=config.sources,
            as_of=as_of,
            previous=before,
            files=local_inputs(config.sources, run.config_dir),
            base_dir=run.config_dir,
            cache=run.workspace.root / "cache" / "http",
        ),
        volatile=VOLATILE,
    )
    yield crawled

    recorded = run.make(
        snapshot,
        version,
        SnapshotInputs(
            crawl=crawled,
            sources=config.sources,
            as_of=as_of,
            previous=before,
            max_vanished=trust.max_vanished,
            may_vanish=trust.may_vanish,
        ),
    )
    yield recorded
    world = Snapshot.of(recorded)

    changed = run.make(
        diff, version, DiffInputs(old=parent.snapshot, new=world, relations=relations)
    )
    yield changed

    probed = run.make(
        probe,
        version,
        ProbeInputs(
            diff=changed,
            snapshot=world,
            relations=relations,
            as_of=as_of,
            earlier=earlier,
            live=frozenset((edit.subject, edit.relation) for edit in parent.live),
            unedited=unedited,
            serving=parent.served or unedited,
            config=config.probe,
            trust=trust,
            route=config.route,
            standings=standings(config.sources, trust),
            compute=compute,
        ),
    )
    yield probed

    cache = run.workspace.root / "cache"
    capacity = CapacityHistory.of(cache, base, config.edit, config.gate)
    to_plan = PlanInputs(
        version=version,
        line=config.line,
        base=base,
        parent=parent.release,
        diff=changed,
        probe=probed,
        snapshot=world,
        relations=relations,
        history=earlier.history,
        live=parent.live,
        aside=parent.aside,
        full=parent.full,
        sheet=parent.sheet,
        lanes=lanes_of(
            run.workspace, version, config.edit, capacity, anew=run.may_replace(version)
        ),
        config=edition.policy(config.plan),
        route=config.route,
        approve=frozenset(trust.approve),
    )
    planned = run.make(plan, version, to_plan)
    yield planned

    made = Attempts(
        run=run,
        version=version,
        as_of=as_of.isoformat(),
        base=base,
        parent=parent.release,
        snapshot=recorded,
        planned=planned,
        plan_inputs=to_plan,
        capacity=capacity,
        relations=relations,
    )
    final = yield from made.attempts()  # edit, evaluate, gate
    require_passed(version, final.gate.counts["failed"])
    live = [edit for edit in final.plan.edits if edit.id not in final.quarantined]
    if config.serve.loads == "adapter" and live:
        require_adapter(version, final.evaluate.path, len(live))

    released = run.make(
        release,
        version,
        ReleaseInputs(
            version=version,
            line=config.line,
            parent=parent.version,
            as_of=as_of.isoformat(),
            base=base,
            base_name=base.public_name,
            license=config.model.license,
            editor=editor_of(config.edit, live),
            compute={
                "dtype": compute.dtype,
                "max_new_tokens": compute.max_new_tokens,
                "system": config.serve.system,
            },
            snapshot=recorded,
            plan=final.planned,
            edit=final.edit,
            evaluation=final.evaluate,
            gate=final.gate,
            live=live,
            full=final.plan.full,
            page=final.page,
        ),
    )
    plan_hash = final.planned.counts["plan_hash"]
    ledger.record(run.workspace, version, plan_hash, final.plan, final.quarantined)
    if version not in alias.known():
        require_release(released, thorough=not released.made_now)
        put_in_production(
            alias,
            version,
            after=parent.version if chosen is None else present,
            reason=f"passed the gate, plan {plan_hash[:12]}"
            + (f", built on {chosen} by --from" if chosen else ""),
            kept=unnamed(run.workspace, alias, but=version) if chosen else (),
        )
    yield released
