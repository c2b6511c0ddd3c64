"""Which files of a directory are the model: the weights that transformers loads, and what is read
beside them.

A directory may hold more: weights in the format of another program (`consolidated.safetensors`,
`pytorch_model.bin`, GGUF, ONNX), shards of an earlier save, an index of other files. A server that
loads one of those would serve another model than the one that was edited, so they are named here
and left behind by an export. Where two sets of weights are complete and loaders differ in which
they take, the directory is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from infra.errors import ModelError

WHOLE = "model.safetensors"
"""The weights as one file. transformers prefers it to an index, vLLM the files of an index."""
INDEX = "model.safetensors.index.json"
"""Names of the weight files by tensor, under `weight_map`."""
BESIDE = (".json", ".jinja", ".model", ".txt", ".py")
"""Suffixes of the files beside the weights that a loader reads."""
TEMPLATES = "additional_chat_templates"
"""Directory of chat templates, as save_pretrained writes it."""
MISTRAL = "consolidated"
"""How the names of weights in Mistral's own format begin. vLLM loads them where there are any."""
MISTRAL_CONFIG = "params.json"
"""Config of Mistral's own format."""
OTHER_WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".onnx", ".onnx_data"),
    *(".h5", ".msgpack", ".tflite", ".npz", ".distcp", ".mlmodel", ".llamafile"),
)
"""Suffixes of files of weights, of any program."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model directory, by their paths in it."""

    weights: tuple[str, ...]
    """Safetensors files that the loader takes, sorted."""
    index: str | None
    """The index that names them; None for a single file without one."""
    beside: tuple[str, ...]
    """Config, generation config, tokenizer, processor configs, chat templates, code; sorted."""
    left: tuple[str, ...]
    """Weights and indices that are not this model's, sorted; a directory of them ends in `/`."""


def model_files(path: Path) -> ModelFiles:
    """The files of the model in a directory. Reads the config and the index, no weights.

    Raises ModelError where config or index cannot be read, weights are missing, there is an adapter
    beside the weights, or the directory holds two models' weights.
    """
    weights, index = _weights(path, str(read_config(path).get("transformers_weights") or ""))
    if (path / "adapter_config.json").is_file():
        raise ModelError(
            f"model {path} holds an adapter (adapter_config.json), which loaders add to the "
            "weights. Merge it into the weights, or take it out of the directory."
        )
    own = {*weights, index}
    files = sorted(file.name for file in path.iterdir() if file.is_file())
    mistral = any(name.startswith(MISTRAL) for name in files)
    foreign = {
        name
        for name in files
        if name not in own
        and (_is_weights(name) or _is_index(name) or (mistral and name == MISTRAL_CONFIG))
    }
    beside = [name for name in files if name.endswith(BESIDE) and name not in foreign]
    beside += [f"{TEMPLATES}/{file.name}" for file in (path / TEMPLATES).glob("*.jinja")]
    if index and index not in beside:
        beside.append(index)
    folders = {
        f"{folder.name}/"
        for folder in path.iterdir()
        if folder.is_dir() and any(_is_weights(file.name) for file in folder.iterdir())
        if not any(name.startswith(f"{folder.name}/") for name in weights)
    }
    return ModelFiles(weights, index, tuple(sorted(beside)), tuple(sorted(foreign | folders)))


def read_config(path: Path) -> dict[str, Any]:
    """The object in a directory's config.json. Raises ModelError."""
    if not (path / "config.json").is_file():
        raise ModelError(
            f"model {path} has no config.json. Give a directory that save_pretrained wrote."
        )
    return _json_object(path, "config.json")


def tensor_files(path: Path, files: ModelFiles) -> dict[str, str]:
    """Name of every stored tensor -> the file that it is in. Reads headers only.

    Raises ModelError for a file that cannot be read, and for a tensor that is in two files.
    """
    found: list[tuple[str, str]] = []
    for name in files.weights:
        try:
            with safe_open(path / name, "pt") as stream:
                found += [(key, name) for key in stream.keys()]  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"model {path}: {name} cannot be read ({error}). It is cut or damaged: copy or "
                "download it again."
            ) from None
    twice = sorted(key for key, count in Counter(key for key, _ in found).items() if count > 1)
    if twice:
        where = " and ".join(sorted(name for key, name in found if key == twice[0]))
        raise ModelError(
            f"model {path} stores {twice[0]} in {where}: loaders differ in which they take. Keep "
            "the files of one save."
        )
    return dict(found)


def _weights(path: Path, named: str) -> tuple[tuple[str, ...], str | None]:
    """Files of the weights as transformers chooses them, and the index that names them.

    named  the file that the config names as its weights, a file or an index; mostly empty
    """
    if named.endswith(".index.json"):
        return _indexed(path, named, present=True), named
    whole = named or WHOLE
    if (path / whole).is_file():
        index = INDEX if whole == WHOLE and (path / INDEX).is_file() else None
        shards = _indexed(path, INDEX, present=False) if index else ()
        if whole in shards:
            return _indexed(path, INDEX, present=True), index
        if shards and all((path / name).is_file() for name in shards):
            raise ModelError(
                f"model {path} has its weights twice: {whole}, and the {len(shards)} files of "
                f"{INDEX}; loaders differ in which they take. Keep one of the two."
            )
        return (whole,), None
    if not named and (path / INDEX).is_file():
        return _indexed(path, INDEX, present=True), INDEX
    there = sorted(file.name for file in path.iterdir() if _is_weights(file.name))
    if named or any(name.endswith(".safetensors") for name in there):
        raise ModelError(
            f"model {path} has no {named or f'{WHOLE} and no {INDEX}'}, which a loader takes; it "
            f"has {_few(there) or 'no other weights'}. Save it with save_pretrained."
        )
    raise ModelError(
        f"model {path} has no weights (*.safetensors)"
        + (f"; {_few(there)} cannot be edited" if there else "")
        + ". Save it with save_pretrained, or download the safetensors files."
    )


def _indexed(path: Path, index: str, *, present: bool) -> tuple[str, ...]:
    """Names of the files in an index, sorted; with `present`, all of them have to be there."""
    names = _json_object(path, index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"model {path}: {index} has no `weight_map`. Download it again.")
    files = sorted(set(names.values()))
    outside = [n for n in files if PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts]
    missing = [name for name in files if not (path / name).is_file()] if present else []
    if outside or missing or not files:
        what = f"{_few(outside)} outside the directory" if outside else _few(missing) or "no file"
        raise ModelError(
            f"model {path}: {index} names {what}, which is not there. Copy or download the "
            "missing files."
        )
    return tuple(files)


def _json_object(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of the directory. Raises ModelError."""
    try:
        value = json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {path}: {name} cannot be read as JSON ({error}). Copy or download it again."
        ) from None
    if not isinstance(value, dict):
        raise ModelError(
            f"model {path}: {name} is a JSON {type(value).__name__}, not an object. Copy or "
            "download it again."
        )
    return value


def _is_weights(name: str) -> bool:
    """Whether a file of this name holds weights, of whatever program."""
    return Path(name).suffix.lower() in OTHER_WEIGHTS


def _is_index(name: str) -> bool:
    """Whether a file of this name is an index of weight files."""
    return name.endswith(".json") and ".index." in name


def _few(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
