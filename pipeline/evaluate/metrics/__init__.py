"""The metrics of an edited model: one file for each family of metrics, all listed in `METRICS`."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.evaluate.metrics import chat
from pipeline.evaluate.metrics.efficacy import generation, preference, teacher_forced
from pipeline.evaluate.metrics.health import fluency, perplexity, weights
from pipeline.evaluate.metrics.locality import agreement, retention
from pipeline.evaluate.metrics.portability import multi_hop, ripple, single_hop
from pipeline.evaluate.scoring.family import Family

METRICS: Mapping[str, Family] = {
    "preference": preference,
    "teacher_forced": teacher_forced,
    "generation": generation,
    "locality": agreement,
    "portability": single_hop,
    "retention": retention,
    "chat": chat,
    "ripple": ripple,
    "multi_hop": multi_hop,
    "fluency": fluency,
    "text": perplexity,
    "weights": weights,
}
"""Families of metrics, by the names that `EvaluateConfig.metrics` uses."""
