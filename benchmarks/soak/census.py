"""`python -m benchmarks.soak.census`: the bot, which writes down what it holds each time it gets SIGUSR1. It costs nothing until then."""

import asyncio
import gc
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from discordplex.cli import main

CENSUS_FILE = "census.json"
"""In the bot's working directory."""

UNNAMED_TASK = re.compile(r"Task-\d+")


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many of each thing a process holds, by name."""

    tasks: dict[str, int]
    threads: dict[str, int]
    descriptors: dict[str, int]
    objects: dict[str, int]
    """Instances of the project's own classes."""


def write_census(*_: object) -> None:
    """Write what this process holds. A signal handler: it runs on the main thread, inside the event loop."""
    gc.collect()
    found = {
        "tasks": Counter(map(task_name, asyncio.all_tasks())),
        "threads": Counter(without_numbers(thread.name) for thread in threading.enumerate()),
        "objects": Counter(name for name in map(type_name, gc.get_objects()) if name.startswith("discordplex.")),
    }
    unfinished = Path(CENSUS_FILE + ".unfinished")
    unfinished.write_text(json.dumps(found), encoding="utf-8")
    unfinished.replace(CENSUS_FILE)


def task_name(task: "asyncio.Task[object]") -> str:
    """The name that a task was given, else that of its coroutine."""
    name = task.get_name()
    return getattr(task.get_coro(), "__qualname__", name) if UNNAMED_TASK.fullmatch(name) else without_numbers(name)


def without_numbers(name: str) -> str:
    """A name without what differs from call to call."""
    return re.sub(r"\d+", "#", name)


def type_name(thing: object) -> str:
    """Module and name of a thing's class."""
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


def descriptors_of(pid: int) -> dict[str, int]:
    """The open descriptors of a process by kind: sockets by their protocol, pipes, and files by their path. Linux alone."""
    found = Counter[str]()
    protocols = sockets_of(pid)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        kind, _, inode = target.rstrip("]").partition(":[")
        found[f"socket ({protocols.get(inode, 'other')})" if kind == "socket" else kind] += 1
    return dict(found)


def sockets_of(pid: int) -> dict[str, str]:
    """The protocol of each socket by its inode, and for TCP the port at its other end."""
    found = {}
    for protocol, inode_at in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("unix", 6)):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            port = f" to port {int(fields[2].rpartition(':')[2], 16)}" if protocol.startswith("tcp") else ""
            found[fields[inode_at]] = protocol + port
    return found


async def holdings(pid: int, folder: Path) -> Holdings:
    """Ask a bot that works in `folder` for its census, and look at its descriptors from outside. Raises TimeoutError."""
    file = folder / CENSUS_FILE
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    for _ in range(200):
        if file.exists():
            break
        await asyncio.sleep(0.05)
    else:
        raise TimeoutError("The bot did not write its census within 10 s.")
    found = json.loads(file.read_text(encoding="utf-8"))
    return Holdings(found["tasks"], found["threads"], descriptors_of(pid), found["objects"])


def run() -> int:
    """The bot's own command line, with the census behind it."""
    signal.signal(signal.SIGUSR1, write_census)
    return main()


if __name__ == "__main__":
    sys.exit(run())
