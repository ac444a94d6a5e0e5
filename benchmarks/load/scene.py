"""Scene: the light Discord and its engines in this process, and the bot, which is the real one, in another, on a core of its own."""

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from benchmarks.bot import ROOT, Bot, cpu_percent
from benchmarks.load.cores import Cores
from benchmarks.load.engine import LightEngines
from benchmarks.load.people import LightPerson, packets
from benchmarks.load.relay import LightRelay, Seat
from discordplex.demo.child import bot_environment, trust
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.voice.sessions import VoiceSessions
from discordplex.loopback.discord.world.model import TEXT, VOICE, Channel, Guild
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.discord.world.world import World

TEXT_CHANNELS, VOICE_CHANNELS, ROLES = 15, 5, 10
"""What a guild has, beside a member who is in no channel."""

GUILDS_PER_SHARD = 1000
"""What Discord recommends a shard for."""

MAX_CONCURRENCY = 16
"""As Discord allows large bots."""

ONLINE_WITHIN_S = 120.0
JOIN_WITHIN_S = 30.0

LOOK_S = 1.0
IDLE_PERCENT, IDLE_S, IDLE_WITHIN_S = 10.0, 3.0, 180.0
"""A bot that takes less of a core for so long has started."""


class LightVoice(VoiceGatewayServer):
    """The loopback's voice servers with a relay that does less."""

    def __init__(self, world: World, *, dave: bool) -> None:
        super().__init__(world, dave=dave)
        self.light = LightRelay(self.media)
        self.sessions = VoiceSessions(world, self.light, dave=dave)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.light.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self.light.close()
        await super().__aexit__(kind, fault, trace)


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is at most."""

    calls: int
    people: int = 1
    """In each call."""
    guilds: int = 0
    """All that the bot is in; never fewer than calls."""
    e2ee: bool = False


@dataclass(slots=True)
class Call:
    """One voice channel with its people, who speak all the time."""

    people: list[LightPerson]
    channel: Channel


class Scene:
    """Open between `async with` and its end; the bot is online once it is open."""

    def __init__(self, size: Size, cores: Cores) -> None:
        self.size = size
        self.cores = cores
        self.calls: list[Call] = []
        self.engines = LightEngines(size.calls)
        self.metrics_port = free_port()
        shards = -(-max(size.guilds, size.calls) // GUILDS_PER_SHARD)
        self.discord = LoopbackDiscord(voice=self._voice, shards=shards, max_concurrency=MAX_CONCURRENCY)
        self.guilds = self._furnish()
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        packets()  # encoded before anything is measured
        async with contextlib.AsyncExitStack() as exits:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="discordplex-load-", ignore_cleanup_errors=True)))
            await exits.enter_async_context(self.discord)
            await exits.enter_async_context(self.engines)
            self.bot = Bot(folder, self._environment(folder))
            with self.cores.of_the_bot():  # a child has its parent's core
                await exits.enter_async_context(self.bot)
            await self._wait_online()
            await self._wait_idle()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self._exits.__aexit__(kind, fault, trace)

    @property
    def relay(self) -> LightRelay:
        """Times what the bot sends."""
        return self.voice.light

    @property
    def bot_id(self) -> str:
        """Who the bot is on Discord."""
        return self.discord.bots[0].id

    async def add_call(self) -> Call:
        """One more call: people enter, the bot joins them, an engine listens, and they begin to speak. Raises TimeoutError."""
        number = len(self.calls)
        guild = self.guilds[number]
        channel = guild.voice_channels[0]
        world, everybody = self.discord.world, []
        for place in range(self.size.people):
            user = world.add_user(f"Person {number}.{place}", bot=False)
            world.add_member(guild.id, user.id)
            everybody.append(LightPerson(self.voice.sessions, user, channel, e2ee=self.size.e2ee))
        listening = self.engines.listening
        for person in everybody:
            person.enter()
        await until(lambda: self.engines.listening > listening and self._bot_seat(channel) is not None, JOIN_WITHIN_S)
        for place, person in enumerate(everybody):
            person.announce()
            # Spread over the 20 ms, by the golden ratio: no two streams of a large number have the same phase.
            self.relay.speak(person.ssrc, packets(), person.encrypt, (number * len(everybody) + place) * 0.618034 % 1)
        self.calls.append(Call(everybody, channel))
        return self.calls[-1]

    def _bot_seat(self, channel: Channel) -> Seat | None:
        """The bot in a call, once it can be sent to."""
        seats = (seat for seat in self.relay.seats_of(self.bot_id) if seat.room == channel.id)
        return next((seat for seat in seats if seat.transport and seat.address), None)

    async def _wait_online(self) -> None:
        def online() -> bool:
            return len(self.discord.gateway.sessions.logins) >= self.discord.gateway.sessions.shards and self.discord.gateway.online(
                self.bot_id
            )

        await self.discord.wait_for(online, timeout_s=ONLINE_WITHIN_S)

    async def _wait_idle(self) -> None:
        """Return once the bot has done everything that its start gave it to do. Raises TimeoutError."""
        deadline = time.perf_counter() + IDLE_WITHIN_S
        before, idle_s = self.bot.usage(), 0.0
        while idle_s < IDLE_S:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"the bot was still busy {IDLE_WITHIN_S:.0f} s after its start")
            await asyncio.sleep(LOOK_S)
            now = self.bot.usage()
            stalled = now.at_s - before.at_s > LOOK_S + 0.5  # this process was busy with guilds, and the bot waited for them
            idle_s = 0 if stalled or cpu_percent(before, now) > IDLE_PERCENT else idle_s + LOOK_S
            before = now

    def _voice(self, world: World) -> VoiceGatewayServer:
        self.voice = LightVoice(world, dave=self.size.e2ee)
        return self.voice

    def _environment(self, folder: Path) -> dict[str, str]:
        urls = ", ".join(f'"{url}"' for url in self.engines.urls)
        settings = {
            "DISCORDPLEX_DISCORD__TOKEN": self.discord.bots[0].token,
            "DISCORDPLEX_DISCORD__API_URL": f"{self.discord.api_url}/v10",
            "DISCORDPLEX_PERSONAPLEX__URLS": f"[{urls}]",
            "DISCORDPLEX_MONITORING__LISTEN": f"127.0.0.1:{self.metrics_port}",
        }
        found = bot_environment(os.environ, settings, trust(self.discord.ca_file, folder / "trusted.pem"))
        return found | {"PYTHONPATH": os.pathsep.join([str(ROOT), found["PYTHONPATH"]])}

    def _furnish(self) -> list[Guild]:
        """As many guilds as are wanted; those of the loopback itself are left without the bot."""
        world, bot = self.discord.world, self.discord.bots[0]
        for guild in self.discord.guilds:
            del guild.members[bot.id]
        owner = world.add_user("Owner", bot=False)
        return [self._guild(world, owner.id, bot.id, number) for number in range(max(self.size.guilds, self.size.calls))]

    def _guild(self, world: World, owner_id: str, bot_id: str, number: int) -> Guild:
        guild = world.add_guild(f"Guild {number}", owner_id=owner_id)
        world.add_member(guild.id, bot_id)
        for role in range(ROLES):
            world.add_role(guild.id, f"Role {role}", BITS["move_members"])
        for place in range(TEXT_CHANNELS):
            world.add_channel(guild.id, f"text-{place}", TEXT)
        for place in range(VOICE_CHANNELS):
            world.add_channel(guild.id, f"Voice {place}", VOICE)
        return guild


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Return once a condition holds. Raises TimeoutError."""
    deadline = time.perf_counter() + seconds
    while not condition():  # nothing tells of a handshake or of a datagram
        if time.perf_counter() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain")
        await asyncio.sleep(0.02)
