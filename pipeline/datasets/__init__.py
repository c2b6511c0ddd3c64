"""Loaders that read published edit sets, and your own, as a `CaseSet`.

Each dataset has one file here and one line in `DATASETS`. A loader adds the records of a file to a
`Collector`, which cleans them and counts those that it leaves out. `CaseSet.dropped` has these
counts: report them with every number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from infra.errors import ConfigError
from infra.settings import nearest
from pipeline.datasets import jsonl
from pipeline.datasets.collector import Collector
from pipeline.datasets.question_answering import (
    bear,
    counterfact,
    knowedit,
    mquake,
    ripple,
    temporal,
    wikibigedit,
    zsre,
)
from pipeline.datasets.records import DatasetFile
from pipeline.evaluate.cases import CaseSet

Loader = Callable[[DatasetFile, Collector], None]
"""Adds the records of a dataset's file to a collector."""

DATASETS: Mapping[str, Loader] = {
    "counterfact": counterfact.load,
    "zsre": zsre.load,
    "knowedit": knowedit.load,
    "mquake": mquake.load,
    "ripple": ripple.load,
    "wikibigedit": wikibigedit.load,
    "temporal": temporal.load,
    "bear": bear.load,
    "jsonl": jsonl.load,
}
"""Loaders by dataset name."""


def load_cases(
    name: str, path: Path, *, num: int | None = None, relations: Path | None = None
) -> CaseSet:
    """The first `num` facts of a dataset's file as one edit set, or all facts where `num` is None.

    `name` is a key of `DATASETS`. `path` is a .json or .jsonl file, or either with .gz. `relations`
    is the second file of `bear`; None looks for it beside the first.

    Raises ConfigError, with a message of one line, for an unknown dataset, a file that is missing
    or not JSON, a record that does not match the schema, or a file with fewer than `num` facts.
    """
    if name not in DATASETS:
        raise ConfigError(
            f"dataset {name!r} is unknown{nearest(name, DATASETS)}. "
            f"Choose among {', '.join(DATASETS)}."
        )
    if num is not None and num < 1:
        raise ConfigError(f"dataset {name}: num={num}. Give at least 1, or leave it unset for all.")
    found = Collector()
    DATASETS[name](DatasetFile(path, relations), found)
    total = len(found.cases)
    if total < (num or 1):
        left = "; ".join(f"{reason}: {count}" for reason, count in found.dropped.items())
        raise ConfigError(
            f"dataset {name}: {path} has {total} facts that can be used, {num or 1} are asked for"
            f"{f' (left out: {left})' if left else ''}."
        )
    return found.case_set(name, num)
