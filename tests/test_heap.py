"""The memory of the process: what is free is given back."""

import asyncio
import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from discordplex import app
from discordplex.loopback.clock import FakeClock
from discordplex.tasks import cancel_and_wait

ARENAS = """
import ctypes, pathlib, sys, tempfile, threading
from discordplex.heap import keep_heap_small
if sys.argv[1] == "kept small":
    keep_heap_small()
together = threading.Barrier(5)
def hold():
    block = bytearray(10_000)
    together.wait()
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "heaps.xml")
    stream = ctypes.c_void_p(libc.fopen(str(file).encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read_text().count("<heap nr="))
together.wait()
"""


FREED = """
import pathlib, sys
from discordplex.heap import give_back
def resident_mib():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
blocks = [bytearray(10_000) for _ in range(4000)]
del blocks[:-1]
before = resident_mib()
give_back()
print(before - resident_mib())
"""

LARGE = """
import ctypes, sys
from discordplex.heap import keep_heap_small
larger = bytearray(8_000_000)
del larger
if sys.argv[1] == "kept small":
    keep_heap_small()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc = ctypes.CDLL(None)
libc.mallinfo.restype = Info
before = libc.mallinfo().hblks
stream = bytearray(940_000)
print(libc.mallinfo().hblks - before)
"""

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_info")


@pytest.mark.skipif(not GLIBC, reason="this is not glibc")
@pytest.mark.parametrize(("how", "is_one"), [("kept small", True), ("as it is", False)])
def test_threads_share_one_arena(how: str, is_one: bool) -> None:  # noqa: FBT001 -- a parameter of the table
    """Four threads that hold memory at the same time take it from the same arena as the main thread; by default each has its own."""
    done = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert (int(done.stdout) == 1) is is_one


@pytest.mark.skipif(not GLIBC, reason="this is not glibc")
def test_what_is_freed_below_something_in_use_is_given_back() -> None:
    """40 MB were freed, and one block behind them is in use: by itself, glibc keeps them."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert float(done.stdout) > 30


@pytest.mark.skipif(not GLIBC, reason="this is not glibc")
@pytest.mark.parametrize(("how", "outside"), [("kept small", 1), ("as it is", 0)])
def test_a_large_block_is_never_taken_from_the_heap(how: str, outside: int) -> None:
    """Not even where a larger one was freed before, while the program was loaded: by default it then leaves a hole in the heap."""
    done = subprocess.run([sys.executable, "-c", LARGE, how], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert int(done.stdout) == outside


class Conversation:
    """Something that only refers to itself, as most of what a call leaves behind does."""

    def __init__(self) -> None:
        self.itself = self
        self.native = bytes(1_000_000)


@pytest.fixture
def _collector() -> Iterator[None]:
    """Python's cycle collector at rest, and afterwards as it was."""
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("_collector")
async def test_what_calls_leave_behind_is_free_within_a_minute(clock: FakeClock) -> None:
    """Although Python's collector would not look at it for hours. What existed at the start is not looked at: that takes 0.1 s."""
    loaded = Conversation()
    task = asyncio.create_task(app.give_back_memory(clock))
    await clock.advance(1)
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())
    left: weakref.WeakSet[Conversation] = weakref.WeakSet()
    for _ in range(20):
        for _ in range(3):
            left.add(Conversation())
        await clock.advance(60)
        assert not left
    await cancel_and_wait(task)


async def test_the_bot_gives_memory_back_each_minute(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the first minute, and of each one after it."""
    given: list[float] = []
    monkeypatch.setattr(app, "give_back", lambda: given.append(clock.now()))
    began = clock.now()
    task = asyncio.create_task(app.give_back_memory(clock))
    await clock.advance(59)
    assert not given
    await clock.advance(61)
    assert given == [began + 60, began + 120]
    await cancel_and_wait(task)
