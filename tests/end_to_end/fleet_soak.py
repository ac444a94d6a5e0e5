"""Random kills of a fleet's processes: `python -m tests.end_to_end.fleet_soak 100`. Each time, everybody has to be heard again."""

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from discordplex.loopback.personaplex.log import HandshakeSent
from tests.end_to_end.fleet import fleet

NAMES = ("one", "two", "three")


async def soak(kills: int) -> None:
    """Kill a process so many times. Raises AssertionError where somebody is not heard in time, or an engine had two conversations."""
    with tempfile.TemporaryDirectory(prefix="discordplex-fleet-") as folder:
        async with fleet(Path(folder)) as ships:
            await asyncio.gather(*map(ships.start, NAMES))
            for person, channel in zip(ships.people, ships.channels, strict=True):
                ships.discord.enter(person, channel)
            await ships.settled("started", within_s=60)
            for number in range(kills):
                name = random.choice(NAMES)
                await ships.kill(name)
                await ships.settled(f"kill {number + 1}, of {name}", within_s=30)
                sys.stdout.write(f"{ships.told[-1]}\n")
                await ships.start(name)
                await ships.commands()
            assert ships.most_at_once(HandshakeSent) == 1


if __name__ == "__main__":
    asyncio.run(soak(int(sys.argv[1])))
