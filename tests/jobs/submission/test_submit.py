"""Jobs on a real Ray head: they run once, end as their command does, and can be cancelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from loopback import QuietHandler, on_loopback
from ray_head import ray_head

from infra.storage.workspace import Workspace
from jobs.submission import submission

ROOT = Path(__file__).parents[3]
CODE = (".py", ".json", ".jsonl", ".txt", ".html", ".j2", ".md")
TABLE = "subject,relation,object,date\nNeymar,P54,Paris,2020-01-01\n"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of two nodes."""
    with ray_head(workers=1) as found:
        yield found


def write(folder: Path, line: str) -> Path:
    """A config of one small table."""
    (folder / "people.csv").write_text(TABLE)
    config = folder / f"{line}.toml"
    config.write_text(
        f'line = "{line}"\nworkspace = "{folder / "ws"}"\n[[editions]]\nas_of = 2026-11-23\n'
        '[[sources]]\nkind = "table"\nname = "people"\npath = "people.csv"\n'
    )
    return config


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_edition_is_one_job(address: str, corrigenda: Any, tmp_path: Path) -> None:
    """It reads the table that it took along, writes into the workspace, and is followed to its end;
    the same command again makes no second job."""
    words = ("submit", "-c", write(tmp_path, "once"), "--address", address, "--until", "diff")
    code, out, err = corrigenda(*words)
    assert code == 0, out + err
    assert "1 fact is new" in out and "following corrigenda-once-2026.11.23" in err
    assert Workspace.at(str(tmp_path / "ws")).find("diff", "2026.11.23") is not None
    code, out, err = corrigenda(*words, "--json")
    assert code == 0 and json.loads(out)["state"] == "SUCCEEDED"
    assert "corrigenda-once-2026.11.23 has succeeded already; nothing is submitted" in err
    _, out, _ = corrigenda("jobs", "--address", address, "--json")
    known = [(job["id"], job["exit_code"]) for job in json.loads(out) if "once" in job["id"]]
    assert known == [("corrigenda-once-2026.11.23", 0)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_job_that_fails_and_its_next_attempt(
    address: str, corrigenda: Any, tmp_path: Path
) -> None:
    """The command ends with the job's exit code and its one line. What was wrong is mended, and the
    edition is tried again, in a job that is cancelled; one of another config is refused while it
    runs."""
    config = write(tmp_path, "twice")
    (tmp_path / "people.csv").write_text("subject,relation\nNeymar,P54\n")
    words = ("submit", "-c", config, "--address", address)
    code, out, _ = corrigenda(*words, "--until", "diff")
    assert code == 1 and out.count("ConfigError: source people: ") == 1
    (tmp_path / "people.csv").write_text(TABLE)
    code, out, _ = corrigenda(*words, "--no-wait")
    again = "corrigenda-twice-2026.11.23-r1"
    assert code == 0 and out == f"{again}\n"
    code, _, err = corrigenda(*words, "--until", "plan")
    assert code == 1 and f"job {again} of the same edition is " in err
    assert "Wait until it ends, or cancel it." in err
    code, out, _ = corrigenda("cancel", again, "--address", address)
    assert code == 0 and out == f"{again} has ended: STOPPED\n"
    code, out, _ = corrigenda("jobs", "--address", address)
    assert code == 0 and f"{again} STOPPED" in " ".join(out.split())
    code, _, err = corrigenda("cancel", "corrigenda-none-1", "--address", address)
    assert code == 1 and err.count("\n") == 1 and "corrigenda-none-1" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_at_the_same_moment(address: str, corrigenda: Any, tmp_path: Path) -> None:
    """Two processes that submit one edition at once have one job."""
    words = ("submit", "--config", str(write(tmp_path, "both")), "--address", address, "--no-wait")
    command = [sys.executable, "-c", "from jobs.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=100.0)[0] for process in running]
    assert said == ["corrigenda-both-2026.11.23\n"] * 2
    assert [process.returncode for process in running] == [0, 0]
    code, out, _ = corrigenda("cancel", "corrigenda-both-2026.11.23", "--address", address)
    assert code == 0 and "has ended" in out
    _, out, _ = corrigenda("jobs", "--address", address, "--json")
    assert len([job for job in json.loads(out) if "-both-" in job["id"]]) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_nodes_without_the_program(
    address: str, corrigenda: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to do, instead of a shell's."""
    monkeypatch.setattr(submission, "PROGRAM", "a-program-that-is-not-there")
    code, _, err = corrigenda("submit", "-c", write(tmp_path, "bare"), "--address", address)
    assert code == 1 and "the nodes have no program `corrigenda` on their PATH" in err
    assert err.splitlines()[-1].startswith("StageError: job corrigenda-bare-2026.11.23: ")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_job_brings_its_wheel(address: str, corrigenda: Any, tmp_path: Path) -> None:
    """What runs is the package of the wheel, and it finds itself on all nodes; of a config with a
    schedule it makes the edition of the day for which it was submitted."""
    wheel = tmp_path / "corrigenda-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for package in ("discovery", "editors", "infra", "jobs", "pipeline"):
            for file in sorted((ROOT / package).rglob("*")):
                name = file.relative_to(ROOT).as_posix()
                if file.suffix in CODE and name != "jobs/commands/__init__.py":
                    packed.write(file, name)
        about = f"Metadata-Version: 2.1\nName: corrigenda\nVersion: {version('corrigenda')}\n"
        packed.writestr("corrigenda-0.dist-info/METADATA", about)
        packed.writestr("jobs/commands/__init__.py", 'print("out of the wheel")\n')
    config = write(tmp_path, "packed")
    days = "[[editions]]\nas_of = 2026-11-23\n"
    config.write_text(config.read_text().replace(days, '[schedule]\ncron = "0 3 * * 1"\n'))
    words = ("submit", "-c", config, "--address", address, "--until", "crawl", "--wheel", wheel)
    code, out, err = corrigenda(*words, "--edition", "2026-11-30")
    assert code == 0, out + err
    assert "out of the wheel\n" in out and "corrigenda-packed-2026.11.30" in err
    assert Workspace.at(str(tmp_path / "ws")).find("crawl", "2026.11.30") is not None


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_token_that_is_refused(corrigenda: Any) -> None:
    """Without a token, and with one that is not the cluster's, as when it has expired: one line."""
    with ray_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}) as guarded:
        code, _, err = corrigenda("jobs", "--address", guarded)
        command = [sys.executable, "-c", "from jobs.cli import main; main()", "jobs"]
        expired = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}
        done = subprocess.run(  # Ray reads its mode once a process
            [*command, "--address", guarded],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": "/", **expired},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (code, done.returncode, done.stdout) == (1, 1, "")
    for said in (err, done.stderr):
        [line] = said.splitlines()
        assert "refuses the token" in line and "RAY_AUTH_TOKEN" in line


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "no Ray Jobs API at 'http://127.0.0.1:1' (Connection refused)"),
        ("http://nohost.invalid:8265", "no Ray Jobs API at"),
        ("127.0.0.1:8265", "is no http address"),
        ("ray://127.0.0.1:10001", "is no http address"),
        ("http://127.0.0.1:x", "is no http address"),
        ("http://[", "is no http address"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_nobody_at_the_address(address: str, said: str, corrigenda: Any, tmp_path: Path) -> None:
    """One line of each command, with an address that is right."""
    config = write(tmp_path, "none")
    for words in (("jobs",), ("cancel", "x"), ("submit", "-c", config)):
        code, _, err = corrigenda(*words, "--address", address)
        assert code == 1 and said in err and "http://127.0.0.1:8265" in err
        assert err.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_something_else_at_the_address(corrigenda: Any) -> None:
    """A web server is not taken for Ray's dashboard."""
    with on_loopback(QuietHandler) as origin:
        code, _, err = corrigenda("jobs", "--address", origin)
    assert code == 1 and "does not answer as Ray's dashboard" in err


@pytest.mark.filterwarnings("default")
def test_the_given_address_counts(corrigenda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would take the address of the environment instead."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")
    code, _, err = corrigenda("jobs", "--address", "http://127.0.0.1:1")
    assert code == 1 and "'http://127.0.0.1:1'" in err
