"""How far a phase of a stage is: what is done, how fast, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Counts what is done and tells it on.

    Only what was done while it watched counts for the speed: what was found finished took no time.
    """

    def __init__(
        self,
        tell: Callable[[int, int, str], None],
        phase: str,
        total: int,
        *,
        found: int = 0,
        unit: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tell, self.phase, self.total, self.unit, self.clock = tell, phase, total, unit, clock
        self.found = self.done = found
        self.started = clock()
        tell(self.done, total, self.text())

    def add(self, number: int, **figures: float) -> None:
        """So many more are done; `figures` are shown beside."""
        self.done += number
        self.tell(self.done, self.total, self.text(**figures))

    def text(self, **figures: float) -> str:
        """`values, loss 0.043, 1.9 edits/s, 21 s left`."""
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
