"""Where everything is measured: a loopback Discord with DAVE, stand-in engines, people who speak, and the bot as a process of its own."""

import asyncio
import contextlib
import gc
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from benchmarks.bot import OURS, ROOT, Bot
from benchmarks.probe import Probe
from discordplex.demo.child import bot_environment, trust
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.world.model import TEXT, VOICE, Channel, User
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.log import Record
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import AudioReceived, AudioSent, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import VoiceModel, VoiceModelFactory

SWITCH_INTERVAL_S = 0.0005
"""The stage shares one interpreter with everybody but the bot; with Python's own 5 ms its lateness would be booked on the bot."""

ENTER_WITHIN_S = 20.0


class Timed(Protocol):
    """One call whose ways can be timed: who speaks, and what arrived at the engine and left it."""

    person: Person
    probe: Probe | None

    @property
    def heard(self) -> list[AudioReceived]:
        """Each page that reached the engine."""
        ...

    @property
    def said(self) -> list[AudioSent]:
        """Each block that the engine sent."""
        ...


@dataclass
class Talk:
    """One call: who speaks, which engine answers, and which of that engine's clients the bot is."""

    person: Person
    engine: StandInServer
    client: int
    probe: Probe | None

    @property
    def heard(self) -> list[AudioReceived]:
        """Each page that reached the engine."""
        return self.engine.log.of(AudioReceived, self.client)

    @property
    def said(self) -> list[AudioSent]:
        """Each block that the engine sent."""
        return self.engine.log.of(AudioSent, self.client)


class Stage:
    """Open between `async with` and its end. `bot` is the process, `rooms` are voice channels, one in each guild."""

    def __init__(
        self,
        *,
        program: Sequence[str] = OURS,
        engines: int = 1,
        guilds: int = 1,
        faults: Faults | None = None,
        model: VoiceModelFactory = Probe,
        early: Callable[[LoopbackDiscord], None] = lambda _: None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`early` is called with the loopback before the bot is started; `settings` are further variables of its environment."""
        self.discord = LoopbackDiscord(voice=lambda world: VoiceGatewayServer(world, dave=True))
        self.probes: list[Probe] = []
        self._model = model
        self.engines = [StandInServer(faults=faults, model=self._new_model) for _ in range(engines)]
        self._program = program
        self._guilds = guilds
        self._early = early
        self._settings = settings or {}
        self._exits = contextlib.AsyncExitStack()
        self.rooms: list[Channel] = []
        self.people: list[User] = []

    async def __aenter__(self) -> Self:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.disable()  # a collection of all that a stage holds takes tens of milliseconds, and would be booked on the bot
        async with contextlib.AsyncExitStack() as exits:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="discordplex-bench-", ignore_cleanup_errors=True)))
            self._furnish()
            await exits.enter_async_context(self.discord)
            for engine in self.engines:
                await exits.enter_async_context(engine)
            self._early(self.discord)
            self.bot = await exits.enter_async_context(Bot(folder, self._environment(folder), program=self._program))
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self._exits.__aexit__(kind, fault, trace)

    @property
    def bot_id(self) -> str:
        """Who the bot is on Discord."""
        return self.discord.bots[0].id

    async def wait_online(self) -> None:
        """Return once the bot is on Discord."""
        await self.discord.wait_for(lambda: self.discord.gateway.online(self.bot_id), timeout_s=ENTER_WITHIN_S)

    @contextlib.asynccontextmanager
    async def talk(self, number: int = 0) -> AsyncIterator[Talk]:
        """A person enters the room of that number, the bot joins them, and an engine listens; at the end the person leaves."""
        before = self._handshakes()
        probes = len(self.probes)
        async with Person(self.discord, self.people[number], self.rooms[number].id, e2ee="libdave") as person:
            news = asyncio.create_task(self._next_handshake(before))
            engine, shaken = await asyncio.wait_for(news, ENTER_WITHIN_S)
            probe = self.probes[probes] if len(self.probes) > probes else None
            await asyncio.sleep(random.uniform(0.5, 0.6))  # past the start, and at any phase of the bot's clocks
            yield Talk(person, engine, shaken.client, probe)

    def alone(self, number: int) -> bool:
        """Whether the bot has left the room of that number."""
        return self.discord.world.voice_state(self.bot_id, self.rooms[number].guild_id) is None

    def _new_model(self) -> VoiceModel:
        model = self._model()
        if isinstance(model, Probe):
            self.probes.append(model)
        return model

    def _handshakes(self) -> list[Record]:
        return [record for engine in self.engines for record in engine.log.of(HandshakeSent)]

    async def _next_handshake(self, before: list[Record]) -> tuple[StandInServer, HandshakeSent]:
        """Wait for one more handshake at any of the engines."""
        known = {id(record) for record in before}
        while True:
            for engine in self.engines:
                for record in engine.log.of(HandshakeSent):
                    if id(record) not in known:
                        return engine, record
            await asyncio.sleep(0.01)

    def _environment(self, folder: Path) -> dict[str, str]:
        urls = ", ".join(f'"{engine.url}"' for engine in self.engines)
        settings = {
            "DISCORDPLEX_DISCORD__TOKEN": self.discord.bots[0].token,
            "DISCORDPLEX_DISCORD__API_URL": f"{self.discord.api_url}/v10",
            "DISCORDPLEX_PERSONAPLEX__URLS": f"[{urls}]",
            **self._settings,
        }
        found = bot_environment(os.environ, settings, trust(self.discord.ca_file, folder / "trusted.pem"))
        return found | {"PYTHONPATH": os.pathsep.join([str(ROOT), found["PYTHONPATH"]])}

    def _furnish(self) -> None:
        """As many guilds as are wanted, each with a voice channel and a person of its own."""
        world, bot = self.discord.world, self.discord.bots[0]
        for number in range(len(self.discord.guilds), self._guilds):
            owner = world.add_user(f"Person {number}", bot=False)
            guild = world.add_guild(f"Guild {number}", owner_id=owner.id)
            world.add_member(guild.id, bot.id)
            world.add_role(guild.id, "Moderator", BITS["move_members"])
            world.add_channel(guild.id, "general", TEXT)
            world.add_channel(guild.id, "Lounge", VOICE)
        for guild in self.discord.guilds[: self._guilds]:
            self.people.append(world.users[guild.owner_id])
            self.rooms.append(guild.voice_channels[0])
