"""Read and rewrite the weights of a model directory tensor by tensor, without loading the model.

A tensor is asked for by its parameter's name in the loaded model. The stored name may be only the
end of it: checkpoints of some architectures leave out the outermost module (`h.0...` for
`transformer.h.0...`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from infra.errors import ModelError
from infra.files.atomic import link_or_copy

SERVED = (".json", ".jinja", ".model", ".txt", ".py")
"""Suffixes of the files beside the weights that a server reads."""


class Checkpoint:
    """The safetensors files of one model directory."""

    def __init__(self, path: Path) -> None:
        """Read the names of all stored tensors in the directory `path`."""
        self.path = path
        self.file_of: dict[str, str] = {}
        """Stored name of a tensor -> name of its file."""
        for file in sorted(path.glob("*.safetensors")):
            with safe_open(file, "pt") as stream:
                self.file_of |= dict.fromkeys(stream.keys(), file.name)

    def stored_name(self, parameter: str) -> str:
        """The name under which a parameter is stored.

        Raises ModelError where no stored name, or more than one, matches the parameter's.
        """
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
        """The stored tensor of a parameter, in its stored dtype, on the CPU. Raises ModelError."""
        name = self.stored_name(parameter)
        with safe_open(self.path / self.file_of[name], "pt") as stream:
            return stream.get_tensor(name)

    def export(self, target: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write a copy of the directory to `target` with some tensors replaced.

        tensors  parameter name -> its new tensor, of the stored shape and dtype

        Files of weights in which nothing is replaced are hard links. The division of tensors into
        files stays, so the index file stays valid. Raises ModelError for an unknown parameter.
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
                link_or_copy(file, target / file.name)
            elif file.suffix in SERVED and file.is_file():
                shutil.copyfile(file, target / file.name)
