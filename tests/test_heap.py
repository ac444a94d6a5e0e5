"""The heap of glibc."""

import ctypes
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this is not glibc")
@pytest.mark.parametrize(("how", "is_one"), [("kept small", True), ("as it is", False)])
def test_threads_share_one_arena(how: str, is_one: bool) -> None:  # noqa: FBT001 -- a parameter of the table
    """Four threads that hold memory at the same time take it from the same arena as the main thread; by default each has its own."""
    done = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert (int(done.stdout) == 1) is is_one
