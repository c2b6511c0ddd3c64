"""Outputs are whole or absent, made once, and mean one thing for ever."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import ConfigError, StageError
from infra.runner import InProcessRunner
from infra.storage import (
    Shard,
    StageDir,
    Workspace,
    file_digest,
    put_if_absent,
)
from infra.table_digest import table_digest


def make(workspace: Workspace, config: Any = 1, **more: Any) -> Any:
    def body(out: StageDir) -> dict[str, int]:
        out.write_json("value.json", config)
        return {"value": 1}

    return workspace.run_stage("s", "v", code=1, config=config, inputs={}, body=body, **more)


def test_same_fingerprint_is_made_once(tmp_path: Path) -> None:
    """The second call returns the first output without running the body."""
    workspace = Workspace.at(str(tmp_path))
    first = make(workspace)
    stamp = (first.path / "record.json").stat().st_mtime_ns
    assert make(workspace).digest == first.digest
    assert (first.path / "record.json").stat().st_mtime_ns == stamp


def test_other_settings_under_an_old_version_are_refused_by_name(tmp_path: Path) -> None:
    """The message says which setting differs; --replace discards, and only then."""
    workspace = Workspace.at(str(tmp_path))
    make(workspace, {"margin": 1})
    with pytest.raises(StageError, match=r"config\.margin: 1 -> 2.*--replace"):
        make(workspace, {"margin": 2})
    assert make(workspace, {"margin": 2}, replace=True).json("value.json") == {"margin": 2}


def test_a_failing_body_leaves_no_output_and_keeps_finished_shards(tmp_path: Path) -> None:
    """After an interruption only what was missing runs again."""
    workspace = Workspace.at(str(tmp_path))
    ran: list[int] = []

    def body(fail_at: int) -> Any:
        def worker(payload: int) -> pa.Table:
            if payload == fail_at:
                raise RuntimeError("fault")
            ran.append(payload)
            return pa.table({"x": [payload]})

        def run(out: StageDir) -> dict[str, int]:
            paths = out.map_tables(
                InProcessRunner(), lambda: worker, [Shard(str(i), i) for i in range(4)]
            )
            out.write_table("all.parquet", pa.concat_tables(map(pq.read_table, paths)))
            return {}

        return run

    common: dict[str, Any] = {"code": 1, "config": 0, "inputs": {}}
    with pytest.raises(RuntimeError):
        workspace.run_stage("s", "v", body=body(fail_at=2), **common)
    assert workspace.find("s", "v") is None
    artifact = workspace.run_stage("s", "v", body=body(fail_at=-1), **common)
    assert ran == [0, 1, 2, 3]
    assert artifact.table("all.parquet")["x"].to_pylist() == [0, 1, 2, 3]
    assert sorted(p.name for p in artifact.path.iterdir()) == ["all.parquet", "record.json"]


def test_table_digest_is_of_rows_not_of_chunks() -> None:
    """The same rows in other chunks have the same digest; another row another."""
    whole = pa.table({"x": [1, 2, None], "y": [["a"], [], None]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert table_digest(whole) == table_digest(parts)
    assert table_digest(whole) != table_digest(whole.slice(0, 2))


DIGESTED = pa.schema(
    [
        ("number", pa.int64()),
        ("name", pa.string()),
        ("bytes", pa.large_binary()),
        ("real", pa.float64()),
        ("yes", pa.bool_()),
        ("names", pa.list_(pa.string())),
        ("pair", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-5, 5),
            "name": st.none() | st.text("ab", max_size=2),
            "bytes": st.none() | st.binary(max_size=2),
            "real": st.none() | st.floats(0, 1),
            "yes": st.none() | st.booleans(),
            "names": st.none() | st.lists(st.none() | st.text("ab", max_size=2), max_size=2),
            "pair": st.none()
            | st.fixed_dictionaries({"a": st.none() | st.integers(0, 1), "b": st.just("x")}),
        }
    ),
    max_size=6,
)


@given(ROWS, ROWS, st.lists(st.integers(0, 6), max_size=3))
def test_table_digest_is_equality_of_rows(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], cuts: list[int]
) -> None:
    """Two tables have one digest exactly when they have the same rows, however they are cut,
    sliced out of a larger table, or written and read again."""
    whole = pa.Table.from_pylist(rows, schema=DIGESTED)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    inside = pa.Table.from_pylist([*others, *rows, *others], schema=DIGESTED).combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink)
    other = pa.Table.from_pylist(others, schema=DIGESTED)
    digest = table_digest(whole)
    assert table_digest(pa.concat_tables(parts)) == digest
    assert table_digest(inside.slice(len(others), len(rows))) == digest
    assert table_digest(pq.read_table(pa.BufferReader(sink.getvalue()))) == digest
    assert (table_digest(other) == digest) == (rows == others)


def test_reused_files_are_not_read_again(tmp_path: Path) -> None:
    """A file taken over from a finished output is the same file, and its digest in the record is
    the one that reading it would give."""
    workspace = Workspace.at(str(tmp_path))
    common: dict[str, Any] = {"code": 1, "config": 0, "inputs": {}}

    def first(out: StageDir) -> dict[str, int]:
        out.write_table("x.parquet", pa.table({"x": [1, None]}))
        return {}

    old = workspace.run_stage("s", "old", body=first, **common)

    def second(out: StageDir) -> dict[str, int]:
        out.reuse(old, "x.parquet")
        return {}

    new = workspace.run_stage("s", "new", body=second, **common)
    assert new.record["files"] == {"x.parquet": file_digest(new.path / "x.parquet")}
    assert (new.path / "x.parquet").samefile(old.path / "x.parquet")


def test_put_if_absent_has_one_winner(tmp_path: Path) -> None:
    """The first content stays."""
    path = tmp_path / "a" / "1.json"
    assert put_if_absent(path, "first")
    assert not put_if_absent(path, "second")
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["1.json"]


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path: Path) -> None:
    """A real failing write (file size limit of the process) ends as StageError, without output."""
    import resource
    import signal

    workspace = Workspace.at(str(tmp_path))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(StageError, match=r"cannot write .*run the same command again"):
            make(workspace, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert workspace.find("s", "v") is None
    assert not list(tmp_path.rglob("value.json"))
    assert make(workspace, "x" * 10_000).counts == {"value": 1}


def test_other_schemes_are_refused() -> None:
    """An object store is not silently taken for a directory."""
    with pytest.raises(ConfigError, match="scheme 's3' is not supported"):
        Workspace.at("s3://bucket/x")
