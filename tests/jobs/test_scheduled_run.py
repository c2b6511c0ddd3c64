"""`corrigenda run` by a schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_scheduled_run(corrigenda: Any, world: Callable[..., Path]) -> None:
    """The command makes the edition of the slot's day; a day that is released is nothing to do."""
    config = world()
    text, _, _ = config.read_text().partition("[[editions]]")
    config.write_text(text + '[schedule]\ncron = "0 0 * * *"\n')
    words = ("run", "-c", config, "--ray-address", "none", "--json")
    code, out, err = corrigenda(*words, "--edition", "2021-06-30", "--until", "diff")
    assert code == 0, err
    assert [e["version"] for e in json.loads(out)["editions"]] == ["2021.06.30"]
    code, out, err = corrigenda(*words, "--edition", "2021-06-30")
    assert code == 0, err
    code, out, _ = corrigenda(*words, "--edition", "2021-06-30")
    assert code == 0 and json.loads(out)["editions"] == []
    code, out, _ = corrigenda(*words[:-1], "--edition", "2021-06-30")
    assert code == 0 and out.startswith("nothing is due: ")
    code, out, _ = corrigenda(*words, "--edition", "yesterday")
    assert code == 1 and "--edition 'yesterday' is no day" in out
