"""A dashboard for Grafana, as the JSON that its import takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SCHEMA = 39
"""Version of the form of dashboards, that of Grafana 11; later ones read it."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The Prometheus that is chosen on the dashboard."""
LINE = 'line=~"$line"'
WIDTH, HEIGHT = 8, 7
"""Of a panel, in columns of 24 and in rows."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it shows, in which unit, by which query."""

    title: str
    query: str
    """PromQL; METRIC stands for a name's beginning, and LINE for the chosen lines."""
    legend: str
    unit: str = "short"
    kind: str = "timeseries"
    """`timeseries`, or `stat` for the present value."""


PANELS = (
    Panel(
        "Days since the last release",
        "(time() - max by (line) "
        "(last_over_time(METRIC_released_timestamp_seconds{LINE}[30d]))) / 86400",
        "{{line}}",
        "d",
        "stat",
    ),
    Panel(
        "Days that production is behind",
        "(time() - max by (line) "
        "(last_over_time(METRIC_production_day_timestamp_seconds{LINE}[30d]))) / 86400",
        "{{line}}",
        "d",
        "stat",
    ),
    Panel(
        "Latest gate passed",
        "min by (line) (last_over_time(METRIC_gate_passed{LINE}[1h]))",
        "{{line}}",
        "bool_yes_no",
        "stat",
    ),
    Panel(
        "Tasks waiting",
        "sum by (line, stage, phase) (METRIC_tasks_waiting{LINE})",
        "{{line}} {{stage}}: {{phase}}",
    ),
    Panel(
        "Tasks finished a second",
        "sum by (line, stage, phase) (deriv(METRIC_tasks_done{LINE}[2m])) > 0",
        "{{line}} {{stage}}: {{phase}}",
        "ops",
    ),
    Panel(
        "Edits optimised a second",
        'sum by (line) (deriv(METRIC_tasks_done{LINE, phase="values"}[2m])) > 0',
        "{{line}}",
        "ops",
    ),
    Panel(
        "Requests a second, by host and status",
        "sum by (host, status) (rate(METRIC_requests_total{LINE}[5m]))",
        "{{host}} {{status}}",
        "reqps",
    ),
    Panel("Mean loss of values", "max by (line) (METRIC_edit_loss{LINE})", "{{line}}"),
    Panel(
        "Stages that failed",
        "max by (line, stage) (METRIC_stage_failed{LINE}) > 0",
        "{{line}} {{stage}}",
    ),
    Panel(
        "Facts a second, latest snapshot",
        "max by (line) (METRIC_facts{LINE}) / "
        'max by (line) (METRIC_stage_duration_seconds{LINE, stage="snapshot"})',
        "{{line}}",
        "ops",
    ),
    Panel(
        "Changes probed a second, latest probe",
        'sum by (line) (METRIC_beliefs{LINE, verdict!="not probed"}) / '
        'max by (line) (METRIC_stage_duration_seconds{LINE, stage="probe"})',
        "{{line}}",
        "ops",
    ),
    Panel(
        "How long stages took",
        "max by (line, stage) (METRIC_stage_duration_seconds{LINE})",
        "{{line}} {{stage}}",
        "s",
    ),
    Panel("Changes by kind", "max by (line, kind) (METRIC_changes{LINE})", "{{line}} {{kind}}"),
    Panel(
        "What the model believes of changes",
        "max by (line, verdict) (METRIC_beliefs{LINE})",
        "{{line}} {{verdict}}",
    ),
    Panel(
        "Share of stale beliefs",
        "max by (line) (METRIC_stale_ratio{LINE})",
        "{{line}}",
        "percentunit",
    ),
    Panel("Edits by status", "max by (line, status) (METRIC_edits{LINE})", "{{line}} {{status}}"),
    Panel("Changes that wait", "max by (line) (METRIC_held_changes{LINE})", "{{line}}"),
    Panel(
        "Checks that the gate failed", "max by (line) (METRIC_gate_failed_checks{LINE})", "{{line}}"
    ),
    Panel(
        "Answers right, held and unmoved",
        'max by (line, number) (METRIC_evaluation{LINE, number!="perplexity"})',
        "{{line}} {{number}}",
        "percentunit",
    ),
    Panel(
        "Perplexity of general text",
        'max by (line) (METRIC_evaluation{LINE, number="perplexity"})',
        "{{line}}",
    ),
    Panel("Free disk", "min by (line) (METRIC_disk_free_bytes{LINE})", "{{line}}", "bytes"),
)
"""In rows of three, from what matters first."""


def dashboard(prefix: str = "") -> str:
    """The dashboard as JSON.

    prefix  stands before each name of a metric
    """
    name = f"{prefix}corrigenda"
    variables = [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
        },
        {
            "name": "line",
            "label": "Model line",
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values({name}_disk_free_bytes, line)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        },
    ]
    value = {
        "uid": "corrigenda",
        "title": "Corrigenda",
        "description": "Runs that keep the facts of a model current.",
        "tags": ["corrigenda"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, panel, name) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(value, indent=2) + "\n"


def _panel(number: int, panel: Panel, name: str) -> dict[str, Any]:
    """A panel as Grafana has it, at its place in the rows."""
    across = 24 // WIDTH
    query = panel.query.replace("METRIC", name).replace("LINE", LINE)
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": {
            "x": number % across * WIDTH,
            "y": number // across * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": "A",
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": panel.legend,
            }
        ],
    }
