"""The whole job on a tiny model: killed anywhere, run again, the same release comes out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from worlds import VERSIONS, job, kill_at

from infra.errors import GateError, SourceError, StageError
from infra.files.digest import content_digest
from infra.models.loading import load
from infra.storage.workspace import Workspace
from pipeline.bases import base_of
from pipeline.flow import run_editions
from pipeline.gate.output import PAGE
from pipeline.release import ledger
from pipeline.release.alias import Alias
from pipeline.stages import STAGES


def digests(root: Path) -> dict[str, str]:
    """Content of every output of both editions."""
    workspace = Workspace.at(str(root))
    found = {(s, v): workspace.find(s, v) for s in STAGES for v in VERSIONS}
    return {f"{s}/{v}": artifact.digest for (s, v), artifact in found.items() if artifact}


@pytest.fixture(scope="module")
def threads() -> Any:
    """One thread: a forked child cannot use its parent's pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture()
def finished(world: Callable[..., Path], tmp_path: Path, threads: None) -> Path:
    """Workspace of an uninterrupted run."""
    root = tmp_path / "whole"
    run_editions(job(world(), root))
    return root


def test_both_editions_are_released(finished: Path) -> None:
    """Every stage has an output, production is the later edition, the ledger tells every edit."""
    assert len(digests(finished)) == 18
    assert Alias(Workspace(finished), "tiny").current() == VERSIONS[1]
    first, second = (Workspace.at(str(finished)).find("release", v) for v in VERSIONS)
    assert first and second
    assert second.json("manifest.json")["parent"] == VERSIONS[0]
    events = ledger.read(finished).to_pylist()
    assert {e["event"] for e in events} == {"planned", "applied", "superseded", "held", "routed"}
    edits = set(second.table("edits.parquet")["id"].to_pylist())
    applied = {e["edit_id"] for e in events if e["event"] == "applied"}
    assert edits <= applied
    removed = {e["edit_id"] for e in events if e["event"] == "superseded"}
    assert removed and not removed & edits


def test_every_release_has_its_page_and_the_manifest_names_it(finished: Path) -> None:
    """The page is of this release, and its digest is the manifest's."""
    for version in VERSIONS:
        release = Workspace.at(str(finished)).find("release", version)
        assert release
        manifest = release.json("manifest.json")
        page = release.path / manifest["page"]["file"]
        assert content_digest(page) == manifest["page"]["digest"]
        text = page.read_text(encoding="utf-8")
        assert version in text and manifest["release_id"] in text and "Passed" in text


def test_the_checkpoint_is_what_was_evaluated(finished: Path, checkpoint: Any) -> None:
    """Loaded by transformers, the released weights are base + delta rounded once, the rest the
    base's."""
    release = Workspace.at(str(finished)).find("release", VERSIONS[1])
    assert release
    model, _ = load(release.path / "checkpoint", dtype=torch.float32)
    base, _ = load(checkpoint("llama"), dtype=torch.float32)
    from editors.deltas.delta import Delta
    from editors.deltas.weights import WeightPart

    parts = Delta.load(release.path / "delta.safetensors").of(WeightPart)
    assert parts
    for name, parameter in base.named_parameters():
        expected = parameter + parts[name].change.dense() if name in parts else parameter
        assert torch.equal(model.get_parameter(name), expected), name


def test_a_second_run_does_nothing(finished: Path, world: Callable[..., Path]) -> None:
    """Nothing is made again and the alias does not move back to the first edition."""
    stamps = {p: p.stat().st_mtime_ns for p in finished.rglob("record.json")}
    run_editions(job(world(), finished))
    assert stamps == {p: p.stat().st_mtime_ns for p in finished.rglob("record.json")}
    assert len(Alias(Workspace(finished), "tiny").history()) == 2


def test_a_run_up_to_a_stage_stops_behind_it(
    world: Callable[..., Path], tmp_path: Path, threads: None
) -> None:
    """Of every edition; the next stage is not begun."""
    root = tmp_path / "until"
    run_editions(job(world(), root), until="edit")
    assert Workspace.at(str(root)).versions("edit") == [VERSIONS[0], VERSIONS[1]]
    assert not (root / "evaluate").exists()


def test_killed_at_every_stage_it_continues_to_the_same_release(
    finished: Path, world: Callable[..., Path], tmp_path: Path
) -> None:
    """kill -9 in the middle of each stage and just before its commit, in both editions: 36
    deaths."""
    config, root = world(), tmp_path / "killed"
    for version in VERSIONS:
        for stage in STAGES:
            for moment in ("first", "commit"):
                status = kill_at(job(config, root), stage, version, moment)
                assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, stage
                assert Workspace.at(str(root)).find(stage, version) is None
    run_editions(job(config, root))
    assert digests(root) == digests(finished)
    assert not list(root.rglob("*.partial"))
    whole, killed = (ledger.read(path) for path in (finished, root))
    assert whole.equals(killed)


def test_a_failing_gate_leaves_production_where_it_was(
    world: Callable[..., Path], tmp_path: Path, threads: None
) -> None:
    """The bound, the number and the distance are named; mended bounds need --replace, and then
    pass."""
    root = tmp_path / "gated"
    strict = world(reliability=1.0)
    strict.write_text(strict.read_text().replace("\nreliability = 0.0", "\nreliability = 1"))
    with pytest.raises(GateError, match=r"reliability is .*, allowed at least 1\.0+ \(off by"):
        run_editions(job(strict, root))
    assert Alias(Workspace(root), "tiny").current() is None
    assert Workspace.at(str(root)).find("release", VERSIONS[0]) is None
    page = Workspace.at(str(root)).directory("gate", VERSIONS[0]) / PAGE
    assert "(reliability)" in page.read_text(encoding="utf-8")
    loose = world()
    with pytest.raises(StageError, match=r"config\.reliability\.bound"):
        run_editions(job(loose, root))
    run_editions(job(loose, root, replace=True))
    assert Alias(Workspace(root), "tiny").current() == VERSIONS[1]


@pytest.mark.parametrize("name", ["max_new_tokens", "shard_size", "threads"])
def test_how_the_model_is_asked_is_part_of_an_outputs_identity(
    finished: Path, world: Callable[..., Path], name: str
) -> None:
    """Another length of answers, batch or number of threads gives other bytes: refused under a
    released version."""
    config = world()
    text = config.read_text()
    text = text.replace("max_new_tokens = 4\n", "").replace("shard_size = 8\n", "")
    config.write_text(text.replace("[model]\n", f"[model]\n{name} = 3\n"))
    with pytest.raises(StageError, match=rf"compute\.{name}"):
        run_editions(job(config, finished))


def test_a_malformed_table_keeps_what_was_finished(
    finished: Path, world: Callable[..., Path], tmp_path: Path
) -> None:
    """A source that cannot be read is one line; the workspace stays as it was."""
    config = world()
    (tmp_path / "people.jsonl").unlink()
    before = digests(finished)
    with pytest.raises(SourceError, match=r"people\.jsonl") as caught:
        run_editions(job(config, finished))
    assert "\n" not in str(caught.value)
    assert digests(finished) == before


def test_edits_differ_from_the_base_only_in_the_edited_layers(finished: Path) -> None:
    """The plan's requests were all answered for, and the delta touches the two layers asked for."""
    edit = Workspace.at(str(finished)).find("edit", VERSIONS[0])
    assert edit
    reports = pq.read_table(edit.path / "reports.parquet").to_pylist()
    assert {r["status"] for r in reports} <= {"edited", "quarantined"}
    from editors.deltas.delta import Delta

    names = [part.target for part in Delta.load(edit.path / "delta.safetensors").parts]
    assert [name.split(".")[2] for name in names] == ["1", "2"]


def test_a_codebook_is_released_and_consolidated(
    world: Callable[..., Path], tmp_path: Path, threads: None
) -> None:
    """Edition 1 as a codebook: the checkpoint is the base bitwise, and the release answers by the
    codebook. Edition 2 by MEMIT writes what is live into weights, and needs no codebook."""
    config, root = world(), tmp_path / "grace"
    weights = config.read_text()
    start = weights.index("options = {")
    end = weights.index("\n", start)
    options = "options = { layer = 2, radius = 1e-4, values = { steps = 3 } }"
    first = weights[:start] + 'editor = "grace"\n' + options + weights[end:]
    config.write_text(first[: first.rindex("[[editions]]")])
    run_editions(job(config, root))
    place = Workspace.at(str(root))
    released = place.find("release", VERSIONS[0])
    assert released is not None and released.counts["codebook"] == released.counts["edits"] > 0
    base = base_of(place.root, released.json("manifest.json")["base"])
    unedited, _ = load(base.path, dtype=torch.float32)
    served, _ = load(released.path / "checkpoint", dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(unedited(input_ids=ids).logits, served(input_ids=ids).logits)
    card = (released.path / "README.md").read_text()
    assert "codebook entries" in card and "load_edited" in card
    evaluated = place.find("evaluate", VERSIONS[0])
    assert evaluated is not None
    report = evaluated.json("report.json")
    base, candidate = report["roles"]["base"], report["roles"]["candidate"]
    assert base["perplexity"]["value"] == candidate["perplexity"]["value"]
    facts = evaluated.table("facts.parquet").to_pylist()
    assert any(fact["answer"] != fact["base_answer"] for fact in facts)
    config.write_text(weights)
    second = job(config, root, replace=True)
    edition = second.config.editions[1]
    run_editions(replace(second, config=second.config.model_copy(update={"editions": (edition,)})))
    consolidated = place.find("release", VERSIONS[1])
    assert consolidated is not None and consolidated.counts["codebook"] == 0
    assert consolidated.counts["edits"] > 0
