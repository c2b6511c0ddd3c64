"""A base and a codebook as one model, to be asked or to generate with."""

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
    base_path: Path,
    codebook_path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[Any, Any]:
    """Model and tokenizer of a directory, with a codebook (or a whole delta) in force.

    `model.generate` and every other call answer by it, where a prompt comes in one pass on an empty
    cache, and decoding keeps a cache (`Attachment`). Use the dtype that the codebook was made in:
    keys of another are a little off. Raises ModelError or EditError for a file that is no model, or
    no codebook of this one.
    """
    model, tokenizer = load(base_path, dtype=dtype, device=device)
    try:
        with safe_open(codebook_path, framework="pt") as file:
            is_book = (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError) as error:
        raise EditError(f"{codebook_path} cannot be read as a codebook: {error}") from error
    if is_book:
        book = Codebook.load(codebook_path)
        delta = Delta(codebooks={book.module: book})
    else:
        delta = Delta.load(codebook_path)
    delta.apply_(model)
    return model, tokenizer
