"""Find a model by name, and load it.

A model is a directory with safetensors, a config and a tokenizer. Its name is that of the embedded
model, a directory, or a Hugging Face id. Its identity is a digest of its files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infra.errors import ModelError
from infra.models.decoder import model_digest, require_decoder
from infra.models.embedded import EMBEDDED, embedded_model
from infra.models.library import OWN, first_line, model_class, quiet_transformers
from infra.models.stored import require_fit

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Files of a model of the hub that are downloaded."""
AGAIN = ["consolidated*", "original/*", "onnx/*"]
"""Files among them that hold the weights once more."""
HUB_S = 10.0
"""Longest time, in seconds, to wait for the hub's description of a model."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model on disk."""

    name: str
    """As the user gave it."""
    path: Path
    """Its directory."""
    digest: str
    """SHA-256 over the names and contents of weights, config and tokenizer files."""
    hub_id: str | None = None
    """Its id on the Hugging Face hub, `owner/name`; None where that is not known."""

    @property
    def public_name(self) -> str | None:
        """What published files call it: its hub id or, of the embedded model, its name. None for a
        directory, whose path says nothing to others."""
        return self.hub_id or (EMBEDDED if self.name == EMBEDDED else None)


def locate(name: str, *, hub_id: str | None = None) -> ModelRef:
    """The model of this name: `smollm2-135m-instruct`, a directory, or a Hugging Face id.

    hub_id  what a directory's model is called on the hub

    The embedded model is converted, and one of the hub downloaded, where that has not been done
    yet. Raises ModelError for a name that leads to no decoder.
    """
    digest = None
    if name == EMBEDDED:
        path, digest = embedded_model()
    elif Path(name).expanduser().is_dir():
        path = Path(name).expanduser().absolute()
    elif _is_path(name):
        raise ModelError(
            f"model {name!r} is no directory. Give {EMBEDDED!r}, a directory with config.json and "
            "*.safetensors, or a Hugging Face id (owner/name)."
        )
    else:
        path = _from_hub(name)
        hub_id = hub_id or name
    return ModelRef(name, path, digest or model_digest(path), hub_id)


def download_bytes(name: str) -> int | None:
    """Bytes that `locate` would download; None where it would download nothing.

    Raises ModelError where neither this machine nor the hub has the model.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    if name == EMBEDDED or Path(name).expanduser().is_dir() or _is_path(name):
        return None
    try:
        snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True)
        return None
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass  # not here yet
    try:
        files = HfApi().model_info(name, files_metadata=True, timeout=HUB_S).siblings or ()
    except (HTTPError, OSError, ValueError) as error:
        raise _not_on_hub(name, error) from error
    wanted = filter_repo_objects(
        files, allow_patterns=HUB_FILES, ignore_patterns=AGAIN, key=lambda file: file.rfilename
    )
    return sum(file.size or 0 for file in wanted)


def load(path: Path, *, dtype: torch.dtype, device: str = "cpu") -> tuple[Any, Any]:
    """The model of a directory, in eval mode with gradients off, and its tokenizer.

    Raises ModelError where the directory does not hold a decoder with weights and tokenizer, and
    where the stored tensors are not those of the model: transformers would give one that is missing
    random values, without a word.
    """
    from transformers import AutoConfig

    quiet_transformers()
    require_decoder(path)
    require_fit(path)
    try:
        auto = model_class(AutoConfig.from_pretrained(path, **OWN))
        model, info = auto.from_pretrained(
            path,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            **OWN,
        )
    except Exception as error:  # a config's values reach any module's constructor
        raise ModelError(f"model {path} cannot be loaded: {first_line(error)}") from error
    _require_all(path, info)
    return model.to(device).eval().requires_grad_(False), load_tokenizer(path)


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model's directory. Raises ModelError where it cannot be loaded."""
    from transformers import AutoTokenizer

    quiet_transformers()
    try:
        return AutoTokenizer.from_pretrained(path, **OWN)
    except Exception as error:  # a file's values reach any class's constructor
        raise ModelError(f"model {path} cannot be loaded: {first_line(error)}") from error


def dtype_name(name: str, device: str) -> str:
    """The name itself; for `auto`, bfloat16 where the device multiplies it natively (GPUs, CPUs
    with AVX512-BF16 or AMX) and float32 elsewhere."""
    if name != "auto":
        return name
    known = torch.cpu.get_capabilities()
    native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return "bfloat16" if native or device.startswith("cuda") else "float32"


def _require_all(path: Path, info: Mapping[str, Any]) -> None:
    """Raise ModelError unless every parameter was stored, and every stored tensor is one.

    info  what transformers says of the loading; it leaves out tied weights and the names that a
          model's class declares to be of no account
    """
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        raise ModelError(
            f"model {path} lacks {_some(missing)}. Copy or download its files again, or save it "
            "anew with save_pretrained."
        )
    if unexpected:
        raise ModelError(
            f"model {path} stores {_some(unexpected)}, which a model of its config does not have. "
            "Its config or its weights are another model's."
        )
    for name, stored, wanted in sorted(info["mismatched_keys"]):
        raise ModelError(
            f"model {path} stores {name} as {tuple(stored)}, its config wants {tuple(wanted)}. "
            "Its config or its weights are another model's."
        )


def _is_path(name: str) -> bool:
    """Whether a name that is no directory cannot be a Hugging Face id either."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1


def _from_hub(name: str) -> Path:
    """Directory of a model of the Hugging Face hub, downloaded if needed. Raises ModelError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, ignore_patterns=AGAIN))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _not_on_hub(name, error) from error


def _not_on_hub(name: str, error: Exception) -> ModelError:
    """The error for a model that the hub does not give."""
    return ModelError(
        f"model {name!r} is no directory and cannot be had from the hub ({first_line(error)}). "
        f"Check the id and the network, or give a directory or {EMBEDDED!r}."
    )


def _some(names: Sequence[str]) -> str:
    """The first three names, and how many there are."""
    return ", ".join(names[:3]) + (f" ({len(names)} in all)" if len(names) > 3 else "")
