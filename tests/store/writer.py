"""Lives of a program that changes settings until it is killed, for `test_kill.py`.

Reads `<life> <url>` a line. For each it forks, so that a life begins with everything imported. The life prints `born <pid>`,
`open`, and `<number>` for each change once the store has returned; its parent then prints `dead <signal>`.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import discordplex.store.upgrade  # noqa: F401 - a life that migrates shall not spend itself on importing
from discordplex.store.records import GuildSettings
from discordplex.store.store import open_store


def say(words: str) -> None:
    """One line at once, so that being killed cannot halve it."""
    os.write(1, f"{words}\n".encode())


async def live(life: int, url: str) -> None:
    """Change settings for ever."""
    async with open_store(url) as store:
        say("open")
        number = 0
        while True:
            number += 1
            await store.guilds.change(life, count_to(number))
            await store.people.opt_out(life * 1_000_000 + number)
            say(str(number))


def count_to(number: int) -> Callable[[GuildSettings], GuildSettings]:
    """A change of several rows."""
    return lambda now: replace(now, idle_minutes=number).with_rule("role", number, allowed=True)


if __name__ == "__main__":
    for line in sys.stdin:
        life, url = line.split()
        child = os.fork()
        if child == 0:
            say(f"born {os.getpid()}")
            asyncio.run(live(int(life), url))
        _, status = os.waitpid(child, 0)
        say(f"dead {-os.waitstatus_to_exitcode(status)}")
