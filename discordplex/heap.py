"""The heap of glibc, kept from growing while the bot holds no more than before.

By default each thread gets an arena of its own, and what is freed inside one stays there. Measured in two calls whose members come and
go: 31 MB in use, and after two minutes 42 MB taken from the system; with one arena 32 MB. Giving free pages back each minute takes off up
to 5 MB. In the soak the process still grows by about 1 MB a minute; `docs/performance.md` has the figures.
"""

import ctypes
import sys

ARENAS = -8
TRIM_THRESHOLD = -1
"""Names of glibc's options (`malloc.h`)."""

GIVEN_BACK_FROM_BYTES = 128 << 10
"""glibc's own default, but fixed: otherwise it rises to twice the largest block that was ever freed."""


def keep_heap_small() -> None:
    """One arena for all threads, which give back what they no longer need. Call it before threads are started; nothing without glibc."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl, whose heap is another one
        return
    mallopt(ARENAS, 1)
    mallopt(TRIM_THRESHOLD, GIVEN_BACK_FROM_BYTES)


def give_back() -> None:
    """Give whole free pages back to the system; nothing without glibc. Measured: 0.4 to 1.2 ms, in which no thread gets memory."""
    if sys.platform != "linux":
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
