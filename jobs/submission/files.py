"""The files that a job takes with it: its config, and the files beside it that the config names.

A workspace and a model are never among them: they are where all nodes see them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.errors import ConfigError, reason
from infra.files.digest import digest_of, file_digest
from infra.files.regular import require_regular
from infra.settings import read_toml
from pipeline.config import Config

MAX_FILE_BYTES = 64 << 20
"""Bytes of the largest file that is taken along."""
MAX_BYTES = 256 << 20
"""Bytes of all files together. Ray refuses an upload of 512 MiB."""


def job_files(
    path: Path, config: Config, *, max_bytes: int = MAX_BYTES, where: str = "a job"
) -> dict[str, Path]:
    """Relative name -> file: the config file, and the files in its directory that it names.

    path       the config file
    config     what was read from it
    max_bytes  bytes of all files together, and where they have to fit, for the error

    A file that the config names by an absolute path outside of its directory is left out: all nodes
    have to see it. Raises ConfigError for one that is outside by a relative path, cannot be read,
    or is too large.
    """
    directory = path.parent.absolute()
    found = {path.name: path}
    for setting, file in _named(path, config, directory):
        plain = Path(os.path.normpath(file))
        if plain.is_relative_to(directory):
            found[plain.relative_to(directory).as_posix()] = plain
        elif file.is_relative_to(directory):
            raise ConfigError(
                f"{setting}: {plain} is outside of the config's directory, so that {where} cannot "
                f"take it along. {_ADVICE}"
            )
    total = 0
    for name, file in found.items():
        try:
            require_regular(file)
            size = file.stat().st_size
        except OSError as error:
            raise ConfigError(f"{file}: {reason(error)}. Check the config's paths.") from error
        total += size
        if size > MAX_FILE_BYTES or total > max_bytes:
            most = f"{max_bytes >> 10} KiB in all, {MAX_FILE_BYTES >> 20} MiB a file"
            raise ConfigError(
                f"{name}, of {size >> 10} KiB, is too large: {where} takes along {most}. {_ADVICE}"
            )
    return found


def digest_of_files(files: Mapping[str, Path]) -> str:
    """Digest of the names and the contents of files."""
    return digest_of({name: file_digest(file) for name, file in files.items()})


def copy_files(files: Mapping[str, Path], directory: Path) -> None:
    """Copy files to their names below a directory."""
    for name, file in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


_ADVICE = "Put it where all nodes see it, and give its absolute path."


def _named(path: Path, config: Config, directory: Path) -> Iterator[tuple[str, Path]]:
    """Setting and path of each local file that a config names; a path that is relative in the
    config begins with `directory`."""
    raw = read_toml(path)
    if config.relations is not None:
        yield "relations", directory / config.relations
    for section in ("edit", "evaluate"):
        if text := raw.get(section, {}).get("text"):
            yield f"{section}.text", directory / text
    for spec in raw.get("evaluate", {}).get("capability", ()):
        _, equals, file = spec.partition("=")
        if equals:
            yield "evaluate.capability", directory / file
    for source in config.sources:
        for file in source.local_paths(directory) or ():
            yield f"source {source.name}", file
