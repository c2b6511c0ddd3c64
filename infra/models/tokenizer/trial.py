"""Whether the tokenizer of a model directory is loaded and used within bounds, tried out in a
process of its own.

The library has no bounds. A pattern that tries everything panics, a normaliser may make gigabytes
of a word, and millions of tokens take minutes to load. What happens only at certain texts is not
found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from infra.errors import ModelError
from infra.models.inside import is_there
from infra.models.tokenizer import program

MAX_BYTES = 256 * 2**20
"""Bytes of the largest tokenizer.json. One of 260,000 tokens with merges has 33 MB."""
MAX_ADDED = 2**16
"""Tokens that may be added to the vocabulary. Models add up to some thousands."""
MEMORY_BYTES = 8 * 2**30
"""Address space of the trial."""
CPU_S = 60
"""Seconds of CPU time of the trial. The largest tokenizers take five."""
ELAPSED_FACTOR = 15
"""Elapsed time may be so many times the CPU time, for a machine that is busy."""


def require_bounded(path: Path, *, cpu_s: int = CPU_S) -> None:
    """Raises ModelError, one line, for a tokenizer that takes too much time or memory, or fails at
    plain text.

    path   the model's directory
    cpu_s  seconds of CPU time
    """
    if not is_there(path, "tokenizer.json"):
        return  # said by whoever loads it
    if (size := (path / "tokenizer.json").stat().st_size) > MAX_BYTES:
        raise _refusal(path, f"tokenizer.json has {size} bytes, and at most {MAX_BYTES} are read")
    said = said_in_bounds(Path(str(program.__file__)), path, str(MAX_ADDED), cpu_s=cpu_s)
    if said is None:
        raise _refusal(path, "it takes too much time or memory")
    if said:
        raise _refusal(path, said)


def said_in_bounds(
    program: Path, path: Path, *arguments: str, given: bytes = b"", cpu_s: int
) -> str | None:
    """What a program of its own prints of a model's directory; None where it takes too much time or
    memory, or fails.

    program    its file; it is called with `path`, `MEMORY_BYTES`, `cpu_s` and the other arguments,
               and sets its limits itself
    given      its standard input
    """
    limits = map(str, (MEMORY_BYTES, cpu_s))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(program), str(path), *limits, *arguments],
            input=given,
            capture_output=True,
            env=environment,
            timeout=ELAPSED_FACTOR * cpu_s,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _refusal(path: Path, why: str) -> ModelError:
    """The error for a tokenizer that is not used."""
    return ModelError(
        f"model {path}: its tokenizer cannot be used ({why}). Copy or download its files again, or "
        "save it anew with save_pretrained."
    )
