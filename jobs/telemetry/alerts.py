"""Rules for Prometheus: what of a run should wake someone.

A run ends, and what it reported through Ray ends with it; so each rule looks at the last value
within a window. A file of metrics stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

DAY_S = 86400
LASTING = "30d"
"""How long the last value counts of what holds until the next run."""
RECENT = "1h"
"""How long it counts of what a run that is repeated sets right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Beyond which the rules fire."""

    release_days: float = 8.0
    """Days since the last release was finished."""
    fresh_days: float = 14.0
    """Days since the day that the release in production is as of."""
    failing_share: float = 0.5
    """Share of a host's answers in an hour that are errors."""
    disk_share: float = 0.1
    """Free share of the workspace's disk."""


def alert_rules(bounds: Bounds, prefix: str = "") -> str:
    """The rules as the YAML file that `rule_files` of Prometheus names.

    prefix  stands before each name of a metric
    """
    p = f"{prefix}corrigenda"
    failed = 'status=~"none|429|5.."'
    asked = f"sum by (line, host) (increase({p}_requests_total[{RECENT}]))"
    answered_badly = f"sum by (line, host) (increase({p}_requests_total{{{failed}}}[{RECENT}]))"
    rules = [
        _rule(
            "CorrigendaNoRelease",
            f"time() - max by (line) (last_over_time({p}_released_timestamp_seconds[{LASTING}]))"
            f" > {bounds.release_days * DAY_S:.0f}",
            "1h",
            "page",
            f"line {{{{ $labels.line }}}}: no release for more than {bounds.release_days:g} days",
            "Look at what the last run printed, and whether its schedule still starts it.",
        ),
        _rule(
            "CorrigendaNotFresh",
            "time() - max by (line) "
            f"(last_over_time({p}_production_day_timestamp_seconds[{LASTING}]))"
            f" > {bounds.fresh_days * DAY_S:.0f}",
            "1h",
            "page",
            "line {{ $labels.line }}: production is as of more than "
            f"{bounds.fresh_days:g} days ago",
            "Releases fail, are rolled back, or are made of old days: see `corrigenda releases`.",
        ),
        _rule(
            "CorrigendaGateRefused",
            f"min by (line) (last_over_time({p}_gate_passed[{RECENT}])) == 0",
            "0m",
            "page",
            "line {{ $labels.line }}: the gate has refused the latest edition",
            "The edition's report.html names the bounds that failed; production is unchanged.",
        ),
        _rule(
            "CorrigendaCrawlFailed",
            f'max by (line) (last_over_time({p}_stage_failed{{stage="crawl"}}[{RECENT}])) == 1',
            "0m",
            "page",
            "line {{ $labels.line }}: the sources could not be read",
            "Run the same command again; the error names the source.",
        ),
        _rule(
            "CorrigendaRunFailed",
            "max by (line, stage) "
            f'(last_over_time({p}_stage_failed{{stage!="crawl"}}[{RECENT}])) == 1',
            "0m",
            "page",
            "line {{ $labels.line }}: the run ended with an error in {{ $labels.stage }}",
            "Run the same command again; finished work is kept.",
        ),
        _rule(
            "CorrigendaHostFailing",
            f"{answered_badly} / {asked} > {bounds.failing_share:g} and {asked} > 10",
            "10m",
            "ticket",
            "line {{ $labels.line }}: {{ $labels.host }} answers mostly with errors",
            "The crawl waits and tries again; the host may be down, or have shut this crawler out.",
        ),
        _rule(
            "CorrigendaDiskFull",
            f"min by (line) (last_over_time({p}_disk_free_bytes[{RECENT}])"
            f" / last_over_time({p}_disk_size_bytes[{RECENT}])) < {bounds.disk_share:g}",
            "10m",
            "page",
            "line {{ $labels.line }}: little room is left on the workspace's disk",
            "A full disk ends a run in one line; `cache/` of the workspace may be deleted.",
        ),
    ]
    groups = {"groups": [{"name": "corrigenda", "rules": rules}]}
    return yaml.safe_dump(groups, sort_keys=False, width=100)


def _rule(
    name: str, expression: str, lasts: str, severity: str, summary: str, advice: str
) -> dict[str, Any]:
    """One rule. lasts: how long the expression has to hold."""
    return {
        "alert": name,
        "expr": expression,
        "for": lasts,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": advice},
    }
