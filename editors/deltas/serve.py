"""A base model and a delta loaded as one model, to be asked or to generate with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from editors.deltas.codebook import FORMAT, Codebook
from editors.deltas.delta import Delta
from infra.errors import EditError
from infra.models.loading import load


def load_edited(
    model_path: Path,
    delta_path: Path,
    *,
    beside_weights: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[Any, Any]:
    """Model and tokenizer of a directory, with a delta (or the file of one codebook) in force.

    `beside_weights`: the directory is an exported checkpoint, whose weights have been changed
    already, and only the other parts of the delta are put in force. `model.generate` and every
    other call answer by a codebook where a prompt comes in one pass on an empty cache and decoding
    keeps a cache (`CodebookHooks`). Use the dtype that the codebook was made in: keys computed in
    another dtype differ a little. Raises ModelError for a directory that is no model, EditError for
    a file that is no delta, or one of another model.
    """
    model, tokenizer = load(model_path, dtype=dtype, device=device)
    try:
        with safe_open(delta_path, framework="pt") as file:
            is_book = (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError) as error:
        raise EditError(f"{delta_path} cannot be read as a delta: {error}") from error
    if is_book:
        delta = Delta((Codebook.load(delta_path),))
    else:
        delta = Delta.load(delta_path, beside_weights=beside_weights)
    delta.apply_(model)
    return model, delta.tokenizer(tokenizer)
