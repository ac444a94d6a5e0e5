"""The memory of the process, kept from growing while the bot holds no more than before.

Two things keep memory that nobody uses:

* Objects that refer to each other (a task and its traceback, an engine and its socket) are freed by Python's cycle collector alone. It
  looks at old objects when they have become a quarter more, and a started bot has 130,000 of them: that takes hours. Measured in two calls
  with troubles: 12 MB of such garbage after three minutes. So the bot collects once a minute. With the 130,000 a collection takes 90 to
  260 ms, in which no thread runs; what exists before the first call is therefore left out, and it takes 1 to 5 ms.
* What is freed inside a heap of glibc stays there, and by default each thread has a heap of its own. Measured in two calls whose members
  come and go: 31 MB in use, and after two minutes 42 MB taken from the system; with one heap 32 MB.
"""

import ctypes
import gc
import sys

ARENAS = -8
MMAP_THRESHOLD = -3
TRIM_THRESHOLD = -1
"""Names of glibc's options (`malloc.h`)."""

GIVEN_BACK_FROM_BYTES = 128 << 10
"""glibc's own defaults, but fixed: otherwise they rise with the largest block that was ever freed. sphn takes 940 kB for each stream."""


def keep_heap_small() -> None:
    """One arena for all threads, and large blocks outside of it. Call it before threads are started; nothing without glibc."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl, whose heap is another one
        return
    mallopt(ARENAS, 1)
    mallopt(MMAP_THRESHOLD, GIVEN_BACK_FROM_BYTES)
    mallopt(TRIM_THRESHOLD, GIVEN_BACK_FROM_BYTES)


def give_back() -> None:
    """Free what only refers to itself, and give whole free pages back to the system (with glibc). Measured: 2 to 5 ms, for all threads."""
    gc.collect()
    if sys.platform != "linux":
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
