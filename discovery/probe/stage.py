"""Stage 4, probe: changes -> which of them may be acted on, and what the model believes of those.

Asked is the model as it is served now; about facts that it was edited for, the unedited one too: an
edit that goes leaves behind what the base believes, and if that is right no new edit is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from discovery.facts.change import Change
from discovery.facts.tables import from_table
from discovery.probe.beliefs.verdicts import ask_beliefs
from discovery.probe.config import ProbeConfig
from discovery.probe.intake import Earlier, Policy, rater, reader, take_in
from discovery.probe.output import CHANGES, UNEDITED
from discovery.probe.property_labels import properties
from discovery.probe.route import RouteConfig
from discovery.relations.relation import Relation
from discovery.snapshot.output import Snapshot
from discovery.trust.policy import Standing, TrustConfig
from infra.execution.runner import Runner
from infra.lm.inference import Compute, ServedModel
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, SHARDS, StageDir


@dataclass(frozen=True, kw_only=True)
class ProbeInputs:
    """What a probe is made from."""

    diff: Artifact
    snapshot: Snapshot
    """The later one of the diff."""
    relations: Mapping[str, Relation]
    as_of: date
    earlier: Earlier
    """Changes that earlier editions held, and how much changed in each."""
    live: frozenset[tuple[str, str]]
    """(subject, relation) of the edits that are in the model now: they are asked about first."""
    unedited: ServedModel
    serving: ServedModel
    """The model as it is served now; the unedited one before the first release."""
    config: ProbeConfig
    trust: TrustConfig
    route: RouteConfig
    standings: Mapping[str, Standing]
    """How far each source is trusted by itself, by name."""
    compute: Compute


def probe(inputs: ProbeInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the intake and the verdicts (`discovery.probe.output`); return counts of both.

    Facts that did not change are asked about, too: it is on them that confidence is measured.
    """
    changes = from_table(inputs.diff.table(CHANGES), Change)
    intake = take_in(
        changes,
        inputs.earlier,
        reader(inputs.snapshot, inputs.relations),
        inputs.relations,
        as_of=inputs.as_of,
        live=inputs.live,
        policy=Policy(
            trust=inputs.trust,
            route=inputs.route,
            standings=inputs.standings,
            max_asked=inputs.config.max_changes,
        ),
        rate=rater(inputs.trust, inputs.standings, runner.rate_limit()),
    )
    counts = intake.write(out)
    ids = set(intake.asked)
    asked = [change for change in intake.changes if change.id in ids]
    unchanged = [change for change in changes if change.kind == "keep"]
    counts |= _ask(inputs, [*asked, *unchanged], inputs.serving, out, runner)
    edited = [change for change in asked if (change.subject, change.relation) in inputs.live]
    if edited:
        inner = StageDir(out.path / UNEDITED)
        _ask(inputs, [*edited, *unchanged], inputs.unedited, inner, runner)
        shutil.rmtree(inner.path / SHARDS, ignore_errors=True)
        (inner.path / PROGRESS).unlink(missing_ok=True)
    return counts


def _ask(
    inputs: ProbeInputs,
    changes: Sequence[Change],
    model: ServedModel,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Put changes to one model."""
    return ask_beliefs(
        changes,
        inputs.relations,
        as_of_date=inputs.as_of,
        named=properties(inputs.snapshot, {change.relation for change in changes}),
        served=model,
        config=inputs.config,
        compute=inputs.compute,
        out=out,
        runner=runner,
    )
