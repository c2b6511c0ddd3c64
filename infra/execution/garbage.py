"""The garbage collector, held while many records are made that are all kept for a moment."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Without cyclic garbage collection, which would look through young records again and again;
    what is no longer referred to is freed as always. Leaves the collector as it was."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
