"""Whether a base model can be carried through a run, found out before anything is read or asked.

The model is loaded strictly, a few tokens are run, a few questions asked, and one made-up fact is
edited, exported, loaded again and taken back (`pipeline/preflight/passage.py`). What was found is
kept by content: the model, how it is computed, the editor, the versions of what loads it. The same
model passes at once when it is met again.
"""

from __future__ import annotations

import importlib.metadata
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from infra.execution.runner import Resources, Runner
from infra.files.digest import digest_of
from infra.files.notes import if_writable, read_note, write_note
from infra.lm.inference import Compute
from infra.models.files import model_files
from infra.models.loading import ModelRef
from infra.storage.writing import written
from pipeline.edit.config import EditConfig
from pipeline.preflight.passage import Found, pass_through

log = logging.getLogger(__name__)

CODE = 2
"""Version of the preflight; raised when it looks at more than before."""
LIBRARIES = ("torch", "transformers", "safetensors", "tokenizers")
"""Packages whose versions decide how a model is loaded and run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known of a base model that has passed."""

    model: str
    """Its name, as the user gave it."""
    found: Found
    """What was found on the way through."""
    left: tuple[str, ...]
    """Other weights in the model's directory, which no release will have; folders end in `/`."""
    seconds: float
    """What the preflight took; 0 where this model had passed before."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Takes a model through, in a worker's process. Picklable."""

    base: ModelRef
    edit: EditConfig
    compute: Compute
    system: str | None
    """The system prompt of chats; None leaves it to the template."""
    scratch: Path
    """Directory that is written into and removed, on the file system of the outputs: the files of
    the model that are not changed are linked into it."""

    def __call__(self) -> Callable[[Any], Found]:
        """The worker: whatever it is called with, it takes the model through."""
        return lambda _: self.take()

    def take(self) -> Found:
        """What was found. Raises ModelError, and ConfigError for settings that do not fit the
        model, in one line."""
        try:
            return pass_through(self.base, self.edit, self.compute, self.system, self.scratch)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)


@written("the cache of the preflight")
def preflight(
    base: ModelRef,
    *,
    edit: EditConfig,
    compute: Compute,
    system: str | None,
    cache: Path,
    runner: Runner,
    begin: Callable[[], None] = lambda: None,
) -> Preflight:
    """Carry a base model through once with the editor of each lane, or find that it has passed
    before. What was found is that of the first lane.

    edit     the editors and their settings
    compute  how the model is run
    system   the system prompt of chats; None leaves it to the tokenizer's template
    cache    directory of what is kept by content, on the file system of the outputs
    begin    called before the model is carried through, which takes seconds to minutes; not where
             it has passed before

    Raises ModelError, or ConfigError for settings that do not fit the model: one line, which names
    the tensor or block at fault and says what to do.
    """
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            begin()
        told = True

    first, *others = (
        _preflight(base, lane, compute, system, cache, runner, tell) for lane in edit.lanes.values()
    )
    return replace(first, seconds=first.seconds + sum(other.seconds for other in others))


def _preflight(
    base: ModelRef,
    edit: EditConfig,
    compute: Compute,
    system: str | None,
    cache: Path,
    runner: Runner,
    begin: Callable[[], None],
) -> Preflight:
    """`preflight` with the editor of one lane."""
    left = model_files(base.path).left
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    settings = [edit.editor, dict(edit.options), compute.device, compute.dtype, system]
    place = cache / "preflight"
    path = place / f"{digest_of([CODE, base.digest, settings, versions])}.json"
    if (known := read_note(path)) is not None:
        return Preflight(model=base.name, found=Found.of(known), left=left, seconds=0.0)
    if path.exists():
        log.warning("%s is damaged or of an earlier version: the model is tried again", path)
    begin()
    started = time.monotonic()
    scratch = place / f".{path.stem[:16]}.{uuid.uuid4().hex}.tmp"  # another run may try it too
    passage = Passage(base=base, edit=edit, compute=compute, system=system, scratch=scratch)
    needs = Resources(num_cpus=edit.threads, num_gpus=compute.resources.num_gpus)
    (found,) = runner.map(passage, [None], resources=needs)
    with if_writable(path):
        write_note(path, asdict(found))
    return Preflight(
        model=base.name, found=found, left=left, seconds=round(time.monotonic() - started, 2)
    )
