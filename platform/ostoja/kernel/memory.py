"""When Python looks for garbage: not among what a program has loaded for good, and not while a batch makes many small things."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_busy = 0


def keep_what_is_loaded() -> None:
    """Whatever is there by now stays until the program ends, and is not searched for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Nothing is searched for garbage meanwhile: a batch makes hundreds of thousands of things that all stay until it ends."""
    global _busy
    with _lock:
        _busy += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _busy -= 1
            if not _busy:
                gc.enable()
