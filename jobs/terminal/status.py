"""What `status` prints: the stages of each edition, how far the unfinished ones are, production."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.display import Terminal, line, say_json
from jobs.terminal.words import duration, many, phase
from pipeline.stages import STAGES

EVERY_S = 2.0
"""Seconds between two looks at a workspace that is watched."""
SILENT_S = 120.0
"""Seconds after which it is said when an unfinished stage has told its progress last: it may have
been killed."""


def print_status(state: Mapping[str, Any], console: Console) -> None:
    """Print what `pipeline.queries.status.status` has read."""
    console.print(_view(state), soft_wrap=True)


def watch_status(read: Callable[[], Mapping[str, Any]], *, as_json: bool = False) -> None:
    """Print what `read` returns whenever it has changed, until SIGINT or SIGTERM; on a terminal in
    one place. With `as_json`, each is a line of JSON."""
    stopped = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in signals}
    console = Terminal()
    last: object = None
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                state = read()
                if as_json:
                    if (now := _without_times(state)) != last:
                        last = now
                        say_json(state)
                elif console.is_terminal:
                    live.update(_view(state), refresh=True)
                elif (now := _without_times(state)) != last:
                    last = now
                    print_status(state, console)
                if stopped.wait(EVERY_S):
                    return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_times(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A state without what changes by itself."""
    unfinished = [{**one, "told_s": None} for one in state["unfinished"]]
    return {**state, "unfinished": unfinished}


def _view(state: Mapping[str, Any]) -> RenderableType:
    """The state as tables and lines."""
    if not state["versions"]:
        return Text(line(f"{state['workspace']} is empty. Run `corrigenda run --config FILE`."))
    table = Table("version", *STAGES, box=None, padding=(0, 1, 0, 0))
    for version, stages in state["versions"].items():
        table.add_row(version, *stages.values())
    lines = [_how_far(one) for one in state["unfinished"]]
    for name, version in state["production"].items():
        lines.append(f"{name}: production is {version or 'not known'}")
    return Group(table, *(Text(line(text)) for text in [*lines, *state["damage"]]))


def _how_far(one: Mapping[str, Any]) -> str:
    """A line on a stage that is not finished."""
    name, *rest = one["text"].split(", ")
    said = ", ".join([phase(name), *rest])
    parts = [f"{one['done']} done, {many(one['waiting'], 'task')} waiting"]
    parts += [f"waits for {what}" for what in one["waits"]]
    if one["told_s"] > SILENT_S:
        parts.append(f"told {duration(one['told_s'])} ago")
    return f"{one['version']} {one['stage']}: {said}; {'; '.join(parts)}"
