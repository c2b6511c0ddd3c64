"""The files for Prometheus and Grafana speak of metrics that there are, and the alerts fire when
they should. Where `promtool` is installed (Debian's package `prometheus`), it judges them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.telemetry.metrics import METRICS, RAY_PREFIX
from jobs.telemetry.alerts import DAY_S, Bounds, alert_rules
from jobs.telemetry.dashboard import PANELS, dashboard

PREFIXES = ("", RAY_PREFIX)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def rules(prefix: str = "") -> list[dict[str, Any]]:
    """The rules as Prometheus reads them."""
    (group,) = yaml.safe_load(alert_rules(Bounds(), prefix))["groups"]
    return group["rules"]


def queries(prefix: str = "") -> list[str]:
    """The queries of all panels."""
    panels = json.loads(dashboard(prefix))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_queries_speak_of_what_is_measured(prefix: str) -> None:
    """Each name is that of a metric, with the prefix; each label in a query is one of the metrics
    in it; and no metric is measured without being looked at."""
    found: set[str] = set()
    for query in [*queries(prefix), *(rule["expr"] for rule in rules(prefix))]:
        names = re.findall(r"\b\w*corrigenda_\w+", query)
        assert names and all(name.startswith(f"{prefix}corrigenda_") for name in names), query
        metrics = [METRICS[name.removeprefix(prefix)] for name in names]
        known = {"line", *(label for metric in metrics for label in metric.labels)}
        used = re.findall(r"(\w+)(?:=~|!=|=)\"", query)
        for labels in re.findall(r"by \(([^)]*)\)", query):
            used += labels.split(", ")
        assert set(used) <= known, query
        found.update(metric.name for metric in metrics)
    assert found == set(METRICS)


def test_the_dashboard_can_be_laid_out() -> None:
    """Panels have ids and places of their own; legends name labels that the query keeps."""
    panels = json.loads(dashboard())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len(panels) == len(PANELS)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    for panel in PANELS:
        kept = {
            label for by in re.findall(r"by \(([^)]*)\)", panel.query) for label in by.split(", ")
        }
        assert set(re.findall(r"\{\{(\w+)\}\}", panel.legend)) == kept, panel.title


def test_the_command_prints_them(corrigenda: Any) -> None:
    """With the bounds and the prefix that are asked for; what is unknown is one line."""
    code, out, _ = corrigenda("telemetry", "--as", "rules", "--from", "ray", "--fresh-days", 3)
    assert code == 0 and yaml.safe_load(out) == yaml.safe_load(
        alert_rules(Bounds(fresh_days=3), RAY_PREFIX)
    )
    assert f"> {3 * DAY_S}" in out
    code, out, _ = corrigenda("telemetry", "--as", "dashboard")
    assert code == 0 and json.loads(out) == json.loads(dashboard())
    code, _, err = corrigenda("telemetry", "--as", "rule")
    assert code == 1 and "(did you mean 'rules'?). Give dashboard or rules." in err


@needs_promtool
@pytest.mark.parametrize("prefix", PREFIXES)
def test_promtool_takes_rules_and_queries(prefix: str, tmp_path: Path) -> None:
    """The queries of the dashboard as recording rules, with the variable of Grafana filled in."""
    (tmp_path / "alerts.yml").write_text(alert_rules(Bounds(), prefix))
    recorded = [
        {"record": f"panel:{number}", "expr": query.replace("$line", ".*")}
        for number, query in enumerate(queries(prefix))
    ]
    panels = {"groups": [{"name": "panels", "rules": recorded}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(panels))
    promtool("check", "rules", tmp_path / "alerts.yml", tmp_path / "panels.yml")


SERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "CorrigendaNoRelease": (
        {'released_timestamp_seconds{line="a"}': f"-{9 * DAY_S}x100"},
        {'released_timestamp_seconds{line="a"}': f"-{6 * DAY_S}x100"},
    ),
    "CorrigendaNotFresh": (
        {'production_day_timestamp_seconds{line="a"}': f"-{14 * DAY_S}x100"},
        {'production_day_timestamp_seconds{line="a"}': f"-{12 * DAY_S}x100"},
    ),
    "CorrigendaGateRefused": (
        {'gate_passed{line="a"}': "0x100"},
        {'gate_passed{line="a"}': "1x100"},
    ),
    "CorrigendaCrawlFailed": (
        {'stage_failed{line="a", stage="crawl"}': "1x100"},
        {'stage_failed{line="a", stage="probe"}': "1x100"},
    ),
    "CorrigendaRunFailed": (
        {'stage_failed{line="a", stage="probe"}': "1x100"},
        {'stage_failed{line="a", stage="probe"}': "0x100"},
    ),
    "CorrigendaHostFailing": (
        {
            'requests_total{line="a", host="b.org", status="503"}': "0+9x100",
            'requests_total{line="a", host="b.org", status="200"}': "0+3x100",
        },
        {
            'requests_total{line="a", host="b.org", status="503"}': "0+3x100",
            'requests_total{line="a", host="b.org", status="200"}': "0+9x100",
        },
    ),
    "CorrigendaDiskFull": (
        {'disk_free_bytes{line="a"}': "5x100", 'disk_size_bytes{line="a"}': "100x100"},
        {'disk_free_bytes{line="a"}': "15x100", 'disk_size_bytes{line="a"}': "100x100"},
    ),
}
"""Alert -> series, a value each 15 minutes of the first day of 1970: those at whose end it fires,
and those at whose end it does not."""


@needs_promtool
@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_alert_fires_when_it_should_and_not_otherwise(prefix: str, tmp_path: Path) -> None:
    """By promtool's own evaluation; on Ray a run has further labels, and another run others."""
    known = {rule["alert"]: rule for rule in rules(prefix)}
    assert set(known) == set(SERIES)
    tests = []
    for alert, (fires, quiet) in SERIES.items():
        for series, fired in ((fires, True), (quiet, False)):
            more = 'WorkerId="1", ' if prefix else ""
            tests.append(
                {
                    "interval": "15m",
                    "input_series": [
                        {
                            "series": f"{prefix}corrigenda_{name.replace('{', '{' + more)}",
                            "values": values,
                        }
                        for name, values in series.items()
                    ],
                    "alert_rule_test": [
                        {
                            "eval_time": "1d",
                            "alertname": alert,
                            "exp_alerts": [expected(known[alert], series)] if fired else [],
                        }
                    ],
                }
            )
    (tmp_path / "alerts.yml").write_text(alert_rules(Bounds(), prefix))
    told = {"rule_files": ["alerts.yml"], "evaluation_interval": "15m", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(told))
    promtool("test", "rules", tmp_path / "tests.yml")


def expected(rule: dict[str, Any], series: dict[str, str]) -> dict[str, Any]:
    """A rule's alert as promtool wants it: with the labels that its expression keeps."""
    (kept, *_) = re.findall(r"by \(([^)]*)\)", rule["expr"])
    there = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(series))))
    labels = {label: there[label] for label in kept.split(", ")}

    def filled(text: str) -> str:
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)

    return {
        "exp_labels": {**rule["labels"], **labels},
        "exp_annotations": {name: filled(text) for name, text in rule["annotations"].items()},
    }


def promtool(*words: object) -> None:
    """Run promtool, which has to be content."""
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
