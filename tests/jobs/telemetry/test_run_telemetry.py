"""What a run tells while it works and leaves behind: a file of metrics, and a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.execution.runner import InProcessRunner
from infra.storage.workspace import Workspace
from infra.telemetry.metrics import Sample
from jobs.telemetry.json_log import KEYS, JsonLog
from jobs.telemetry.run_telemetry import RunTelemetry
from pipeline.stages import STAGES

TELEMETRY = """
[telemetry]
file = "../metrics/tiny.prom"
log = "{folder}/log.jsonl"
"""
VERSIONS = ("2016.06.30", "2021.06.30")


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Name and values of labels but `line` -> value, as prometheus_client reads a file."""
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k != "line")): sample.value
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8"))
        for sample in family.samples
    }


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_figures_are_those_of_the_records(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """After a run, the file has what the last edition's records and the workspace say, and the log
    every stage of every edition with its counts, and every shard."""
    config = world(TELEMETRY.format(folder=tmp_path))
    code, _, err = corrigenda("run", "-c", config, "--ray-address", "none")
    assert code == 0, err
    place = Workspace(tmp_path / "workspace")

    def record(stage: str, version: str = VERSIONS[1]) -> dict[str, Any]:
        return json.loads((place.directory(stage, version) / "record.json").read_text())

    found = read(tmp_path / "metrics" / "tiny.prom")
    verdicts = record("probe")["counts"]["verdicts"]
    for verdict, number in verdicts.items():
        assert found["corrigenda_beliefs", verdict] == number
    asked = sum(number for verdict, number in verdicts.items() if verdict != "not probed")
    assert found["corrigenda_stale_ratio",] == verdicts.get("stale", 0) / asked
    for kind, number in record("diff")["counts"]["kinds"].items():
        assert found["corrigenda_changes", kind] == number
    assert found["corrigenda_edits", "edited"] == record("edit")["counts"]["edits"]
    assert found["corrigenda_facts",] == record("snapshot")["counts"]["facts"]
    assert found["corrigenda_held_changes",] == 1
    assert found["corrigenda_gate_passed",] == 1 and found["corrigenda_gate_failed_checks",] == 0
    perplexity = record("evaluate")["counts"]["perplexity"]
    assert found["corrigenda_evaluation", "perplexity"] == perplexity
    for stage in STAGES:
        assert found["corrigenda_stage_failed", stage] == 0
        assert found["corrigenda_stage_duration_seconds", stage] == record(stage)["duration_s"]
    assert found["corrigenda_production_day_timestamp_seconds",] == 1625011200  # 2021-06-30
    finished = (place.directory("release", VERSIONS[1]) / "record.json").stat().st_mtime
    assert abs(found["corrigenda_released_timestamp_seconds",] - finished) < 1
    assert 0 < found["corrigenda_disk_free_bytes",] < found["corrigenda_disk_size_bytes",]

    log = lines(tmp_path / "log.jsonl")
    assert all(set(KEYS) <= set(line) for line in log)
    assert len({line["run"] for line in log}) == 1
    assert [log[0]["event"], log[-1]["event"]] == ["run began", "run ended"]
    ended = [line for line in log if line["event"] == "stage ended"]
    assert [(line["edition"], line["stage"]) for line in ended] == [
        (version, stage) for version in VERSIONS for stage in STAGES
    ]
    assert all(line["counts"] == record(line["stage"], line["edition"])["counts"] for line in ended)
    shards = [line for line in log if line["shard"]]
    assert {line["stage"] for line in shards} >= {"snapshot", "probe", "evaluate"}
    assert len({(line["stage"], line["version"], line["shard"]) for line in shards}) == len(shards)


def test_a_gate_that_fails_is_told_as_that(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """And as no failure of a stage; nothing is said of a release that is not there."""
    config = world(TELEMETRY.format(folder=tmp_path), reliability=1.0)
    code, _, _ = corrigenda("run", "-c", config, "--ray-address", "none")
    assert code == 1
    found = read(tmp_path / "metrics" / "tiny.prom")
    assert found["corrigenda_gate_passed",] == 0 and found["corrigenda_gate_failed_checks",] == 1
    assert not any(v for (name, *_), v in found.items() if name == "corrigenda_stage_failed")
    assert ("corrigenda_released_timestamp_seconds",) not in found
    failed = [line for line in lines(tmp_path / "log.jsonl") if line["level"] == "error"]
    assert [(line["event"], line["kind"]) for line in failed] == [("run failed", "GateError")]


def test_a_stage_that_fails_is_told_until_it_is_made(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """A table that cannot be read fails the crawl; read again, it does not."""
    config = world(TELEMETRY.format(folder=tmp_path))
    people, path = config.parent / "people.jsonl", tmp_path / "metrics" / "tiny.prom"
    whole = people.read_text()
    people.write_text('{"subject": \n')
    words = ("run", "-c", config, "--ray-address", "none", "--until", "diff")
    assert corrigenda(*words)[0] == 1
    assert read(path)["corrigenda_stage_failed", "crawl"] == 1
    people.write_text(whole)
    assert corrigenda(*words)[0] == 0
    assert read(path)["corrigenda_stage_failed", "crawl"] == 0
    assert len({line["run"] for line in lines(tmp_path / "log.jsonl")}) == 2


def test_files_that_cannot_be_written_end_no_run(
    corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """Each is said in one line."""
    (tmp_path / "metrics").write_text("")
    config = world(TELEMETRY.format(folder=tmp_path))
    words = ("run", "-c", config, "--ray-address", "none", "--until", "diff")
    code, _, err = corrigenda(*words, "--log", tmp_path)
    assert code == 0
    assert err.count("The run goes on.") == 2
    assert f"log {tmp_path}: Is a directory" in err and "telemetry: File exists" in err


def test_progress_is_measured_while_a_stage_works(tmp_path: Path) -> None:
    """What waits is what is not done; with a new phase, or the end of the stage, nothing of the
    one before waits."""
    exported: list[list[Sample]] = []

    class Keep:
        def export(self, line: str, samples: list[Sample]) -> None:
            exported.append(samples)

    place = Workspace(tmp_path)
    out = place.partial("edit", "1")
    out.mkdir(parents=True)

    def waiting(text: str, done: int, total: int, **figures: float) -> dict[str, float]:
        said = {"done": done, "total": total, "text": text, "figures": figures}
        (out / "progress.json").write_text(json.dumps(said))
        telemetry.measure()
        return {
            " ".join(labels): value
            for metric, labels, value in exported[-1]
            if metric.name in ("corrigenda_tasks_waiting", "corrigenda_edit_loss")
        }

    telemetry = RunTelemetry(place, "mine", InProcessRunner(), exporters=[Keep()])
    telemetry.begin("edit", "1")
    assert waiting("statistics", 1, 4) == {"edit statistics": 3}
    assert waiting("values, loss 0.5", 2, 9, loss=0.5) == {
        "edit statistics": 0,
        "edit values": 7,
        "": 0.5,
    }


def test_no_secret_is_in_the_log(tmp_path: Path) -> None:
    """User info of addresses and values with a secret's name are masked in every line."""
    log = JsonLog(tmp_path / "log.jsonl", "mine")
    secret = "hunter2hunter2"
    log.write("told", text=f"https://me:{secret}@a.org/?token={secret} password={secret}")
    log.write("stage ended", counts={f"postgresql://me:{secret}@db/x": [f"api_key={secret}"]})
    text = (tmp_path / "log.jsonl").read_text()
    assert secret not in text and "a.org" in text and "@db/x" in text
