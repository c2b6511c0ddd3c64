"""What an edited model is judged by: one file a family of metrics, all of them in `METRICS`."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.metrics import (
    fluency,
    generation,
    locality,
    multi_hop,
    portability,
    preference,
    retention,
    ripple,
    teacher_forced,
    text,
    weights,
)
from pipeline.metrics.family import Family

METRICS: Mapping[str, Family] = {
    "preference": preference,
    "teacher_forced": teacher_forced,
    "generation": generation,
    "locality": locality,
    "portability": portability,
    "retention": retention,
    "ripple": ripple,
    "multi_hop": multi_hop,
    "fluency": fluency,
    "text": text,
    "weights": weights,
}
