"""The metrics that a run reports, by name, and the values that they have in one process.

All have the label `line`, the model line of the run, so that the files of several lines can be read
by one collector. Labels have few values: hosts, stages, phases and kinds, and never a fact.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

MAX_SERIES = 200
"""Most series of one counter; the first label of further ones is `OTHER`."""
OTHER = "other"
RAY_PREFIX = "ray_"
"""What Ray puts before each name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured, in the words of Prometheus."""

    name: str
    """Ends in its unit, if it has one, and in `_total` where it counts."""
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    """Names of its labels beside `line`."""


REQUESTS = Metric(
    "corrigenda_requests_total",
    "counter",
    "HTTP requests of a crawl, by host and status; status none had no answer.",
    ("host", "status"),
)
TASKS_DONE = Metric(
    "corrigenda_tasks_done",
    "gauge",
    "Finished tasks of a phase of a stage: shards, groups, or edits for values.",
    ("stage", "phase"),
)
TASKS_WAITING = Metric(
    "corrigenda_tasks_waiting",
    "gauge",
    "Tasks of a phase that are not finished: the length of its queue.",
    ("stage", "phase"),
)
EDIT_LOSS = Metric(
    "corrigenda_edit_loss", "gauge", "Mean loss of the values that were optimised last."
)
STAGE_DURATION = Metric(
    "corrigenda_stage_duration_seconds",
    "gauge",
    "How long the latest output of a stage took to make.",
    ("stage",),
)
STAGE_FAILED = Metric(
    "corrigenda_stage_failed",
    "gauge",
    "1 where the latest run ended with an error in this stage, else 0.",
    ("stage",),
)
FACTS = Metric("corrigenda_facts", "gauge", "Facts of the latest snapshot.")
CHANGES = Metric(
    "corrigenda_changes", "gauge", "Changes since the snapshot before, by kind.", ("kind",)
)
BELIEFS = Metric(
    "corrigenda_beliefs", "gauge", "Changes of the latest probe, by verdict.", ("verdict",)
)
STALE_RATIO = Metric(
    "corrigenda_stale_ratio", "gauge", "Share of the probed changes that the model has stale."
)
HELD = Metric(
    "corrigenda_held_changes", "gauge", "Changes that wait for evidence, a person or a budget."
)
EDITS = Metric("corrigenda_edits", "gauge", "Edits of the latest edition, by status.", ("status",))
MEASURE = Metric(
    "corrigenda_evaluation",
    "gauge",
    "Main numbers of the latest evaluation, by name.",
    ("number",),
)
GATE_PASSED = Metric(
    "corrigenda_gate_passed", "gauge", "1 where the latest gate has passed, 0 where it failed."
)
GATE_FAILED_CHECKS = Metric(
    "corrigenda_gate_failed_checks", "gauge", "Checks that the latest gate failed."
)
RELEASED = Metric(
    "corrigenda_released_timestamp_seconds", "gauge", "When the latest release was finished."
)
FRESH_AS_OF = Metric(
    "corrigenda_production_day_timestamp_seconds",
    "gauge",
    "Begin (UTC) of the day that the release in production is as of.",
)
DISK_FREE = Metric(
    "corrigenda_disk_free_bytes", "gauge", "Free bytes of the workspace's file system."
)
DISK_SIZE = Metric(
    "corrigenda_disk_size_bytes", "gauge", "All bytes of the workspace's file system."
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *(REQUESTS, TASKS_DONE, TASKS_WAITING, EDIT_LOSS, STAGE_DURATION, STAGE_FAILED),
        *(FACTS, CHANGES, BELIEFS, STALE_RATIO, HELD, EDITS, MEASURE),
        *(GATE_PASSED, GATE_FAILED_CHECKS, RELEASED, FRESH_AS_OF, DISK_FREE, DISK_SIZE),
    )
}
"""Name -> metric, in the order in which they are exported."""


class Sample(NamedTuple):
    """A value of a metric."""

    metric: Metric
    labels: tuple[str, ...]
    """Values of the metric's labels, in their order."""
    value: float


class Exporter(Protocol):
    """Takes what a run has measured to where it is looked at."""

    def export(self, line: str, samples: list[Sample]) -> None:
        """Take over all samples of a line, as they are now."""
        ...


class Registry:
    """The values of all metrics in this process. Safe to use from several threads."""

    def __init__(self) -> None:
        """A registry without values."""
        self._values: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._lock = threading.Lock()

    def add(self, metric: Metric, amount: float, *labels: str) -> None:
        """Add to a counter; past `MAX_SERIES` series the first label becomes `OTHER`."""
        with self._lock:
            if (metric, labels) not in self._values:
                num_series = sum(known == metric for known, _ in self._values)
                if num_series >= MAX_SERIES:
                    labels = (OTHER, *labels[1:])
            key = metric, labels
            self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[metric, labels] = float(value)

    def set_each(self, metric: Metric, values: Mapping[str, float]) -> None:
        """Set a gauge of one label for each of its values; those that are missing become 0."""
        with self._lock:
            for known, labels in self._values:
                if known == metric:
                    self._values[known, labels] = 0.0
            for label, value in values.items():
                self._values[metric, (label,)] = float(value)

    def samples(self) -> list[Sample]:
        """All values, in the order of `METRICS` and of the labels."""
        order = list(METRICS)
        with self._lock:
            found = [Sample(metric, labels, v) for (metric, labels), v in self._values.items()]
        return sorted(found, key=lambda sample: (order.index(sample.metric.name), sample.labels))
