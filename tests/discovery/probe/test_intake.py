"""What an edition takes in, through the whole job on a tiny model: a change that is held by one
edition is an edit of the next, and the fact sheet follows."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from plan_helpers import change
from worlds import VERSIONS, job

from discovery.probe.intake import in_order
from infra.errors import ConfigError
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.flow import run_editions
from pipeline.plan.fact_sheet import SHEET, SHEET_LINES


def found(root: Path, stage: str, version: str) -> Artifact:
    artifact = Workspace.at(str(root)).find(stage, version)
    assert artifact is not None, (stage, version)
    return artifact


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return artifact.table(name).to_pylist()


def test_over_the_budget_waits_on_the_sheet_and_is_taken_up(
    world: Callable[..., Path], tmp_path: Path
) -> None:
    """Eight facts, six edits: two wait and are on the sheet of the release, in both its files; the
    next edition takes up those whose fact still holds and drops those that moved on."""
    root = tmp_path / "ws"
    run_editions(job(world(), root))
    first, second = (found(root, "plan", version) for version in VERSIONS)
    waiting = rows(first, "held.parquet")
    assert [(h["state"], h["rules"]) for h in waiting] == [("eligible", ["edit budget"])] * 2
    released = found(root, "release", VERSIONS[0])
    sheet = rows(released, SHEET)
    assert {row["subject"] for row in sheet} == {h["subject"] for h in waiting}
    lines = (released.path / SHEET_LINES).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in sheet]
    assert released.json("manifest.json")["fact_sheet"]["rows"] == 2

    probed = found(root, "probe", VERSIONS[1])
    taken = {row["change_id"] for row in rows(probed, "taken_up.parquet")}
    dropped = {row["id"] for row in rows(probed, "dropped.parquet")}
    assert taken | dropped == {h["id"] for h in waiting} and not taken & dropped
    kept = {c["id"] for c in rows(probed, "changes.parquet") if c["kind"] == "keep"}
    assert kept and kept <= {v["change_id"] for v in rows(probed, "verdicts.parquet")}
    refused = {r["change_id"] for r in rows(second, "refusals.parquet")}
    edited = {e["change_id"] for e in rows(second, "edits.parquet")}
    waits = {h["id"] for h in rows(second, "held.parquet")}
    assert taken <= refused | edited | waits


def test_live_edits_first_then_what_is_worth_most() -> None:
    """Whatever the order of input: changes of live edits, then popular subjects of relations that
    change often, then what was held before; nothing is lost."""
    changes = [change(i, relation=("P54", "P108")[i % 2], popularity=i // 4) for i in range(40)]
    live, rates = {("Q0", "P54")}, {"P54": 0.1, "P108": 0.4}
    since = {c.id for c in changes if int(c.id, 16) % 4 > 1}
    ordered = in_order(changes, live, rates, since)
    assert ordered == in_order(changes[::-1], live, rates, since)
    assert ordered[0].subject == "Q0" and Counter(ordered) == Counter(changes)
    worth = [rates[c.relation] * (1 + math.log1p(c.popularity)) for c in ordered[1:]]
    assert worth == sorted(worth, reverse=True)
    for relation in rates:
        mine = [c for c in ordered[1:] if c.relation == relation]
        pairs = [(a, b) for a, b in pairwise(mine) if a.popularity == b.popularity]
        assert pairs and all((a.id in since) <= (b.id in since) for a, b in pairs)


def test_a_distrusted_source_teaches_nothing(world: Callable[..., Path], tmp_path: Path) -> None:
    """A table that needs two voices has none: nothing is asked, edited or on the sheet, and all of
    it waits with its reason."""
    root = tmp_path / "ws"
    config = world()
    text = config.read_text()
    text = text[: text.rindex("[[editions]]")]
    config.write_text(text.replace("[probe]", "[trust.sources.people]\nbase_trust = 0.5\n[probe]"))
    run_editions(job(config, root), until="plan")
    planned, probed = found(root, "plan", VERSIONS[0]), found(root, "probe", VERSIONS[0])
    assert probed.counts["probed"] == 0 and planned.counts["actions"] == {}
    assert planned.counts["held"] == {"held: quorum": 8} and planned.counts["sheet"] == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[trust]\ncooldown_h = 3", "did you mean 'cool_down_h'"),
        ("[trust.sources.peple]\nquorum = 1", "did you mean 'people'"),
        ('[trust]\napprove = ["everything"]', "'everything' is no change id"),
        ("[route]\nmin_sitelink = 3", "did you mean 'min_sitelinks'"),
        ("[trust]\nquorum = -1", "trust.quorum"),
    ],
)
def test_a_mistaken_policy_is_one_line(
    world: Callable[..., Path], table: str, message: str
) -> None:
    """Named, with what is near it."""
    config = world()
    config.write_text(config.read_text().replace("[probe]", f"{table}\n[probe]"))
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(config)
    assert "\n" not in str(caught.value)
