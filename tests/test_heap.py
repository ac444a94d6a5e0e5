"""The heap of glibc."""

import asyncio
import ctypes
import subprocess
import sys

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
