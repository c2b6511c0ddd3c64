"""The benchmarks can be started as their documents say."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
COMMAND = re.compile(r"python (?:-\S+ )?(-m benchmarks\.([\w.]+)|benchmarks/\S+)")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_its_imports(name: str) -> None:
    """Each is imported from the repository's root, and has a `main`."""
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_a_script_starts_as_its_docstring_says() -> None:
    """From the root, with nothing on the path but what is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo_job", "--help"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout


def test_commands_in_documents_name_scripts_that_exist() -> None:
    """In the README of the benchmarks, and in the scripts' own docstrings."""
    texts = [ROOT / "benchmarks" / "README.md", *(ROOT / "benchmarks").glob("*.py")]
    found = [m for path in texts for m in COMMAND.finditer(path.read_text(encoding="utf-8"))]
    assert len(found) > 20
    assert not [m[0] for m in found if m[2] not in SCRIPTS]
