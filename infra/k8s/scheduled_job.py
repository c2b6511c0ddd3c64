"""A job that a scheduler starts: the one model of which all manifests are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.files.digest import digest_of

MAX_NAME = 36
"""Characters of the longest name. KubeRay puts others behind it, and Kubernetes allows 63."""
CONFIG_DIR = "/etc/corrigenda"
"""Where pods find the config and the files beside it."""


@dataclass(frozen=True, kw_only=True)
class ScheduledJob:
    """What is run, when, where, and with what."""

    name: str
    """Of objects, units and lines: lower-case letters, digits and `-` (`job_name`)."""
    title: str
    """What the job is, in a few words for people."""
    command: tuple[str, ...]
    """Program and arguments; on a cluster made by the scheduler, those of its driver."""
    cron: str
    """Five fields, as each scheduler reads them: numbers, lists and `*`."""
    time_zone: str
    """Name of the time zone that `cron` is in."""
    retries: int
    """How often a run that failed is started again."""
    deadline_s: int
    """Seconds after which a run is ended."""
    secrets: tuple[str, ...] = ()
    """Environment variables that hold secrets. Their values are in no manifest."""
    secret: str = ""
    """Name of the Kubernetes Secret with a key for each of them."""
    image: str = ""
    """Container image that has the command."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Relative name -> content of the config and the files beside it."""
    claim: str = ""
    """Name of the PersistentVolumeClaim that holds workspace and model."""
    mount: str = ""
    """Where pods find it."""
    workers: int = 1
    """Worker pods of a Ray cluster."""
    cpus: int = 4
    """CPUs of each pod."""
    memory: str = "16Gi"
    """Memory of each pod, as a Kubernetes quantity."""
    gpus: int = 0
    """GPUs of each worker pod, or of the one pod where there is no Ray cluster."""
    ray_version: str = ""
    """Version of Ray in the image."""


def job_name(text: str) -> str:
    """A name for objects, made of any text; texts that differ have names that differ."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "job"
    if plain == text and len(plain) <= MAX_NAME:
        return plain
    return f"{plain[: MAX_NAME - 9].rstrip('-')}-{digest_of(text)[:8]}"
