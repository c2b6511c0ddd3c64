"""Where this workspace's unedited models are: a file beside the releases, which is never published.

A release names its base by hub id and digest only; here a digest leads to the name that the config
gave, which may be a directory of this machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from infra.errors import ConfigError
from infra.files.atomic import write_json
from infra.models.loading import ModelRef, locate
from infra.storage.workspace import Workspace
from infra.storage.writing import written

log = logging.getLogger(__name__)

BASES = "bases.json"
"""File in the workspace: digest of a base -> its name in the config."""


@written("the list of base models")
def remember(workspace: Workspace, base: ModelRef) -> None:
    """Note a base in a workspace. A damaged file is dropped, with a line: of the bases in
    it, those of later runs are noted again."""
    root = workspace.root
    try:
        known = known_bases(root)
    except ConfigError as error:
        log.warning("%s", error)
        known = {}
    place = str(base.path) if Path(base.name).expanduser().is_dir() else base.name
    if known.get(base.digest) != place:
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / BASES, {**known, base.digest: place})
        workspace.publish(root / BASES)


def base_of(root: Path, manifest: Mapping[str, str | None]) -> ModelRef:
    """The base of a release, by the `base` of its manifest. Raises ConfigError where it cannot be
    found here, or is another by now."""
    digest = manifest["digest"] or ""
    try:
        name = known_bases(root).get(digest) or manifest["name"]
    except ConfigError:
        if (name := manifest["name"]) is None:
            raise
    if name is None:
        raise ConfigError(
            f"the release's base, digest {digest[:12]}, is not known in {root}. Ask from the "
            "workspace that made the release."
        )
    base = locate(name)
    if base.digest != digest:
        raise ConfigError(
            f"model {name!r} has digest {base.digest[:12]}, the release's base {digest[:12]}. Put "
            "the model back that the release was made from."
        )
    return base


def known_bases(root: Path) -> dict[str, str]:
    """What the file holds; empty where there is none. Raises ConfigError where it is damaged."""
    try:
        known = json.loads((root / BASES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, dict) or not all(isinstance(name, str) for name in known.values()):
        raise ConfigError(
            f"{root / BASES} is damaged, which says where the unedited models are. Run the config "
            "again: it is written anew."
        )
    return known
