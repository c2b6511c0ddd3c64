"""The CounterFact facts (arXiv:2202.05262) that benchmarks run on, as the loader of edit sets gives
them."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets import load_cases
from pipeline.evaluate.cases import Case, CaseSet

DATA = Path(__file__).parents[1] / "data" / "counterfact.jsonl.gz"


def load_facts(num: int) -> CaseSet:
    """The first `num` facts. Raises ConfigError where there are fewer."""
    return load_cases("counterfact", DATA, num=num)


def template(case: Case) -> str:
    """The prompt with `{}` in the subject's place."""
    end = case.subject_start + len(case.subject)
    return f"{case.prompt[: case.subject_start]}{{}}{case.prompt[end:]}"
