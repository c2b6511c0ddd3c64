"""Read and rewrite the weights of a model directory tensor by tensor, without loading the model.

A tensor is asked for by its parameter's name in the loaded model. Where it is stored under another
name, that is found by the mapping that transformers loads by (`infra/models/names.py`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from infra.errors import ModelError
from infra.files.atomic import link_or_copy
from infra.files.clone import clone
from infra.files.tensors import save_tensors
from infra.models.files import model_files
from infra.models.names import renamed
from infra.models.public_names import is_local, without_paths
from infra.models.stored import stored_tensors

READ_ONLY = 0o444
"""Rights that weights of an export keep: evaluation and release are links to one file."""


def names_a_path(file: Path) -> bool:
    """Whether the metadata of a safetensors file hold a path of the machine that wrote it."""
    with safe_open(file, "pt") as stream:
        return any(is_local(value) for value in (stream.metadata() or {}).values())


def public_settings(content: bytes) -> bytes:
    """A model's or tokenizer's settings as JSON without paths; unchanged where there are none."""
    settings = json.loads(content)
    public = without_paths(settings)
    if public == settings:
        return content
    return json.dumps(public, indent=2, ensure_ascii=False).encode() + b"\n"


class Checkpoint:
    """The weights of one model directory: those that a loader takes."""

    def __init__(self, path: Path) -> None:
        """Read the names of all stored tensors in the directory `path`.

        Raises ModelError for a directory whose weights cannot be read or told apart from others.
        """
        self.path = path
        self.files = model_files(path)
        self.file_of = {name: one.file for name, one in stored_tensors(path, self.files).items()}
        """Stored name of a tensor -> name of its file."""

    def stored_name(self, parameter: str) -> str:
        """The name under which a parameter is stored.

        Raises ModelError for a parameter that is stored under no name of its own.
        """
        if parameter in self.file_of:
            return parameter
        if parameter not in self._renamed:
            raise ModelError(
                f"model {self.path} stores no tensor that is {parameter} alone: it is missing, or "
                "made of several on loading (fused experts). Choose another layer to edit."
            )
        return self._renamed[parameter]

    def tensor(self, parameter: str) -> Tensor:
        """The stored tensor of a parameter, in its stored dtype, on the CPU. Raises ModelError."""
        name = self.stored_name(parameter)
        with safe_open(self.path / self.file_of[name], "pt") as stream:
            return stream.get_tensor(name)

    def export(self, target: Path, tensors: Mapping[str, Tensor], *, lasting: bool = True) -> None:
        """Write a copy of the model to `target` with some tensors replaced.

        tensors  parameter name -> its new tensor, of the stored shape and dtype
        lasting  whether the copy is kept. It then shares no file with this model, and its weights
                 are read-only; otherwise files of weights in which nothing is replaced are links

        The copy holds the files that a loader takes and no others (`infra/models/files.py`). The
        division of tensors into files stays, so the index file stays valid. Paths of the machine
        that wrote the directory are left out of settings and metadata. Raises ModelError for an
        unknown parameter.
        """
        new = {self.stored_name(name): tensor for name, tensor in tensors.items()}
        touched = {self.file_of[name] for name in new}
        for name in (*self.files.weights, *self.files.beside):
            source, copy = self.path / name, target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if name in touched:
                stored = load_file(source)
                stored |= {key: new[key].contiguous() for key in stored.keys() & new.keys()}
                save_tensors(stored, copy, {"format": "pt"})
            elif name in self.files.weights and names_a_path(source):
                save_tensors(load_file(source), copy, {"format": "pt"})
            elif name in self.files.weights:
                (clone if lasting else link_or_copy)(source, copy)
            elif name.endswith("config.json"):
                copy.write_bytes(public_settings(source.read_bytes()))
            else:
                shutil.copyfile(source, copy)
            if lasting and name in self.files.weights:
                copy.chmod(copy.stat().st_mode & READ_ONLY)

    @cached_property
    def _renamed(self) -> dict[str, str]:
        """Parameter -> its stored name, of the parameters that are stored under another name."""
        return renamed(self.path, self.file_of)
