"""Stage 4, probe: changes -> which of them may be acted on, and what the model believes about them.

The model is asked as it is served now. About facts for which it holds an edit, the unedited model
is asked too. An edit that is taken out brings back the belief of the unedited model, and where that
belief is right no new edit is needed.
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
    """Everything that a probe depends on."""

    diff: Artifact
    """Output of the diff."""
    snapshot: Snapshot
    """The later snapshot of the diff."""
    relations: Mapping[str, Relation]
    """Relation id -> relation."""
    as_of: date
    """The day of the edition, which is the day of the snapshot."""
    earlier: Earlier
    """What earlier editions held, and how much changed in each."""
    live: frozenset[tuple[str, str]]
    """(subject, relation) of the edits in the model as it is served now. Changes to these facts are
    asked about first."""
    unedited: ServedModel
    """The model without edits."""
    serving: ServedModel
    """The model as it is served now; before the first release it is `unedited`."""
    config: ProbeConfig
    """Settings of the questions."""
    trust: TrustConfig
    """When a change may be acted on."""
    route: RouteConfig
    """Which changes go to the fact sheet."""
    standings: Mapping[str, Standing]
    """Source name -> how far the source itself is trusted."""
    compute: Compute
    """How models are run."""


def probe(inputs: ProbeInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the files of `discovery.probe.output`, and return counts for the record.

    Facts that did not change are asked about too: confidence is calibrated on them.
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
    """Ask one model about some changes, write its verdicts to `out`, and return counts."""
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
