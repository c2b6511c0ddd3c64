"""A store on disk for optimised values, by keys of their content; many workers may share it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from infra.files.atomic import write_atomic
from infra.files.digest import canonical_json


class ValueStore:
    """An `editors.editor.Store` on disk. Tensors added in one call are all kept or none is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[Path, Any] = {}
        """Files opened so far. Their names depend on their content, so none is ever outdated."""
        self._places: dict[str, Any] = {}

    def __contains__(self, key: object, /) -> bool:
        if key not in self._places:
            self._look()
        return key in self._places

    def __getitem__(self, key: str, /) -> Tensor:
        if key not in self:
            raise KeyError(key)
        return self._places[key].get_tensor(key)

    def update(self, tensors: Mapping[str, Tensor], /) -> None:
        """Write the tensors into one new file."""
        name = hashlib.sha256(canonical_json(sorted(tensors))).hexdigest()[:32]
        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        write_atomic(self.root / f"{name}.safetensors", lambda path: save_file(whole, path))

    def _look(self) -> None:
        """Open the files that were added since the last look."""
        for path in sorted(self.root.glob("*.safetensors")):
            if path not in self._files:
                self._files[path] = safe_open(path, "pt")
                self._places |= dict.fromkeys(self._files[path].keys(), self._files[path])
