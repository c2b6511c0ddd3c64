"""Exports metrics to Ray, whose nodes serve them to Prometheus with `RAY_PREFIX`
(`infra.telemetry.metrics`) before each name."""

from __future__ import annotations

from typing import Any

from ray.util.client import ray as client
from ray.util.metrics import Counter, Gauge

from infra.telemetry.metrics import Metric, Sample


class RayMetrics:
    """Reports the samples of this process to Ray. Through Ray Client, where a process is no part of
    the cluster, nothing is reported."""

    def __init__(self) -> None:
        """An exporter in a process that is connected to Ray."""
        self._instruments: dict[str, Any] = {}
        self._counted: dict[tuple[str, tuple[str, ...]], float] = {}
        """Name and labels of a counter -> the value that Ray has."""

    def export(self, line: str, samples: list[Sample]) -> None:
        """Set each gauge, and add to each counter what is new."""
        if client.is_connected():
            return
        for metric, labels, value in samples:
            instrument = self._instrument(metric)
            tags = {"line": line, **dict(zip(metric.labels, labels, strict=True))}
            if metric.kind == "gauge":
                instrument.set(value, tags)
            elif new := value - self._counted.get((metric.name, labels), 0.0):
                instrument.inc(new, tags)
                self._counted[metric.name, labels] = value

    def _instrument(self, metric: Metric) -> Any:
        """Ray's counter or gauge of a metric, made once."""
        if metric.name not in self._instruments:
            make = Counter if metric.kind == "counter" else Gauge
            names = ("line", *metric.labels)
            self._instruments[metric.name] = make(metric.name, metric.help, tag_keys=names)
        return self._instruments[metric.name]
