"""How transformers is called: quietly, with neither code of a model nor the network; and what its
errors say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

OWN: Mapping[str, bool] = {"trust_remote_code": False, "local_files_only": True}
"""How transformers is asked for anything of a directory: code in it is never run and, unlike where
nothing is said, nobody is asked whether it may be; nothing is fetched from elsewhere."""


def quiet_transformers() -> None:
    """Turn off the progress bars and warnings of transformers, which would mix with our output."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed prints which it found
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def model_class(config: Any) -> Any:
    """The class of transformers that loads a model of this config: for causal language modelling
    where it has one, else for text from images and text, whose language model is edited."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    both = (AutoModelForCausalLM, AutoModelForImageTextToText)
    return next((auto for auto in both if type(config) in auto._model_mapping), both[0])


def advice(error: Exception) -> str:
    """What to do about an error of loading, running or writing a model: whether the machine is at
    fault or the model."""
    text = str(error).lower()
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text:
        return "The machine has too little memory: use a larger one, or a narrower `dtype`."
    if isinstance(error, OSError) or "no space left" in text:
        return "See to the disk, then run the same command again."
    return "Choose another model."


def first_line(error: Exception) -> str:
    """First line of an error's message, with the next one where it ends in a colon; behind the
    error's type where the message may not tell what is wrong: all but errors of files and
    values."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    line = " ".join(lines[:2]) if lines and lines[0].endswith(":") else next(iter(lines), "")
    plain = line and isinstance(error, OSError | ValueError)
    return line if plain else f"{type(error).__name__} {line}".strip()
