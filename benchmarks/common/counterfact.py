"""The CounterFact facts (arXiv:2202.05262) that benchmarks run on."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets import load_cases
from pipeline.evaluate.cases import Case, CaseSet

DATA = Path(__file__).parents[1] / "data" / "counterfact.jsonl.gz"
"""The file of the facts (`benchmarks/data/SOURCES.md`)."""


def load_facts(num: int) -> CaseSet:
    """The first `num` facts. Raises ConfigError where there are fewer."""
    return load_cases("counterfact", DATA, num=num)


def template(case: Case) -> str:
    """The prompt of a case, with `{}` in place of the subject."""
    end = case.subject_start + len(case.subject)
    return f"{case.prompt[: case.subject_start]}{{}}{case.prompt[end:]}"
