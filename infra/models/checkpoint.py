"""A model directory read and rewritten tensor by tensor, without loading the model.

Tensors are found by the name the loaded model gives them: hub checkpoints of some architectures
leave out the outermost module (`h.0...` for `transformer.h.0...`), so a stored name may be the
parameter's ending.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from infra.errors import ModelError

SERVED = (".json", ".jinja", ".model", ".txt", ".py")
"""Files beside the weights that a server reads."""


class Checkpoint:
    """The safetensors of one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file_of: dict[str, str] = {}
        for file in sorted(path.glob("*.safetensors")):
            with safe_open(file, "pt") as stream:
                self.file_of |= dict.fromkeys(stream.keys(), file.name)

    def stored_name(self, parameter: str) -> str:
        """Name under which a parameter is stored. Raises ModelError where none or several match."""
        if parameter in self.file_of:
            return parameter
        found = [name for name in self.file_of if parameter.endswith(f".{name}")]
        if len(found) != 1:
            raise ModelError(
                f"model {self.path} stores no tensor for {parameter}. Save it anew with "
                "save_pretrained, so that stored and loaded names agree."
            )
        return found[0]

    def tensor(self, parameter: str) -> Tensor:
        """The stored tensor of a parameter, in its stored dtype."""
        name = self.stored_name(parameter)
        with safe_open(self.path / self.file_of[name], "pt") as stream:
            return stream.get_tensor(name)

    def export(self, target: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write the directory anew with some tensors replaced; the rest is hard-linked or copied.

        Names, shapes, dtypes and the division into files stay, so the index stays valid.
        """
        new = {self.stored_name(name): tensor for name, tensor in tensors.items()}
        touched = {self.file_of[name] for name in new}
        target.mkdir(parents=True, exist_ok=True)
        for file in self.path.iterdir():
            if file.name in touched:
                stored = load_file(file)
                stored |= {name: new[name].contiguous() for name in stored.keys() & new.keys()}
                (target / file.name).unlink(missing_ok=True)  # it may be a link to this very file
                save_file(stored, target / file.name, {"format": "pt"})
            elif file.suffix == ".safetensors":
                link(file, target / file.name)
            elif file.suffix in SERVED and file.is_file():
                shutil.copyfile(file, target / file.name)


def link(source: Path | str, target: Path | str) -> None:
    """A hard link, or a copy where the two are on different file systems."""
    source, target = Path(source), Path(target)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
