"""The machine and the commit of the code that a benchmark measures."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
"""Directory of the repository."""


def machine() -> str:
    """Number of cores, name of the processor, and its instructions for bfloat16, if any."""
    known = torch.cpu.get_capabilities()
    native = [name for name in ("avx512_bf16", "amx_bf16") if known.get(name)]
    return f"{os.cpu_count()} cores, {known['cpu_name']} ({', '.join(native) or 'no bf16'})"


def commit() -> str:
    """The checked-out commit, followed by + if files differ from it. Raises CalledProcessError
    outside a git repository."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
