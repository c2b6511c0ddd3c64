"""Published edit sets, and your own, as `CaseSet`s: one file a family, one line in `DATASETS`.

A loader reads the records of a source into a collector, which makes them tidy and counts what is
left out. `cases.dropped` says what that was: print it beside every number.
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


def load_cases(
    name: str, path: Path, *, num: int | None = None, relations: Path | None = None
) -> CaseSet:
    """The first `num` facts of a dataset's file (.json or .jsonl, either also .gz), all where it is
    None, as one edit set. `relations` is `bear`'s second file, where it is not beside the first.

    Raises ConfigError, one line: an unknown dataset, a file that is missing or not JSON, a record
    that breaks the schema, or fewer facts than were asked for.
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
