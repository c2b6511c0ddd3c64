"""What `check` prints of durations."""

from __future__ import annotations

from typing import get_args

import pytest

from jobs.terminal.check import _heading, _lines, about
from pipeline.check.check import Part


@pytest.mark.parametrize(
    ("low_s", "high_s", "words"),
    [
        (1, 20, "less than 2 minutes"),
        (60, 100, "1 to 2 minutes"),
        (610, 1203, "10 to 20 minutes"),
        (1530, 3700, "25 to 60 minutes"),
        (5000, 20000, "1 to 6 hours"),
        (100000, 400000, "30 to 100 hours"),
    ],
)
def test_a_duration_is_a_range_without_false_precision(
    low_s: float, high_s: float, words: str
) -> None:
    """No seconds, no odd minutes of many."""
    assert about(low_s, high_s) == words


@pytest.mark.parametrize("kind", get_args(Part))
def test_every_part_of_a_check_has_words(kind: type) -> None:
    """A part that is added without a heading and lines of its own would end the command."""
    for told in (_heading, _lines):
        assert told.dispatch(kind) is not told.dispatch(object)
