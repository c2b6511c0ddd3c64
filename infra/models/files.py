"""Which files of a directory are the model: the weights that transformers loads, and what is read
beside them.

A directory may hold more: weights in the format of another program (`consolidated.safetensors`,
`pytorch_model.bin`, GGUF, ONNX), shards of an earlier save, an index of other files. A server that
loads one of those would serve another model than the one that was edited, so they are named here
and left behind by an export. Where two sets of weights are complete and loaders differ in which
they take, the directory is refused.

What is read is a regular file of the directory itself. A link may lead only where the cache of the
Hugging Face hub has its files (`infra/models/inside.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from infra.errors import ModelError
from infra.models.inside import is_there, read_object, require_no_pipes

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
MAX_NAME_CHARS = 255
"""Characters of a file's name in an index."""
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
    require_no_pipes(path, BESIDE + OTHER_WEIGHTS)
    weights, index = _weights(path, _named_weights(path, read_config(path)))
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
    templates = [f"{TEMPLATES}/{file.name}" for file in (path / TEMPLATES).glob("*.jinja")]
    beside = [name for name in files if name.endswith(BESIDE) and name not in foreign]
    beside = [name for name in (*beside, *templates) if is_there(path, name)]
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
    if not is_there(path, "config.json"):
        raise ModelError(
            f"model {path} has no config.json. Give a directory that save_pretrained wrote."
        )
    return read_object(path, "config.json")


def _weights(path: Path, named: str) -> tuple[tuple[str, ...], str | None]:
    """Files of the weights as transformers chooses them, and the index that names them.

    named  the file that the config names as its weights, a file or an index; mostly empty
    """
    if named.endswith(".index.json"):
        return _indexed(path, named, present=True), named
    whole = named or WHOLE
    if is_there(path, whole):
        index = INDEX if whole == WHOLE and is_there(path, INDEX) else None
        shards = _indexed(path, INDEX, present=False) if index else ()
        if whole in shards:
            return _indexed(path, INDEX, present=True), index
        if shards and all(is_there(path, name) for name in shards):
            raise ModelError(
                f"model {path} has its weights twice: {whole}, and the {len(shards)} files of "
                f"{INDEX}; loaders differ in which they take. Keep one of the two."
            )
        return (whole,), None
    if not named and is_there(path, INDEX):
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
    names = read_object(path, index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"model {path}: {index} has no `weight_map`. Download it again.")
    files = sorted(set(names.values()))
    for name in files:
        _require_safe(path, index, name)
    missing = [name for name in files if not is_there(path, name)] if present else []
    if missing or not files:
        raise ModelError(
            f"model {path}: {index} names {_few(missing) or 'no file'}, which is not there. Copy "
            "or download the missing files."
        )
    return tuple(files)


def _named_weights(path: Path, config: Mapping[str, Any]) -> str:
    """The file that a config names as its weights, empty where it names none. Raises ModelError."""
    named = config.get("transformers_weights") or ""
    if named and not str(named).endswith(".index.json"):
        _require_safe(path, "config.json", str(named))
    return str(named)


def _require_safe(path: Path, by: str, name: str) -> None:
    """Raises ModelError unless a file of weights that is named by another one is of safetensors and
    below the directory: pickles run code as they are read."""
    parts = PurePosixPath(name)
    outside = parts.is_absolute() or ".." in parts.parts or "\\" in name
    if outside or not name.endswith(".safetensors") or len(name) > MAX_NAME_CHARS:
        why = "outside the directory" if outside else "which is no safetensors file"
        raise ModelError(
            f"model {path}: {by} names {name[:80]!r} {why}. Give the directory that "
            "save_pretrained wrote."
        )


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
