"""What the gates of a workspace have found out about the capacity of a base model's weights: how
many facts they hold with one editor and one set of bounds.

A file of the cache has an entry for each attempt at an edition that passed, or that measured the
capacity, the oldest first. It is named by a digest of base, editor and bounds, so that other
settings begin anew. An attempt that is run again writes its entry again, in the same place.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.files.digest import digest_of
from infra.files.notes import if_writable, read_note, write_note
from infra.models.loading import ModelRef
from pipeline.edit.config import EditConfig
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import BISECTED
from pipeline.plan.lanes import Capacity

log = logging.getLogger(__name__)

FOLDER = "capacity"
"""Folder of the files in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one attempt at an edition has shown."""

    version: str
    """Version of the attempt."""
    passed: int
    """Most facts in the weights with which all checks passed."""
    failed: int | None = None
    """Fewest with which one failed; None where none did."""


@dataclass(frozen=True)
class CapacityHistory:
    """The history in one file."""

    path: Path

    @classmethod
    def of(
        cls, cache: Path, base: ModelRef, edit: EditConfig, bounds: GateConfig
    ) -> CapacityHistory:
        """The history of a base model, of the editor of the first lane, and of the bounds that
        many facts in weights can fail."""
        bounded = {name: getattr(bounds, name).bound for name in BISECTED}
        key = digest_of([base.digest, edit.lanes["edit"].identity(), bounded])
        return cls(cache / FOLDER / f"{key}.json")

    def capacity(self, *, before: Collection[str] = ()) -> Capacity | None:
        """The capacity; None while no gate has measured it.

        before  versions of attempts: what they and later ones have measured does not count
        """
        entries = self._read()
        own = (n for n, entry in enumerate(entries) if entry.version in before)
        return capacity_of(entries[: next(own, None)])

    def note(self, found: Measured) -> None:
        """Note what an attempt has shown."""
        entries = self._read()
        versions = [entry.version for entry in entries]
        if found.version in versions:
            entries[versions.index(found.version)] = found
        else:
            entries.append(found)
        with if_writable(self.path):
            write_note(self.path, [asdict(entry) for entry in entries])

    def _read(self) -> list[Measured]:
        """The entries; a damaged file is dropped, with a line."""
        note = read_note(self.path)
        try:
            return [Measured(**entry) for entry in note or ()]
        except TypeError:
            note = None
        finally:
            if note is None and self.path.exists():
                log.warning("%s is damaged: the capacity is measured again", self.path)
                self.path.unlink(missing_ok=True)
        return []


def capacity_of(entries: Sequence[Measured]) -> Capacity | None:
    """The capacity that entries show, the oldest first. A pure function.

    A measurement stands until a later one, and is raised by a gate that passed with more facts.
    """
    known: Measured | None = None
    for entry in entries:
        if entry.failed is not None or (known is not None and entry.passed > known.passed):
            known = entry
    if known is None:
        return None
    why = f"measured in {known.version}: {known.passed} passed"
    if known.failed is not None:
        why += f", {known.failed} did not"
    return Capacity(num_facts=known.passed, why=why)
