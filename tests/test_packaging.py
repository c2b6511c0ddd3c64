"""What an installed distribution has to hold, which an editable install never misses."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("discovery", "editors", "infra", "jobs", "pipeline")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def test_every_data_file_is_package_data() -> None:
    """Texts, tasks, templates and relations: each file beside the code is declared with its
    package, notes on sources apart."""
    declared: dict[str, list[str]] = SETTINGS["setuptools"]["package-data"]
    patterns = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, found in declared.items()
        for pattern in found
    }
    files = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    data = [name for name in files if not name.endswith((".py", ".md"))]
    assert len(data) > 8
    assert not [name for name in data if not any(fnmatch(name, p) for p in patterns)]


def test_every_folder_with_code_is_a_package() -> None:
    """A folder without `__init__.py` would be left out of a distribution."""
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert len(folders) > 40
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]
