"""Measures how accuracy falls with the number of facts that are edited together.

Some facts are edited one by one, and growing parts of the set are edited together. Every edited
model is asked the prompts of the facts that were edited into it. `pipeline.comparison.survey` has
the formulae.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from infra.errors import ConfigError
from pipeline.comparison.survey import forgetting, relative_scalability, retainability, scalability
from pipeline.comparison.systems import Comparison, System
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.output import ITEMS
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol


def scaling(comparison: Comparison, system: System, *, alone: int, steps: int) -> dict[str, Metric]:
    """Scalability, retainability and forgetting of one system, by metric name.

    The first `alone` facts are edited one by one, for `scalability` and `relative_scalability`. The
    set is edited in `steps` growing parts, for `retainability`, `forgetting` and the accuracy after
    n facts, `accuracy@n`. 0 skips the numbers of `alone` or `steps`. Raises ConfigError as
    `require_possible` does.
    """
    require_possible(comparison.cases, system, alone=alone, steps=steps)
    cases = comparison.cases
    data = f"{cases.name}@{cases.digest[:12]}"
    protocol = Protocol(decode="greedy", score="alias", data=data)
    subjects = {case.id: case.subject for case in cases.cases}

    def right(ids: Iterable[str]) -> dict[str, float]:
        """1 or 0 by case id: is the fact's own prompt answered right after editing these facts?"""
        wanted = set(ids)
        chosen = [replace(case, new=True) for case in cases.cases if case.id in wanted]
        part = CaseSet(cases.name, chosen)
        return reliability(comparison, system, part)

    ids = [case.id for case in cases.cases]
    whole = right(ids) if alone or steps else {}
    found: dict[str, Metric] = {}
    if alone:
        single = {i: value for i in ids[:alone] for value in right([i]).values()}
        one, all_of = (_measured(items, protocol) for items in (single, whole))
        found["scalability"] = scalability(one, all_of, subjects)
        found["relative_scalability"] = relative_scalability(one, all_of, subjects)
    if steps:
        sizes = [len(ids) * step // steps for step in range(1, steps + 1)]
        parts = [right(ids[:size]) if size < len(ids) else whole for size in sizes]
        curve = [_measured(part, protocol).metric() for part in parts]
        found |= {f"accuracy@{n}": metric for n, metric in zip(sizes, curve, strict=True)}
        found["retainability"] = retainability([metric.value for metric in curve], protocol)
        curves = {i: [part[i] for part in parts if i in part] for i in ids}
        found["forgetting"] = forgetting(curves, protocol, subjects)
    return found


def require_possible(cases: CaseSet, system: System, *, alone: int, steps: int) -> None:
    """Raise ConfigError for a checkpoint that is already edited, and where `alone` or `steps` is
    greater than the number of facts in the set."""
    if (alone or steps) and system.edit is None:
        raise ConfigError(f"system {system.name} is edited already: it cannot be edited in parts.")
    if max(alone, steps) > len(cases.cases):
        raise ConfigError(
            f"{max(alone, steps)} facts alone or steps were asked for, {cases.name} has "
            f"{len(cases.cases)} facts. Ask for fewer."
        )


def reliability(comparison: Comparison, system: System, cases: CaseSet) -> dict[str, float]:
    """1 or 0 by case id: is the fact's own prompt answered right after editing only `cases`?"""
    config = comparison.config.model_copy(
        update={"metrics": ("generation",), "context": False, "capability": ()}
    )
    alone = replace(comparison, cases=cases, config=config, suffix="-reliability")
    rows = alone.run(system).table(ITEMS).to_pylist()
    return {
        row["item"]: row["value"]
        for row in rows
        if row["role"] == "candidate" and row["metric"] == "reliability"
    }


def _measured(items: dict[str, float], protocol: Protocol) -> Measured:
    return Measured(items=items, protocol=protocol, num_questions=len(items))
