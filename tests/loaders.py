"""Which files of a model directory three loaders take, as their sources say."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

INDEX = "model.safetensors.index.json"


def vllm_files(path: Path) -> list[str]:
    """vLLM with `load_format="auto"`: Mistral's own format wherever there is a file of it, else all
    safetensors, else pickles; of safetensors those of the format's index, if there is one."""
    names = sorted(file.name for file in path.iterdir())
    mistral = any(fnmatch(name, "consolidated*.safetensors") for name in names)
    patterns = ["consolidated*.safetensors"] if mistral else ["*.safetensors", "*.bin"]
    found = next(filter(None, ([n for n in names if fnmatch(n, p)] for p in (*patterns, "*.pt"))))
    index = path / ("consolidated.safetensors.index.json" if mistral else INDEX)
    if index.is_file():
        listed = set(json.loads(index.read_text())["weight_map"].values())
        assert listed <= set(names), "vLLM refuses an index of files that are not there"
        found = [name for name in found if name in listed]
    return found


def llama_cpp_files(path: Path) -> list[str]:
    """llama.cpp's converter: the files of the index, else all whose names begin with `model`."""
    if (path / INDEX).is_file():
        return sorted(set(json.loads((path / INDEX).read_text())["weight_map"].values()))
    return sorted(f.name for f in path.iterdir() if fnmatch(f.name, "model*.safetensors"))


def served_tensors(path: Path, stored: str, loaded: str) -> dict[str, list[Tensor]]:
    """By loader, every tensor of this name that it would read; a server takes the last.

    stored, loaded  name of the tensor in the files, and in transformers' model
    """
    config = AutoConfig.from_pretrained(path)
    both = AutoModelForCausalLM, AutoModelForImageTextToText
    auto = next(auto for auto in both if type(config) in auto._model_mapping)
    served: dict[str, list[Tensor]] = {
        "transformers": [auto.from_pretrained(path).get_parameter(loaded)]
    }
    for loader, files in (("vllm", vllm_files(path)), ("llama.cpp", llama_cpp_files(path))):
        read = [load_file(path / file) for file in files]
        served[loader] = [tensors[stored] for tensors in read if stored in tensors]
    return served


def all_serve(path: Path, stored: str, expected: Tensor, loaded: str = "") -> bool:
    """Whether each loader reads the tensor once, and reads this; `loaded` is empty where the names
    agree."""
    return all(
        len(tensors) == 1 and torch.equal(tensors[0], expected)
        for tensors in served_tensors(path, stored, loaded or stored).values()
    )
