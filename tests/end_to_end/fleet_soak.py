"""A fleet's processes are killed at random: `python -m tests.end_to_end.fleet_soak 100 [seed]`.

Eight people talk and a ninth waits. All the time, people change settings through slash commands, also in the moment of a kill. Each time,
everybody has to be heard again or keep their place, and whatever was acknowledged has to be there in the end, as another process and the
database say.
"""

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from discordplex.loopback.discord.world.model import Channel, User
from discordplex.loopback.personaplex.log import HandshakeSent
from discordplex.store.store import open_store
from discordplex.tasks import cancel_and_wait
from tests.end_to_end.fleet import Fleet, fleet

NAMES = ("one", "two", "three")

NOT_SAVED_YET = "not saved yet"
"""What an answer says that acknowledges nothing."""

FROZEN_S = 60.0
AWAY_S = 30.0
LONGEST_PAUSE_S = 2.0
"""A process is killed up to so long after everybody was heard again."""


@dataclass
class Wishes:
    """What people have asked for, and what was acknowledged."""

    ships: Fleet
    rng: random.Random
    asked: int = 0
    acknowledged: int = 0
    possible: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By person, the newest role that was acknowledged, and those that they asked for later."""

    async def go_on(self) -> None:
        """One after the other, until cancelled."""
        while True:
            person, channel = self.rng.choice([*zip(self.ships.people, self.ships.channels, strict=True)])
            await self.ask(person, channel)

    async def ask(self, person: User, channel: Channel) -> None:
        """A person chooses a role of their own."""
        self.asked += 1
        role = f"number {self.asked:06}"
        self.possible[person.id].append(role)
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            answer = await self.ships.discord.press_slash(person, channel, "persona set", {"role": role})
            if role in answer.content and NOT_SAVED_YET not in answer.content:
                self.acknowledged += 1
                self.possible[person.id] = [role]

    async def lost(self) -> list[str]:
        """What was acknowledged and is not there, in words."""
        found = []
        async with open_store(self.ships.database.url) as store:
            for person, channel in zip(self.ships.people, self.ships.channels, strict=True):
                roles = self.possible[person.id]
                stored = (await store.people.get(int(person.id))).choice.text_prompt
                told = (await self.ships.discord.press_slash(person, channel, "persona show")).content
                if roles and (stored not in roles or str(stored) not in told):
                    found.append(f"{person.name} was promised {roles[0]}; the database has {stored}, and the bot says: {told}")
        return found


async def long_faults(ships: Fleet) -> None:
    """Each process is killed, and each told to end; one stands still for a minute; the database is away for half of one."""
    for leaves in (ships.kill, ships.end):
        for name in NAMES:
            shards = ships.shards(name)
            await leaves(name)
            await ships.settled(f"{name} is gone", shards=shards)
            await ships.says_ready(f"{name} is gone")
            await ships.start(name)
            await ships.commands()
    shards = ships.shards("three")
    await ships.freeze("three")
    await anyio.sleep(FROZEN_S)
    ships.wake("three")
    await ships.settled(f"three woke after {FROZEN_S:.0f} s", shards=shards)
    await ships.says_ready("three woke")
    await ships.settled("three knows what it has lost", shards=shards)
    await ships.database.stop()
    await anyio.sleep(AWAY_S)
    await ships.settled(f"the database was away for {AWAY_S:.0f} s")
    await ships.database.start()
    await ships.says_ready("the database is back")
    await ships.commands()


async def kill_at_random(ships: Fleet, kills: int, rng: random.Random) -> list[float]:
    """How long it took each time until all was well."""
    took = []
    for number in range(kills):
        await anyio.sleep(rng.uniform(0, LONGEST_PAUSE_S))
        name = rng.choice(NAMES)
        shards = ships.shards(name)
        await ships.kill(name)
        began = anyio.current_time()
        await ships.settled(f"kill {number + 1}, of {name} with {shards} shards", shards=shards)
        took.append(anyio.current_time() - began)
        sys.stdout.write(f"{ships.told[-1]}\n")
        sys.stdout.flush()
        await ships.start(name)
        await ships.says_ready(f"kill {number + 1}")
    return took


async def soak(kills: int, seed: int) -> None:
    """Raises AssertionError, in a sentence, where a claim does not hold."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="discordplex-fleet-") as folder:
        async with fleet(Path(folder), guilds=9) as ships:
            await asyncio.gather(*map(ships.start, NAMES))
            for person, channel in zip(ships.people, ships.channels, strict=True):
                ships.discord.enter(person, channel)
                await anyio.sleep(0.1)
            await ships.discord.wait_for(lambda: ships.conversations() == len(ships.engines), timeout_s=60)
            last = next(place for place, channel in enumerate(ships.channels) if not ships.is_heard(channel))
            ships.people.append(ships.people.pop(last))  # whose shard was logged in last
            ships.channels.append(ships.channels.pop(last))
            await ships.settled("started", within_s=60)
            await long_faults(ships)
            wishes = Wishes(ships, rng)
            asking = asyncio.create_task(wishes.go_on())
            try:
                took = await kill_at_random(ships, kills, rng)
            finally:
                await cancel_and_wait(asking)
            await ships.commands()
            lost = await wishes.lost()
            sys.stdout.write(
                f"{kills} kills with seed {seed}: all well after {statistics.median(took):.1f} s (median), {max(took):.1f} s (longest)\n"
                f"{wishes.asked} changes asked for, {wishes.acknowledged} acknowledged, {len(lost)} lost\n"
                f"most conversations of one engine at once: {ships.most_at_once(HandshakeSent)}\n"
            )
            assert wishes.acknowledged >= kills, "hardly anything was acknowledged"
            assert not lost, "\n".join(lost)
            assert ships.most_at_once(HandshakeSent) == 1, "an engine had two conversations"


def main() -> int:
    """Exit code: 1 where a claim does not hold."""
    kills = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1_000_000)
    sys.stdout.write(f"seed {seed}\n")
    try:
        asyncio.run(soak(kills, seed))
    except AssertionError as fault:
        sys.stdout.write(f"FAILED: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
