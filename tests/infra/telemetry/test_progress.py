"""The meter counts, and speaks of speed and time left only where it has seen something done."""

from __future__ import annotations

from infra.telemetry.progress import Meter


def test_speed_is_that_of_what_it_saw() -> None:
    """What was found finished counts as done, not as fast."""
    told: list[tuple[int, int, str, dict[str, float]]] = []
    now = [0.0]
    meter = Meter(
        lambda *state, **figures: told.append((*state, figures)),
        "values",
        100,
        found=40,
        unit="edits",
        clock=lambda: now[0],
    )
    now[0] = 10.0
    meter.add(20, loss=0.04321)
    now[0] = 30.0
    meter.add(40, loss=0.05)
    assert told == [
        (40, 100, "values, 40 found", {}),
        (60, 100, "values, 40 found, loss 0.0432, 2 edits/s, 20 s left", {"loss": 0.04321}),
        (100, 100, "values, 40 found, loss 0.05, 2 edits/s", {"loss": 0.05}),
    ]
