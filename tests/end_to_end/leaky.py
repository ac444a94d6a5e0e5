"""The bot, broken on purpose: each time it joins a channel it leaves a task, a thread, a socket, a file and 3 MiB behind."""

import asyncio
import socket
import sys
import tempfile
import threading
from typing import Any

from benchmarks.soak.census import run
from discordplex.voice.connection import VoiceConnection

MEMORY_BYTES = 3 << 20

left: list[Any] = []
joined = VoiceConnection.__init__


def leave_behind(self: VoiceConnection, *args: Any, **named: Any) -> None:
    """Join as ever, and lose sight of some things."""
    joined(self, *args, **named)
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait, name="lost thread", daemon=True)
    thread.start()
    task = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="lost task")
    left.append((waiting, thread, task, socket.socket(), tempfile.TemporaryFile(), b"\1" * MEMORY_BYTES))  # noqa: SIM115  # it is lost


if __name__ == "__main__":
    VoiceConnection.__init__ = leave_behind  # type: ignore[method-assign]
    sys.exit(run())
