"""Every command with names that lead elsewhere, and on workspaces that others have touched: an
answer or one line, and no file of anybody is changed."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.files.digest import digest_of, file_digest
from infra.files.tensors import save_tensors
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace
from pipeline.edit.output import DELTA
from pipeline.release.alias import Alias

HOSTILE = (
    *("", " ", ".", "..", "./v1", "v1/", "../../evil", "/etc/passwd", "a\\b", "%2e%2e", "V1", "~"),
    *("x.partial", "x-without-culprits", "x" * 5000, "é", "\ud800", "a\nb", "[/b]", "\x1b[2J", "*"),
)
"""Names that are none."""
CAPABILITIES_OVER_FILES = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root may write where nobody may."""


@pytest.fixture()
def place(tmp_path: Path) -> Workspace:
    """A workspace with two releases of the line `mine`, the second in production. In the second
    nothing was new, so its metrics were not measured."""
    workspace = Workspace.at(str(tmp_path / "ws"))
    for version, parent, measured in (("v1", None, 0.5), ("v2", "v1", None)):
        manifest = {
            "line": "mine",
            "parent": parent,
            "as_of": "2020-01-01",
            "base": {"name": None, "digest": "b"},
            "evaluation": {"reliability": measured, "perplexity": measured},
            "page": {"file": "report.html"},
        }

        def body(out: StageDir, manifest: Any = manifest) -> dict[str, str]:
            save_tensors({}, out.path / DELTA)
            batches = [{"delta": file_digest(out.path / DELTA), "edits": []}]
            release_id = digest_of({"base": "b", "batches": batches})
            named = {**manifest, "release_id": release_id, "batches": batches}
            out.write_json("manifest.json", named)
            return {"release_id": release_id}

        workspace.run_stage(
            "release",
            version,
            code=1,
            made_from={"v": version},
            body=body,
            stamp={"line": "mine"},
        )
        Alias(workspace, "mine").move(version, "passed the gate")
    return workspace


def content(root: Path) -> dict[str, bytes]:
    """Path -> content of each file below a directory."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def require_line(code: int, err: str) -> None:
    """A command that was refused has said so in one line, and no traceback. Texts that people gave
    stand in it as Python writes them."""
    assert code in (1, 2) and "Traceback" not in err
    if code == 1:
        assert err.rstrip("\n").isprintable()


@contextmanager
def without_rights_over_files() -> Iterator[None]:
    """A block in which the modes of files hold for root too."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, this thread
    held, fewer = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    fewer[:] = list(held)
    fewer[0] &= ~CAPABILITIES_OVER_FILES
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_leads_nowhere_else(
    name: str, corrigenda: Any, place: Workspace, tmp_path: Path
) -> None:
    """Given as release or line, it is refused in one line, and no file is written or changed."""
    before = content(tmp_path)
    where = ("--workspace", place.root)
    for words in (
        ("rollback", *where, "--", name),
        ("rollback", "v1", "--line", name, *where),
        ("ask", "Who?", "--release", name, *where),
        ("ask", "Who?", "--line", name, *where),
    ):
        code, _, err = corrigenda(*words)
        require_line(code, err)
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_init_writes_no_config_with_such_a_name(
    name: str, corrigenda: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As line or source: one line, and no file; only names of versions have further endings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"subject": "a", "relation": "P6", "object": "b"}\n')
    given = ("init", "c.toml", "--kind", "table", "--set", "path=t.jsonl")
    for flag in ("--line", "--name"):
        code, _, err = corrigenda(*given, "--model", "smollm2-135m-instruct", flag, name)
        if code == 0:
            assert name in ("", "V1", "x-without-culprits")  # for "", the proposed name is taken
            (tmp_path / "c.toml").unlink()
        else:
            require_line(code, err)
        assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0"), max_size=40))
def test_any_workspace(corrigenda: Any, tmp_path: Path, text: str) -> None:
    """Any text as a workspace, with every command that reads one: an answer or one line."""
    os.chdir(tmp_path)
    for words in (("status",), ("rollback",), ("why", "x")):
        code, out, err = corrigenda(*words, f"--workspace={text}")
        assert "Traceback" not in err and (code == 0 or out == "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling", "loop", "long", "no user"])
def test_a_workspace_that_is_no_directory(
    kind: str, corrigenda: Any, world: Callable[..., Path], tmp_path: Path
) -> None:
    """Each command, those that write included, says so in one line."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    given = {
        "below a file": tmp_path / "file" / "ws",
        "long": tmp_path / ("x" * 300),
        "no user": "~nobody-of-that-name/ws",
    }.get(kind, tmp_path / kind)
    config = world()
    for words in (
        *(("status",), ("releases",), ("rollback",), ("why", "x"), ("ask", "x")),
        ("run", "-c", config, "--ray-address", "none"),
        ("check", "-c", config, "--ray-address", "none"),
    ):
        code, _, err = corrigenda(*words, "--workspace", given)
        require_line(code, err)
        assert err.startswith("ConfigError: workspace ")
    assert (tmp_path / "file").read_text() == "mine"


def test_files_of_other_programs_are_no_releases(corrigenda: Any, place: Workspace) -> None:
    """Copies in conflict, folders and marks of programs that synchronise or show files: every
    command says what it said before, and a move is the next entry of the log."""
    log = place.root / "aliases" / "mine" / "production"
    told = [corrigenda(c, "-w", place.root)[:2] for c in ("status", "releases")]
    last = (log / "00000002.json").read_text()
    for name in (
        *("00000003 (conflicted copy).json", "00000002.json.sync-conflict", "00000003~1.json"),
        *(".DS_Store", "._00000002.json", "3.json", "00000002 2.json", "Thumbs.db", "notes.json"),
    ):
        (log / name).write_text(last)
    for folder in (place.root, place.root / "release", place.root / "aliases", log):
        for name in (".stversions", ".stfolder", "Icon\r", "mine (conflicted copy)"):
            (folder / name).mkdir()
        (folder / ".DS_Store").write_bytes(b"\0\1")
    assert [corrigenda(c, "-w", place.root)[:2] for c in ("status", "releases")][1] == told[1]
    code, out, _ = corrigenda("status", "-w", place.root, "--json")
    assert code == 0 and json.loads(out)["production"] == {"mine": "v2"}
    assert corrigenda("rollback", "-w", place.root)[0] == 0
    assert json.loads((log / "00000003.json").read_text())["version"] == "v1"


@pytest.mark.parametrize(
    "entry",
    ["", "{", "[]", "5", '{"version": "v2"}', '{"version": 5, "reason": ""}', "[" * 100_000]
    + [json.dumps({"version": name, "reason": ""}) for name in ("./v2", "../v2", "", "v2/", ".")],
)
def test_an_entry_of_the_log_that_is_none(entry: str, corrigenda: Any, place: Workspace) -> None:
    """Empty, cut, or with a version that is no name: a line that names the file, by every command
    that asks which release is in production; nothing silently falls back to the entry before."""
    file = place.root / "aliases" / "mine" / "production" / "00000002.json"
    file.write_text(entry)
    for words in (("rollback",), ("ask", "x"), ("ask", "x", "--line", "mine")):
        code, _, err = corrigenda(*words, "-w", place.root)
        require_line(code, err)
        assert "00000002.json" in err
    file.unlink()
    assert json.loads(corrigenda("releases", "-w", place.root, "--json")[1])[0]["version"] == "v1"


def test_a_workspace_that_is_read_only(corrigenda: Any, place: Workspace) -> None:
    """What only reads works; what writes says so in one line, and nothing is changed."""
    before = content(place.root)
    for path in (place.root, *place.root.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    with without_rights_over_files():
        for command in ("status", "releases"):
            code, out, err = corrigenda(command, "-w", place.root)
            assert code == 0 and "v2" in out, err
        code, _, err = corrigenda("rollback", "-w", place.root)
        require_line(code, err)
        assert "cannot read or write" in err and "Permission denied" in err
    for path in (place.root, *place.root.rglob("*")):
        path.chmod(0o700)
    assert content(place.root) == before


@pytest.mark.parametrize(
    "flag", ["--dtype=x", "--device=tpu", "--num=-1", "--alone=-1", "--steps=-1", "--metrics=,"]
)
def test_hostile_settings_of_a_comparison(flag: str, corrigenda: Any, tmp_path: Path) -> None:
    """One line each."""
    fact = {"prompt": "Ada works for", "subject": "Ada", "target": "the Navy", "id": "1"}
    (tmp_path / "own.jsonl").write_text(json.dumps(fact) + "\n")
    code, _, err = corrigenda(
        *("eval", "--data", f"jsonl:{tmp_path / 'own.jsonl'}", "--ray-address", "none", flag),
        *("--workspace", tmp_path / "ws", "--model", tmp_path / "nowhere"),
    )
    require_line(code, err.splitlines()[-1] if err else err)
