"""One job to be submitted: its id, its command, and the environment that it runs in."""

from __future__ import annotations

import ipaddress
import os
import shlex
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.errors import ConfigError, reason
from infra.execution.node_versions import SUBMITTED_BY
from infra.models.embedded import EMBEDDED
from infra.storage.object_store import SCHEME
from pipeline.config import Config

PREFIX = "corrigenda-"
"""Begins the id of each of our jobs."""
PROGRAM = "corrigenda"
"""The command, as it is installed on the nodes."""
FROM_WHEEL = "python -P -c 'from jobs.cli import main; main()'"
"""The command where the package comes as a wheel, which brings no program."""

FILES = "corrigenda_job"
"""Name of the folder of a job's files. It travels as a module, not as Ray's working directory: two
nodes on one machine would replace that under each other's processes."""
_FIND_FILES = f"files=$(python -P -c 'import {FILES}; print(*{FILES}.__path__)')"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job to be submitted."""

    id: str
    """The same for the same line and edition, so that an edition is one job."""
    entrypoint: str
    """Command line of the job."""
    environment: Mapping[str, Any]
    """Ray's `runtime_env`, without the files and the wheel."""
    wheel: Path | None = None
    """This package, for nodes on which it is not installed."""
    metadata: Mapping[str, str]
    """What is kept with the job: the line, the edition, and a digest of what it was made of."""


def submission_id(line: str, version: str) -> str:
    """The id of the job that makes the edition of a version, the last of its config, of a line.

    An attempt after one that failed or was cancelled has `-r1`, `-r2`... behind it.
    """
    return f"{PREFIX}{line}-{version}"


def on_this_machine(address: str) -> bool:
    """Whether the address of a Jobs API is a loopback one."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def place_on_nodes(given: str, setting: str, *, local: bool) -> str:
    """A path as the nodes have it: an absolute one itself, and a relative one made absolute where
    the cluster is on this machine; an address of object storage is the same everywhere. Raises
    ConfigError for a relative one on other machines."""
    if Path(given).is_absolute() or given.startswith(("file:///", f"{SCHEME}://")):
        return given
    if local:
        return str(Path(given).expanduser().absolute())
    raise ConfigError(
        f"{setting} = {given!r} is a path of this machine. Give the absolute path of a directory "
        "that all nodes of the cluster see."
    )


def run_command(
    program: str, config_file: str, config: Config, *, local: bool, words: Sequence[str] = ()
) -> str:
    """The command line that makes a config's editions on the cluster that it runs in.

    config_file  name of the config among the job's files
    local        whether the cluster is on this machine
    words        further options of `corrigenda run`

    Raises ConfigError for a workspace or a model that the job would not find.
    """
    options = ["--ray-address", "auto", *words]
    workspace = place_on_nodes(config.workspace, "workspace", local=local)
    options += ["--workspace", workspace]
    name = config.model.name
    is_path = name.startswith((".", "~")) or Path(name).is_dir()
    if name != EMBEDDED and is_path and not Path(name).is_absolute():
        raise ConfigError(
            f"model.name = {name!r} is relative, and a job runs elsewhere. Give the absolute path "
            "of a directory that all nodes see."
        )
    config_path = f'"$files"/{shlex.quote(config_file)}'
    return f"{_FIND_FILES} && {program} run --config {config_path} {shlex.join(options)}"


def environment(
    *,
    local: bool,
    requirements: Path | None = None,
    variables: Sequence[str] = (),
) -> dict[str, Any]:
    """Ray's `runtime_env` of a job, without its files and its wheel.

    local         whether the cluster is on this machine: this environment's programs are then found
    requirements  file of pinned packages that are installed for the job
    variables     environment variables of this process that the job gets

    Raises ConfigError for a file that cannot be read, a package that is not pinned, and a variable
    that is not set.
    """
    values = {}
    for name in variables:
        if name not in os.environ:
            raise ConfigError(
                f"--env {name}: the variable is not set here. Set it, or leave it out."
            )
        values[name] = os.environ[name]
    if local:
        values["PATH"] = f"{Path(sys.executable).absolute().parent}:${{PATH}}"
    found: dict[str, Any] = {"env_vars": {**values, SUBMITTED_BY: version("corrigenda")}}
    if requirements is not None:
        found["pip"] = {"packages": _pinned(requirements)}
    return found


def unpack_wheel(wheel: Path, directory: Path) -> list[Path]:
    """Unpack a wheel of this package; what is at its top: packages, and the wheel's metadata.

    Ray would install a wheel with all of its dependencies, Ray itself among them. Raises
    ConfigError for a file that is no wheel of this package.
    """
    try:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(directory)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"--wheel {wheel}: {reason(error)}. {_MAKE_ONE}") from error
    found = sorted(directory.iterdir())
    if "jobs" not in [path.name for path in found]:
        raise ConfigError(f"--wheel {wheel} is no wheel of {PROGRAM}. {_MAKE_ONE}")
    return found


_MAKE_ONE = "Make one with `pip wheel --no-deps .`."


def _pinned(path: Path) -> list[str]:
    """The packages of a requirements file. Raises ConfigError unless each is pinned."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--requirements {path}: {reason(error)}. Give a text file.") from error
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    packages = [line for line in lines if line and not line.startswith("#")]
    for package in packages:
        if "==" not in package and " @ " not in package:
            raise ConfigError(
                f"--requirements {path}: {package!r} is not pinned. Write NAME==VERSION."
            )
    return packages
