"""What a job takes with it, and what it must find on the nodes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from infra.errors import ConfigError
from jobs.submission import files as job_files_module
from jobs.submission.files import copy_files, digest_of_files, job_files
from jobs.submission.submission import (
    environment,
    on_this_machine,
    run_command,
    unpack_wheel,
)
from pipeline.config import Config, load_config

TABLE = "subject,relation,object,date\nNeymar,P54,Paris,2020-01-01\n"


def write(folder: Path, text: str = "", path: str = "data/people.csv") -> tuple[Path, Config]:
    """A config of one table in a folder, and what is read from it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "people.csv").write_text(TABLE)
    (folder / "words.txt").write_text("Paris is a city.\n\n" * 9)
    (folder / "tasks.jsonl").write_text('{"query": "1 + 1 =", "choices": ["2", "3"], "gold": 0}\n')
    config = folder / "mine.toml"
    config.write_text(
        f'line = "mine"\n{text}\n[[sources]]\nkind = "table"\nname = "p"\npath = "{path}"\n'
        '[[editions]]\nas_of = 2026-11-23\n[edit]\ntext = "words.txt"\n'
    )
    return config, load_config(config)


def test_files_that_the_config_names_are_taken_along(tmp_path: Path) -> None:
    """By their names below the config's directory, so that its relative paths lead to them; the
    copy says the same."""
    config, settings = write(tmp_path / "a")
    files = job_files(config, settings)
    assert set(files) == {"mine.toml", "data/people.csv", "words.txt"}
    copy_files(files, tmp_path / "b")
    assert digest_of_files(files) == digest_of_files({n: tmp_path / "b" / n for n in files})
    there = load_config(tmp_path / "b" / "mine.toml")
    [source] = there.sources
    assert source.local_paths(tmp_path / "b") == [tmp_path / "b" / "data" / "people.csv"]
    (tmp_path / "b" / "words.txt").write_text("Another text.")
    assert digest_of_files(files) != digest_of_files({n: tmp_path / "b" / n for n in files})


def test_a_file_elsewhere_stays_there(tmp_path: Path) -> None:
    """An absolute path is that of a file which all nodes see; a relative one cannot be."""
    (tmp_path / "shared.csv").write_text(TABLE)
    config, settings = write(tmp_path / "a", path=str(tmp_path / "shared.csv"))
    assert set(job_files(config, settings)) == {"mine.toml", "words.txt"}
    config, settings = write(tmp_path / "a", path="../shared.csv")
    with pytest.raises(ConfigError, match=r"source p: .* outside .* give its absolute path"):
        job_files(config, settings)


def test_what_is_too_large_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the file, its size and the limits."""
    config, settings = write(tmp_path)
    with pytest.raises(ConfigError, match=r"of 0 KiB, is too large: a job takes along 0 KiB"):
        job_files(config, settings, max_bytes=100)
    monkeypatch.setattr(job_files_module, "MAX_FILE_BYTES", 40)
    with pytest.raises(ConfigError, match=r"mine\.toml, of 0 KiB, is too large"):
        job_files(config, settings)
    monkeypatch.undo()
    (tmp_path / "data" / "people.csv").unlink()
    with pytest.raises(ConfigError, match=r"people\.csv: No such file"):
        job_files(config, settings)


def test_workspace_and_model_are_where_the_nodes_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative workspace is that of this directory if the cluster is here, and else refused, and
    a bucket is the same everywhere; a relative model is always refused, a name of the hub is not.
    """
    monkeypatch.chdir(tmp_path)
    _, settings = write(tmp_path)
    command = run_command("corrigenda", "mine.toml", settings, local=True)
    assert f"--workspace {tmp_path / 'workspace'}" in command and "--ray-address auto" in command
    with pytest.raises(ConfigError, match="workspace = 'workspace' is a path of this machine"):
        run_command("corrigenda", "mine.toml", settings, local=False)
    bucket = settings.model_copy(update={"workspace": "s3://bucket/x"})
    assert "--workspace s3://bucket/x" in run_command("c", "mine.toml", bucket, local=False)
    for name, allowed in (("./m", False), ("owner/name", True), (str(tmp_path), True)):
        model = settings.model.model_copy(update={"name": name})
        given = settings.model_copy(update={"model": model, "workspace": "/mnt/ws"})
        if allowed:
            run_command("corrigenda", "mine.toml", given, local=False)
        else:
            with pytest.raises(ConfigError, match=r"model\.name = '\./m' is relative"):
                run_command("corrigenda", "mine.toml", given, local=False)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://[::1]:8265", True),
        ("http://localhost:8265", True),
        ("http://head.example:8265", False),
        ("https://10.0.0.7", False),
    ],
)
def test_which_addresses_are_this_machine(address: str, here: bool) -> None:
    """Loopback addresses only."""
    assert on_this_machine(address) is here


def test_the_environment_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages without a version, and a variable that is not set, are refused."""
    pins = tmp_path / "pins.txt"
    pins.write_text("# ours\nduckdb==2.0.1  # tables\n\npyarrow==26.0.0\n")
    monkeypatch.setenv("CRM_KEY", "s3cret")
    found = environment(local=False, requirements=pins, variables=["CRM_KEY"])
    assert found["pip"] == {"packages": ["duckdb==2.0.1", "pyarrow==26.0.0"]}
    assert found["env_vars"]["CRM_KEY"] == "s3cret"
    assert "PATH" not in found["env_vars"]
    pins.write_text("duckdb\n")
    with pytest.raises(ConfigError, match="'duckdb' is not pinned"):
        environment(local=False, requirements=pins)
    with pytest.raises(ConfigError, match="--env NOT_SET: the variable is not set here"):
        environment(local=False, variables=["NOT_SET"])


def test_what_is_no_wheel(tmp_path: Path) -> None:
    """A text, a file that is not there, and a wheel of another package are refused."""
    text, other = tmp_path / "text.whl", tmp_path / "other.whl"
    text.write_text("not a zip")
    with zipfile.ZipFile(other, "w") as packed:
        packed.writestr("other/__init__.py", "")
    for wheel in (text, other, tmp_path / "none.whl"):
        with pytest.raises(ConfigError, match=r"--wheel .* Make one with `pip wheel"):
            unpack_wheel(wheel, tmp_path / wheel.stem)
