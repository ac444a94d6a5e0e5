"""Three processes of one bot, eight guilds with a call each: every fault that a fleet has, one after the other."""

import asyncio
from pathlib import Path

from discordplex.loopback.personaplex.log import Connected, HandshakeSent
from tests.end_to_end.fleet import fleet

NAMES = ("one", "two", "three")

LONGER_THAN_LOST_S = 6.0
"""A member of a cluster that is not heard of for 4 s counts as dead."""


async def test_faults_of_a_fleet(tmp_path: Path) -> None:
    """After each of them, everybody is heard again within 15 s, by one engine, told once, and commands are answered once."""
    async with fleet(tmp_path) as ships:
        await asyncio.gather(*map(ships.start, NAMES))
        for person, channel in zip(ships.people, ships.channels, strict=True):
            ships.discord.enter(person, channel)
        await ships.settled("started", within_s=60)
        await ships.commands()
        await ships.kill("one")
        await ships.settled("one was killed")
        await ships.commands()
        await ships.start("one")
        await ships.end("two")
        await ships.settled("two was told to end")
        await ships.commands()
        assert ships.most_at_once(Connected) == 1
        await ships.freeze("three")
        ships.wake("three")
        await ships.settled("three woke")
        await ships.commands()
        await ships.database.stop()
        await asyncio.sleep(LONGER_THAN_LOST_S)  # nobody does anything meanwhile, which is the point
        await ships.commands()
        await ships.settled("the database is away")
        await ships.database.start()
        await ships.end("three")
        await ships.settled("the database is back, and three was told to end", within_s=30)
        await ships.commands()
        assert ships.most_at_once(HandshakeSent) == 1
