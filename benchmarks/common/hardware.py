"""What a figure was measured on: the machine, and the commit of the code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def machine() -> str:
    """Cores, processor, and whether it multiplies bfloat16 itself."""
    known = torch.cpu.get_capabilities()
    native = [name for name in ("avx512_bf16", "amx_bf16") if known.get(name)]
    return f"{os.cpu_count()} cores, {known['cpu_name']} ({', '.join(native) or 'no bf16'})"


def commit() -> str:
    """The commit measured, with a + where the tree differs from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
