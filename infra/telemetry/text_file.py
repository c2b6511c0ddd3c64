"""Exports metrics to a file in Prometheus' text form, as node exporter's textfile collector reads
it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.telemetry.metrics import Metric, Sample

SUFFIX = ".prom"
"""Ending of the files that node exporter reads."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that is written anew at each export, beside and renamed."""

    path: Path

    def export(self, line: str, samples: list[Sample]) -> None:
        """Write all samples. Raises OSError where the file cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(self.path), _registry(line, samples))


def _registry(line: str, samples: list[Sample]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Samples(line, samples))
    return registry


@dataclass(frozen=True, eq=False)
class _Samples(Collector):
    """Samples as prometheus_client asks for them."""

    line: str
    samples: list[Sample]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        for metric, labels, value in self.samples:
            if metric not in families:
                make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                families[metric] = make(metric.name, metric.help, labels=["line", *metric.labels])
            families[metric].add_metric([self.line, *labels], value)
        yield from families.values()
