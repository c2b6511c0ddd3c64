"""Metrics in one process: what is counted and set is what Prometheus' own reader finds."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.telemetry.metrics import (
    BELIEFS,
    DISK_FREE,
    MAX_SERIES,
    METRICS,
    OTHER,
    REQUESTS,
    Registry,
)
from infra.telemetry.tally import LocalTally
from infra.telemetry.text_file import TextFile


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Name and sorted labels -> value, as prometheus_client reads a file."""
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {
        (sample.name, *sorted(f"{k}={v}" for k, v in sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_names_are_those_that_prometheus_takes() -> None:
    """A name ends in `_total` where the metric counts, and nowhere else; no label is `line`, which
    all have."""
    for name, metric in METRICS.items():
        assert name == metric.name and name.startswith("corrigenda_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert "line" not in metric.labels and len(set(metric.labels)) == len(metric.labels)


def test_the_file_has_what_was_measured(tmp_path: Path) -> None:
    """Counters add up, gauges are the last value, and any text is a label."""
    registry = Registry()
    registry.add(REQUESTS, 2, "a.org", "200")
    registry.add(REQUESTS, 3, "a.org", "200")
    registry.add(REQUESTS, 1, 'b"\n\\.org', "none")
    registry.set(DISK_FREE, 5)
    registry.set(DISK_FREE, 7e12)
    path = tmp_path / "new" / "x.prom"
    for _ in range(2):
        TextFile(path).export("mine", registry.samples())
    assert read(path) == {
        ("corrigenda_requests_total", "host=a.org", "line=mine", "status=200"): 5,
        ("corrigenda_requests_total", 'host=b"\n\\.org', "line=mine", "status=none"): 1,
        ("corrigenda_disk_free_bytes", "line=mine"): 7e12,
    }
    assert [found.name for found in path.parent.iterdir()] == ["x.prom"]


def test_what_is_missing_from_the_next_edition_is_none(tmp_path: Path) -> None:
    """A verdict that no change has any more does not keep its last number."""
    registry = Registry()
    registry.set_each(BELIEFS, {"stale": 3, "knows": 1})
    registry.set_each(BELIEFS, {"knows": 4})
    assert {labels: value for _, labels, value in registry.samples()} == {
        ("stale",): 0,
        ("knows",): 4,
    }


def test_many_hosts_are_few_series() -> None:
    """Past the bound further hosts are one, and no request is lost."""
    registry = Registry()
    for number in range(3 * MAX_SERIES):
        registry.add(REQUESTS, 1, f"{number}.org", "200")
    samples = registry.samples()
    assert len(samples) == MAX_SERIES + 1
    assert sum(sample.value for sample in samples) == 3 * MAX_SERIES
    assert {s.value for s in samples if s.labels[0] == OTHER} == {2 * MAX_SERIES}


def test_a_tally_gives_each_count_once() -> None:
    """What was taken is not given again. The tally of a process does not travel: a copy would count
    for nobody."""
    tally = LocalTally()
    for status in ("200", "200", "503"):
        tally.add(REQUESTS, "a.org", status)
    assert sorted(tally.take())[0][1:] == (("a.org", "200"), 2)
    assert tally.take() == []
    with pytest.raises(TypeError):
        pickle.dumps(tally)
