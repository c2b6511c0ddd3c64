"""Sources with more changes than an edition asks about go to a release, and nothing is lost."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.built_source import DAYS, RELATIONS, SUFFIXES, write_source
from benchmarks.large_sources import Stages, address_of, release_both
from discovery.trust.backlog import read_held
from infra.storage.artifact import Artifact
from pipeline.plan.output import HELD, Plan

VERSIONS = tuple(day.replace("-", ".") for day in DAYS)
PROBED = 5


def released(place: Path, kind: str, num: int, address: str = "none") -> Stages:
    """Both editions of a source of `num` items."""
    place.mkdir()
    for edition, day in enumerate(DAYS):
        write_source(place / f"{day}{SUFFIXES[kind]}", kind, num, edition)
    return release_both(place, kind, num, PROBED, None, address)


def test_a_built_dump_is_the_same_each_time_and_changes_one_item_in_a_hundred(
    tmp_path: Path,
) -> None:
    """Both editions have the same items; those that differ are as many as it says, and each has
    one head of government more."""
    paths = [tmp_path / name for name in ("before", "after", "again")]
    changed = [write_source(p, "dump", 1000, n) for p, n in zip(paths, (0, 1, 1), strict=True)]
    before, after, again = (json.loads(gzip.decompress(path.read_bytes())) for path in paths)
    assert after == again and [i["id"] for i in before] == [i["id"] for i in after]
    assert changed[0] == 0 and 4 <= changed[1] <= 20
    differ = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(differ) == changed[1]
    for old, new in differ:
        numbers = [[len(item["claims"][r]) for r in RELATIONS] for item in (old, new)]
        assert numbers == [[1, 1], [2, 1]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dump", "rdf"])
def test_what_is_over_the_budget_waits_and_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    """In each edition, each fact of the source is in one place: it is edited, waits, or is refused.
    What waited is taken up by the next edition unless the source has changed it."""
    num = 300
    made = released(tmp_path / "here", kind, num).made
    first, second = (places(made[version, "plan"]) for version in VERSIONS)
    facts = {(f"Q{100_000_000 + n}", relation) for n in range(num) for relation in RELATIONS}
    for found in (first, second):
        assert {key for key, _ in found} == facts
        assert max(Counter(key for key, _ in found).values()) == 1
    waited = {key for key, place in first if place == "held"}
    others = sum(place != "held" for _, place in first)
    assert others <= PROBED and len(waited) == 2 * num - others
    probe = made[VERSIONS[1], "probe"].counts
    assert probe["taken_up"] + probe["dropped"] == len(waited)
    assert 0 < probe["dropped"] <= made[VERSIONS[1], "diff"].counts["kinds"]["replace"]


def places(planned: Artifact) -> list[tuple[tuple[str, str], str]]:
    """Subject and relation of each fact in a plan, with the place it is in."""
    plan = Plan.read(planned)
    held = [(h.change.subject, h.change.relation) for h in read_held(planned.table(HELD))]
    return [
        *(((edit.subject, edit.relation), "edited") for edit in plan.edits),
        *((key, "held") for key in held),
        *(((r.subject, r.relation), "refused") for r in plan.refusals),
    ]


def ids(stages: Stages) -> list[Any]:
    return [stages.made[version, "release"].counts["release_id"] for version in VERSIONS]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_nodes_make_the_same_releases(tmp_path: Path) -> None:
    """A dump of 2,000 items has the same two releases in one process and on two nodes."""
    here = ids(released(tmp_path / "here", "dump", 2000))
    with address_of("cluster") as address:
        assert ids(released(tmp_path / "there", "dump", 2000, address)) == here
