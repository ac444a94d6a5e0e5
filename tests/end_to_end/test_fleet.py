"""Three processes of one bot, four shards, four engines, five guilds with somebody in each: every fault of a fleet, one after the other.

`make soak-fleet` does the same to each process, with eight engines and nine guilds, and for longer: here other tests run beside it.
"""

import asyncio
from pathlib import Path

import pytest

from discordplex.loopback.personaplex.log import Connected, HandshakeSent
from tests.end_to_end.fleet import Fleet, fleet

pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")

NAMES = ("one", "two", "three")

FAULTS_TAKE_S = 180
"""With a machine that is busy: each fault takes up to 15 s, and so does each start."""

LONGER_THAN_LOST_S = 6.0
"""A member of a cluster that is not heard of for 4 s counts as dead."""


async def opened(ships: Fleet) -> None:
    """Three processes; everybody enters, who will have to wait last."""
    await asyncio.gather(*map(ships.start, NAMES))
    number = len(ships.engines)
    for person, channel in zip(ships.people[:number], ships.channels[:number], strict=True):
        ships.discord.enter(person, channel)
    await ships.discord.wait_for(lambda: ships.conversations() == number, timeout_s=60)
    for person, channel in zip(ships.people[number:], ships.channels[number:], strict=True):
        ships.discord.enter(person, channel)
    await ships.settled("started", within_s=60)
    await ships.says_ready("started")
    await ships.commands()


@pytest.mark.timeout(FAULTS_TAKE_S)
async def test_a_process_is_gone(tmp_path: Path) -> None:
    """One is killed, another one told to end: everybody is heard again within 15 s or waits in their place, by one engine, told once.

    Commands are answered once, and the processes that are left know that they have all shards.
    """
    async with fleet(tmp_path, guilds=5, engines=4) as ships:
        await opened(ships)
        for name, leaves in (("one", ships.kill), ("two", ships.end)):
            shards = ships.shards(name)
            await leaves(name)
            await ships.settled(f"{name} is gone", shards=shards)
            await ships.says_ready(f"{name} is gone")
            await ships.start(name)
            await ships.commands()
        assert ships.most_at_once(Connected) == 1


@pytest.mark.timeout(FAULTS_TAKE_S)
async def test_who_stands_still_and_who_is_away(tmp_path: Path) -> None:
    """A process is frozen and wakes; the database is restarted, and is away: the same holds, and /readyz says what is so."""
    async with fleet(tmp_path, guilds=4, engines=4) as ships:
        await opened(ships)
        await ships.freeze("three")
        ships.wake("three")
        await ships.settled("three woke")
        await ships.says_ready("three woke")
        await ships.commands()
        await ships.database.stop()
        await ships.database.start()
        await ships.settled("the database was restarted")
        await ships.says_ready("the database was restarted")
        await ships.commands()
        await ships.database.stop()
        await asyncio.sleep(LONGER_THAN_LOST_S)  # nobody does anything meanwhile, which is the point
        await ships.settled("the database is away")
        for name in NAMES:
            _, parts = await ships.ready(name)
            assert parts["cluster"]["state"] == "away"
        await ships.commands()
        await ships.database.start()
        shards = ships.shards("three")
        await ships.end("three")
        await ships.settled("the database is back, and three was told to end", within_s=30, shards=shards)
        await ships.says_ready("three was told to end")
        await ships.commands()
        assert ships.most_at_once(HandshakeSent) == 1
