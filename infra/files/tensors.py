"""Safetensors files of tensors: their rights, and a digest of the content inside of the file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infra.errors import EditError
from infra.files.digest import canonical_json

DIGEST = "sha256"
"""Key of a file's metadata: SHA-256 over its header without this key, and its tensors' bytes."""
PLACE = "0" * 64
"""Placeholder of the digest, which is written over it once it is known."""
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)|Os { code: (\d+)")
"""How libraries in Rust tell an error of the system, such as a full disk."""
PIECE_BYTES = 1 << 22
"""Bytes that are read at a time."""


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the permissions of any new file; the library would let only its
    owner read it. A file of this name, which may be a link, is replaced. Raises OSError."""
    path.unlink(missing_ok=True)
    path.touch()
    rights = stat.S_IMODE(path.stat().st_mode)
    with system_errors(path):
        save_file(dict(tensors), path, dict(metadata) if metadata else None)
    path.chmod(rights)


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """A block in which safetensors or tokenizers write: their errors of the system are raised as
    OSError of `path`. Theirs are no OSError, and those of tokenizers a plain Exception."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or (number := SYSTEM_ERROR.search(str(error))) is None:
            raise
        code = int(number[1] or number[2])
        raise OSError(code, os.strerror(code), str(path)) from error


def save_with_digest(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """`save_tensors` with a digest in the metadata, which `is_whole` checks. Raises OSError."""
    save_tensors(tensors, path, {**(metadata or {}), DIGEST: PLACE})
    with path.open("r+b") as file:
        header = _header(file)
        digest = _digest(header, file)
        file.seek(8)
        file.write(header.replace(PLACE.encode(), digest.encode(), 1))


def load_tensors(path: Path, what: str, form: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file by name, and its metadata.

    what  what the file should hold, for the error
    form  what its metadata must give as `format`

    Raises EditError where it is something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise EditError(f"{path} cannot be read as {what}: {error}") from error
    if metadata.get("format") != form:
        raise EditError(f"{path} has format {metadata.get('format')!r}, {what} {form!r}.")
    return tensors, metadata


def is_whole(path: Path) -> bool:
    """Whether a file has, by the digest inside, the content that it was written with.

    Of a file without a digest, as earlier versions wrote them, header and size are checked.
    """
    try:
        with safe_open(path, "pt") as stream:
            said = (stream.metadata() or {}).get(DIGEST)
        with path.open("rb") as file:
            return said is None or said == _digest(_header(file), file)
    except (OSError, ValueError, KeyError, SafetensorError):
        return False


def _header(file: BinaryIO) -> bytes:
    """The header of an open safetensors file: JSON behind its length in 8 bytes, little-endian.

    Raises ValueError where it is longer than the file.
    """
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= size - 8:
        raise ValueError("no header of a safetensors file")
    return file.read(length)


def _digest(header: bytes, file: BinaryIO) -> str:
    """The digest of a file that is open behind its header."""
    value = json.loads(header)
    del value["__metadata__"][DIGEST]
    digest = hashlib.sha256(canonical_json(value))
    while piece := file.read(PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
