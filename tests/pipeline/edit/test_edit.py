"""The edit stage: killed inside, it goes on where it was; what it shows while it runs is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planned_edits import planned_edit

from infra.errors import StageError
from infra.execution.runner import InProcessRunner, Resources
from infra.files.digest import digest_of, file_digest
from infra.models.loading import ModelRef
from infra.storage.stage_dir import PROGRESS, StageDir
from pipeline.edit.config import EditConfig
from pipeline.edit.output import DELTA, REPORTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.edit.value_store import ValueStore
from pipeline.edit.worker import EditWorker
from pipeline.plan.edits import PlannedEdit

PEOPLE = ("Tom Brady", "Wayne Rooney", "Neymar", "Ada Lovelace", "Grace Hopper", "Tim Cook")


def planned(name: str, target: str = "the Navy") -> PlannedEdit:
    """A lesson about one person."""
    return planned_edit(
        digest_of(name)[:16],
        name,
        relation="P108",
        prompt=f"{name} works for",
        target=target,
        accepted=(target,),
    )


EVERYONE = tuple(map(planned, PEOPLE))


class Watching(InProcessRunner):
    """Remembers what was shown before each group of values; dies after some groups."""

    def __init__(self, out: Path, groups: int = 99) -> None:
        super().__init__()
        self.out, self.groups = out, groups
        self.seen: list[dict[str, Any]] = []
        self.searched: list[int] = []

    def map(
        self, make_worker: Callable[[], Any], shards: Iterable[Any], *, resources: Resources
    ) -> Iterator[Any]:
        taken = list(shards)
        results = super().map(make_worker, taken, resources=resources)
        for result, shard in zip(results, taken, strict=True):
            if shard[0] is EditWorker.find_values:
                self.seen.append(json.loads((self.out / PROGRESS).read_text()))
                if len(self.searched) == self.groups:
                    raise KeyboardInterrupt
                self.searched.append(len(shard[1]))
            yield result


@pytest.fixture()
def stage(checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., Watching]:
    """Runs the edit stage in a folder and with a cache of its own."""

    def run(name: str, *, groups: int = 99, edits: Sequence[PlannedEdit] = EVERYONE) -> Watching:
        out = StageDir(tmp_path / name / "out")
        out.path.mkdir(parents=True, exist_ok=True)
        runner = Watching(out.path, groups)
        text = tmp_path / "text.txt"
        text.write_text("The Navy is in London. Paris is a city.\n\n" * 200)
        options = {"layers": [1, 2], "statistics_tokens": 512, "window": 64, "chunk": 2}
        inputs = EditInputs(
            relations={},
            edits=edits,
            preserved=(),
            base=ModelRef("tiny", checkpoint("llama"), "digest"),
            config=EditConfig(options=options, text=str(text)),
            device="cpu",
            dtype="float32",
            cache=tmp_path / name / "cache",
        )
        edit(inputs, out, runner)
        return runner

    return run


def test_killed_inside_it_goes_on_with_the_rest(
    stage: Callable[..., Watching], tmp_path: Path
) -> None:
    """Groups found before the kill are not searched again, and the delta is the same bits."""
    whole = stage("whole")
    assert whole.searched == [2, 2, 2]
    with pytest.raises(KeyboardInterrupt):
        stage("killed", groups=1)
    again = stage("killed")
    assert again.searched == [2]  # the group that was found when the kill came is kept too
    digests = {file_digest(tmp_path / name / "out" / DELTA) for name in ("whole", "killed")}
    assert len(digests) == 1


def test_progress_counts_edits(stage: Callable[..., Watching]) -> None:
    """Edits done of all, those found first, the loss, the speed and the time left."""
    stage("one", edits=EVERYONE[:2])
    seen = stage("one").seen
    assert [(s["done"], s["total"]) for s in seen] == [(2, 6), (4, 6)]
    assert seen[0]["text"] == "values, 2 found"
    for word in ("loss ", "edits/s", "s left"):
        assert word in seen[1]["text"]


def test_what_no_request_can_be_made_of_is_quarantined(
    stage: Callable[..., Watching], tmp_path: Path
) -> None:
    """An empty target, a subject beyond the prompt: each has its reason, the rest is edited."""
    beyond = replace(planned("Tim Berners-Lee"), subject_end=99)
    stage("bad", edits=[planned("Nobody", ""), *EVERYONE[:2], beyond])
    rows = pq.read_table(tmp_path / "bad" / "out" / REPORTS).to_pylist()
    assert [row["id"] for row in rows if row["status"] == "edited"] == [e.id for e in EVERYONE[:2]]
    reasons = {row["id"]: row["reason"] for row in rows if row["status"] == "quarantined"}
    assert "target is empty" in reasons[planned("Nobody").id]
    assert "outside the prompt" in reasons[beyond.id]


def test_the_store_keeps_what_is_added_together(tmp_path: Path) -> None:
    """Another reader finds it, also what came after it first looked."""
    import torch

    one, other = ValueStore(tmp_path), ValueStore(tmp_path)
    assert "a" not in other
    one.update({"a": torch.ones(3), "b": torch.zeros(2)})
    assert "a" in other and torch.equal(other["b"], torch.zeros(2))
    with pytest.raises(StageError, match="Run the same command again"):
        other["c"]
