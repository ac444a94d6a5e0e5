"""kill -9 at any moment: what was acknowledged is there."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from discordplex.store.store import open_store

LIVES = 100 if os.environ.get("DISCORDPLEX_SOAK") else 20
"""`make soak` asks for many."""

LIVES_OF_A_DATABASE = 10
"""So that some are killed while they make or migrate their schema."""

YOUNG = 4
"""One in so many is killed while it opens the database (20 ms; a new one 100), or soon after. The others are killed after some changes."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with kill -9 and fork")


@pytest.fixture
async def writer() -> AsyncIterator[Process]:
    """A program that lives as often as it is asked to."""
    program = await asyncio.create_subprocess_exec(sys.executable, Path(__file__).parent / "writer.py", stdin=PIPE, stdout=PIPE)
    yield program
    assert program.stdin
    program.stdin.close()
    await program.wait()


@dataclass
class Fate:
    """When to kill: so long after so many acknowledged changes."""

    changes: int
    after_s: float


def fates() -> Iterator[Fate]:
    """Different ones, and the same in every run."""
    chance = random.Random(4)
    for life in range(LIVES):
        first = life % LIVES_OF_A_DATABASE == 0
        young = first or life % YOUNG == 0
        yield Fate(0, chance.uniform(0, 0.15 if first else 0.04)) if young else Fate(chance.randint(1, 4), chance.uniform(0, 0.006))


async def kill_one(writer: Process, life: int, url: str, fate: Fate) -> int:
    """Let the writer live, kill it, and answer the last change that it saw acknowledged."""
    assert writer.stdin
    assert writer.stdout
    loop = asyncio.get_running_loop()
    writer.stdin.write(f"{life} {url}\n".encode())
    born, last = 0, 0
    async for line in writer.stdout:
        word, _, rest = line.decode().strip().partition(" ")
        if word == "dead":
            assert int(rest) == signal.SIGKILL
            break
        if word == "born":
            born = int(rest)
        elif word != "open":
            last = int(word)
        if (word == "born" and fate.changes == 0) or last == fate.changes > 0:
            loop.call_later(fate.after_s, os.kill, born, signal.SIGKILL)
    return last


@pytest.mark.timeout(180)
async def test_every_death(writer: Process, make_url: Callable[[], str]) -> None:
    """After each of many kills the database opens, every acknowledged change is whole and there, and at most one more."""
    url, lasts = make_url(), dict[int, int]()
    for life, fate in enumerate(fates(), 1):
        lasts[life] = await kill_one(writer, life, url, fate)
        await check(url, {life: lasts[life]})
        if life % LIVES_OF_A_DATABASE == 0:
            await check(url, lasts)
            url, lasts = make_url(), {}


async def check(url: str, lasts: dict[int, int]) -> None:
    """That everything acknowledged in each life is in the database, whole."""
    async with open_store(url) as store:
        out = await store.people.opted_out()
        for life, last in lasts.items():
            mine = {user_id - life * 1_000_000 for user_id in out if user_id // 1_000_000 == life}
            assert mine in ({*range(1, last + 1)}, {*range(1, last + 2)})
            settings = await store.guilds.get(life)
            assert settings.idle_minutes in ((None, 1) if last == 0 else (last, last + 1))
            assert settings.allowed_roles == {*range(1, (settings.idle_minutes or 0) + 1)}
