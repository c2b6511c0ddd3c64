"""What the workers of a stage count, wherever they run, for the process that exports it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Protocol

from infra.telemetry.metrics import Metric, Sample


class Tally(Protocol):
    """Counts for a worker. Picklable where workers are other processes."""

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one, by the values of the metric's labels."""
        ...


class LocalTally:
    """The tally of workers in this process."""

    def __init__(self) -> None:
        """A tally in which nothing is counted."""
        self._counts: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        self._lock = threading.Lock()

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[metric, labels] += 1

    def take(self) -> list[Sample]:
        """What was counted since the last call."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return [Sample(metric, labels, count) for (metric, labels), count in counts.items()]
