"""Signals that come while Ray works, which runs handlers inside of its C++ core.

There an exception of a handler is lost: the code of a SystemExit becomes 1, and any exception but
KeyboardInterrupt becomes a SystemError.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFERRED = (signal.SIGINT, signal.SIGTERM)
"""The signals by which a program is asked to end."""


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Keep SIGINT and SIGTERM for the end of the `with`, where their handlers then run.

    The block should last no longer than a person waits after Ctrl-C. Handlers run in the main
    thread only; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number)) for number in DEFERRED
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in noted[:1]:
            signal.raise_signal(number)
