"""Stop the cyclic garbage collector while many records are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Turn off cyclic garbage collection inside the `with`; afterwards it is as it was before.

    While many records are made and kept, each collection would look through all of them in vain.
    Objects without references are still freed.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
