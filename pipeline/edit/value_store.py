"""A store on disk for optimised values, by keys of their content; many workers may share it.

A file has a digest of its content inside, which is checked before the first of its values is used.
A damaged file is dropped with a line; its values are then found again, in another batch, which may
change a float's last digits: so files are flushed, and a power cut costs only what was being found.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from infra.errors import StageError
from infra.files.atomic import write_atomic
from infra.files.digest import canonical_json
from infra.files.tensors import is_whole, save_with_digest

log = logging.getLogger(__name__)


class ValueStore:
    """An `editors.editor.Store` on disk. Tensors added in one call are all kept or none is."""

    def __init__(self, root: Path, *, writes: bool = True) -> None:
        """
        root    directory of the files
        writes  whether this process keeps what is added; if not, another one is given the same
        """
        self.root, self.writes = root, writes
        self._files: dict[Path, Any] = {}
        """Files opened so far. Their names depend on their content, so none is ever outdated."""
        self._places: dict[str, Path] = {}
        self._whole: dict[Path, bool] = {}
        """Files whose content was checked so far."""

    def __contains__(self, key: object, /) -> bool:
        if key not in self._places:
            self._look()
        place = self._places.get(str(key))
        return place is not None and self._is_whole(place)

    def __getitem__(self, key: str, /) -> Tensor:
        if key not in self:
            raise StageError(
                f"{self.root} has lost the value {key[:12]} since this stage began. Run the same "
                "command again: it is found anew."
            )
        return self._files[self._places[key]].get_tensor(key)

    def update(self, tensors: Mapping[str, Tensor], /) -> None:
        """Write the tensors into one new file."""
        if not self.writes:
            return
        name = hashlib.sha256(canonical_json(sorted(tensors))).hexdigest()[:32]
        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        write_atomic(self.root / f"{name}.safetensors", lambda path: save_with_digest(whole, path))

    def _look(self) -> None:
        """Open the files that were added since the last look."""
        for path in sorted(self.root.glob("*.safetensors")):
            if path in self._files:
                continue
            if self._open(path):
                self._places |= dict.fromkeys(self._files[path].keys(), path)
            else:
                self._drop(path)

    def _is_whole(self, path: Path) -> bool:
        """Whether the content of a file is the one that was written; if not, it is dropped.

        One that is whole is opened again: another process may have put it in the place of a damaged
        one that was opened before.
        """
        if path not in self._whole:
            self._whole[path] = is_whole(path) and self._open(path)
            if not self._whole[path]:
                self._drop(path)
        return self._whole[path]

    def _open(self, path: Path) -> bool:
        """Open a file; whether that could be done."""
        try:
            self._files[path] = safe_open(path, "pt")
        except (SafetensorError, OSError):
            return False
        return True

    def _drop(self, path: Path) -> None:
        """Remove a damaged file, with a line, and forget its keys."""
        log.warning("%s is damaged: its values are found again", path)
        path.unlink(missing_ok=True)
        self._files.pop(path, None)
        self._places = {key: place for key, place in self._places.items() if place != path}
