"""Progress of a phase of a stage: how much is done, how fast, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Counts finished units of work, and reports the count with speed and remaining time.

    Units that were finished before it started do not count for the speed.
    """

    def __init__(
        self,
        tell: Callable[..., None],
        phase: str,
        total: int,
        *,
        found: int = 0,
        unit: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        tell   called with the units done, the units in all, `text`, and the figures by name, at the
               start and each `add`
        phase  name of the phase, which begins the text
        total  units in all
        found  units that were finished before the start
        unit   name of a unit, for the speed; without it no speed is shown
        clock  seconds that only grow
        """
        self.tell, self.phase, self.total, self.unit, self.clock = tell, phase, total, unit, clock
        self.found = self.done = found
        self.started = clock()
        tell(self.done, total, self.text())

    def add(self, number: int, **figures: float) -> None:
        """Count `number` more units as done; `figures` are shown in the text, by name."""
        self.done += number
        self.tell(self.done, self.total, self.text(**figures), **figures)

    def text(self, **figures: float) -> str:
        """The progress in words: `values, loss 0.043, 1.9 edits/s, 21 s left`."""
        parts = [self.phase]
        if self.found:
            parts.append(f"{self.found} found")
        parts += [f"{name} {value:.3g}" for name, value in figures.items()]
        took, new = self.clock() - self.started, self.done - self.found
        if new and took > 0:
            if self.unit:
                parts.append(f"{new / took:.2g} {self.unit}/s")
            if self.done < self.total:
                parts.append(f"{took / new * (self.total - self.done):.0f} s left")
        return ", ".join(parts)
