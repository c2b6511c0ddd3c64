"""The tally of the workers of a Ray cluster: an actor that adds up what they count."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from infra.telemetry.metrics import Metric, Sample
from infra.telemetry.tally import LocalTally

ANSWER_S = 5.0
"""Seconds after which the actor is not waited for: what it counts matters less than the work."""


@ray.remote(num_cpus=0, max_restarts=-1)
class _TallyActor:
    """Holds the counts. If its machine dies it starts again elsewhere, with none."""

    def __init__(self) -> None:
        self.tally = LocalTally()

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one."""
        self.tally.add(metric, *labels)

    def take(self) -> list[Sample]:
        """What was counted since the last call."""
        return self.tally.take()


@dataclass(frozen=True)
class RayTally:
    """The tally of a cluster. Every pickled copy, in any process, is the same tally."""

    actor: Any
    """Handle of the actor that holds the counts."""

    @staticmethod
    def start() -> RayTally:
        """Start the actor of a new tally."""
        return RayTally(_TallyActor.remote())

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one, before this returns; where the actor does not answer, it is not counted."""
        with suppress(RayError):
            ray.get(self.actor.add.remote(metric, *labels), timeout=ANSWER_S)

    def take(self) -> list[Sample]:
        """What was counted since the last call; empty where the actor does not answer."""
        with suppress(RayError):
            return ray.get(self.actor.take.remote(), timeout=ANSWER_S)
        return []
