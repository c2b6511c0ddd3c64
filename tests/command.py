"""The installed command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CORRIGENDA = Path(sys.executable).parent / "corrigenda"


def corrigenda(*words: object) -> Any:
    """What `corrigenda WORDS --json` prints, without this process's settings of Ray."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [CORRIGENDA, *map(str, words), "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
