"""What a directory must hold to be a decoder that can be edited, and the digest that is its
identity."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from infra.errors import ModelError
from infra.files.digest import canonical_json, file_digest
from infra.models.files import model_files, read_config
from infra.models.inside import is_there

QUANTISED = ("quantization_config", "compression_config")
"""Settings of a config that say how its weights are quantised."""


def require_decoder(path: Path) -> None:
    """Raises ModelError, naming what is missing, for a directory that cannot hold a decoder."""
    config = read_config(path)
    model_files(path)
    if not is_there(path, "tokenizer.json"):
        raise ModelError(f"model {path} has no tokenizer.json. Save its fast tokenizer there.")
    if config.get("is_encoder_decoder"):
        raise ModelError(f"model {path} is an encoder-decoder. Only decoders can be edited.")
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    code = [value for part in parts for key, value in part.items() if _names_code(key, value)]
    if code:
        raise ModelError(
            f"model {path}: config.json names {code[0][:80]!r}, code from the hub, which is never "
            "run. Take that setting out of it."
        )
    if any(part.get(key) for part in parts for key in QUANTISED):
        raise ModelError(
            f"model {path} is quantised. Give the unquantised base model, and quantise the release."
        )


def model_digest(path: Path) -> str:
    """SHA-256 over the names and contents of weights, config and tokenizer files.

    Raises ModelError as `require_decoder`.
    """
    require_decoder(path)
    files = model_files(path)
    beside = {"config.json", "tokenizer.json", "tokenizer_config.json", files.index}
    names = sorted({*files.weights, *(beside & set(files.beside))})
    return hashlib.sha256(
        canonical_json([(name, file_digest(path / name)) for name in names])
    ).hexdigest()


def _names_code(key: str, value: Any) -> bool:
    """Whether a setting says by which kernels of the hub a part of the model is computed."""
    return key.endswith("_implementation") and isinstance(value, str) and "/" in value
