"""A fleet: several processes of one bot on a loopback Discord, with a PostgreSQL server of their own."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from sqlalchemy.engine import URL

from discordplex.loopback import timeouts
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import VOICE, Channel, Guild, User
from discordplex.loopback.personaplex.log import Connected, ConversationClosed, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from tests.store.conftest import OWNER, as_nobody, postgresql_programs, run

READY_WITHIN_S = 6.0
"""How long after a fault is over a process may say otherwise: a member that is gone is missed after 4 s."""

END_WITHIN_S = 5.0
"""What the command line promises for SIGTERM."""

SETTLED_WITHIN_S = 15.0
"""After every fault, everybody who sits in a channel is heard or in the queue by then."""

SHARDS_IN_TIME, LOGIN_S = 2, 6.0
"""So many shards of one process fit into that time. Each further one waits for its turn to log in (5 s, and the way there)."""

JOINED = "gateway connections"
"""What a process logs when it is a member."""

LISTENS = "listening in"


class Postgres:
    """A PostgreSQL server that a test stops and starts."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._control: list[Path | str] = [programs / "pg_ctl", "-D", folder / "data", "-s", "-w"]
        self._folder = folder
        self._initdb = programs / "initdb"
        self.url = URL.create("postgresql", username=OWNER, database="postgres", query={"host": str(folder)}).render_as_string()

    def make(self) -> None:
        """Make an empty one."""
        data = self._folder / "data"
        run(self._folder, self._initdb, "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")

    async def start(self) -> None:
        setting = f"-k {self._folder} -c listen_addresses= -c fsync=off"
        await asyncio.to_thread(run, self._folder, *self._control, "-o", setting, "-l", self._folder / "log", "start")

    async def stop(self) -> None:
        await asyncio.to_thread(run, self._folder, *self._control, "-m", "immediate", "stop")


@asynccontextmanager
async def postgres() -> AsyncIterator[Postgres]:
    """One that runs; the test is skipped where there is none."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server at hand (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="discordplex-pg-"))  # not tmp_path: pytest's folders are closed to `nobody`
    if as_nobody():
        shutil.chown(folder, **as_nobody())
    server = Postgres(programs, folder)
    try:
        server.make()
        await server.start()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            await server.stop()
        shutil.rmtree(folder)


@dataclass
class Fleet:
    """Processes of one bot. Everybody of `people` sits in the channel of their guild."""

    discord: LoopbackDiscord
    engines: list[StandInServer]
    database: Postgres
    folder: Path
    channels: list[Channel] = field(default_factory=list)
    people: list[User] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    ports: dict[str, int] = field(default_factory=dict)
    """Where each process says how it is."""
    told: list[str] = field(default_factory=list)
    """What the settling after each fault took, in words."""

    @property
    def bot(self) -> User:
        return self.discord.bots[0]

    def populate(self, guilds: int) -> None:
        """Divide so many guilds evenly between four shards; a person for each."""
        world = self.discord.world
        for index in range(guilds):
            if index < len(self.discord.guilds):
                guild: Guild = self.discord.guilds[index]
            else:
                guild = world.add_guild(f"Guild {index}", owner_id=self.discord.people[0].id, guild_id=str((230_000_000_000 + index) << 22))
                world.add_member(guild.id, self.discord.people[0].id)
                world.add_member(guild.id, self.bot.id)
                world.add_channel(guild.id, "Lounge", VOICE)
            person = world.add_user(f"Person {index}", bot=False)
            world.add_member(guild.id, person.id)
            self.people.append(person)
            self.channels.append(guild.voice_channels[0])

    async def start(self, name: str, *arguments: str) -> Process:
        """One more process; returns when it is one of the cluster."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("DISCORDPLEX_")}
        settings = {
            "DISCORDPLEX_DISCORD__TOKEN": self.bot.token,
            "DISCORDPLEX_DISCORD__API_URL": self.discord.api_url + "/v10",
            "DISCORDPLEX_PERSONAPLEX__URLS": json.dumps([engine.url for engine in self.engines]),
            "DISCORDPLEX_CLUSTER__URL": self.database.url,
            "DISCORDPLEX_MONITORING__LISTEN": f"127.0.0.1:{self.ports.setdefault(name, free_port())}",
            "SSL_CERT_FILE": str(self.discord.ca_file),
        }
        (self.folder / f"{name}.log").touch()
        joined = self.log(name).count(JOINED)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "discordplex", "run", *arguments, cwd=self.folder, env=clean | settings, stdout=log, stderr=log
            )
        with anyio.fail_after(90 * timeouts.FACTOR):
            while self.log(name).count(JOINED) == joined:  # noqa: ASYNC110 -- another process writes it
                await anyio.sleep(0.05)
        return self.processes[name]

    async def kill(self, name: str) -> None:
        """As by an out-of-memory killer."""
        process, before = self.processes.pop(name), self.conversations() if self.shards(name) else 0
        process.kill()
        await process.wait()
        with anyio.fail_after(5 * timeouts.FACTOR):
            while before and self.conversations() == before:  # noqa: ASYNC110 -- its sockets close with it
                await anyio.sleep(0.01)

    async def end(self, name: str) -> None:
        """SIGTERM: it exits with 0 within what is promised."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert await timeouts.wait_for(process.wait(), END_WITHIN_S) == 0, self.log(name)

    async def freeze(self, name: str) -> None:
        """Stop a process until `wake`; returns when others have connected its shards."""
        sessions = self.discord.gateway.sessions
        before, shards = len(sessions.logins), self.shards(name)
        self.processes[name].send_signal(signal.SIGSTOP)
        await self.discord.wait_for(lambda: len(sessions.logins) >= before + shards, timeout_s=30)

    def wake(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def shards(self, name: str) -> int:
        """How many shards a process has, as its log says."""
        held: set[int] = set()
        for line in self.log(name).rpartition(JOINED)[2].splitlines()[1:]:
            told = json.loads(line)
            if told["event"] == "shard taken":
                held.add(told["shard"])
            elif told["event"] == "shard given up":
                held.discard(told["shard"])
        return len(held)

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.folder / f"{name}.log").read_text()

    async def settled(self, what: str, *, within_s: float = SETTLED_WITHIN_S, shards: int = 0) -> None:
        """Everybody for whom there is an engine is heard, and their channel has one notice that says so; who came later waits in the queue.

        `shards` is how many the process had that is gone.
        """
        began, within_s = time.monotonic(), within_s + LOGIN_S * max(0, shards - SHARDS_IN_TIME)
        try:
            await self.discord.wait_for(self.is_settled, timeout_s=within_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise AssertionError(f"{what}: after {within_s} s {self.state()}") from None
        self.told.append(f"{what}: {time.monotonic() - began:.1f} s")

    def is_settled(self) -> bool:
        """Whether the people who came first have the engines, and the others their places in the queue."""
        first, rest = self.channels[: len(self.engines)], self.channels[len(self.engines) :]
        waits = all(f"number {place} in the queue" in self.newest(channel) for place, channel in enumerate(rest, start=1))
        return waits and not any(map(self.is_heard, rest)) and all(map(self.is_heard, first)) and self.conversations() == len(first)

    def newest(self, channel: Channel) -> str:
        """The newest message in a channel."""
        return "".join(message.content for message in self.discord.messages(channel)[-1:])

    async def ready(self, name: str) -> tuple[int, dict[str, Any]]:
        """What a process answers at /readyz: the status, and each part."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.ports[name]}/readyz") as answer:
            found: dict[str, Any] = await answer.json()
        assert found["ready"] == (answer.status == HTTPStatus.OK)
        return answer.status, found["parts"]

    async def says_ready(self, what: str, *, cluster: str = "connected") -> None:
        """Every process that runs says within a few seconds that it is ready, and of the cluster what is so."""

        async def found() -> list[tuple[int, str, int, int]]:
            answers = [await self.ready(name) for name in self.processes]
            own = sum(parts["cluster"]["own_shards"] for _, parts in answers)
            return [(status, parts["cluster"]["state"], parts["cluster"]["processes"], own) for status, parts in answers]

        number = len(self.processes)
        wanted = [(HTTPStatus.OK, cluster, number, self.discord.gateway.sessions.shards)] * number
        answers = await found()
        with anyio.move_on_after(READY_WITHIN_S * timeouts.FACTOR):
            while answers != wanted:
                await anyio.sleep(0.1)
                answers = await found()
        assert answers == wanted, what

    def conversations(self) -> int:
        """How many conversations the engines have."""
        return sum(len(open_now(engine)) for engine in self.engines)

    def is_heard(self, channel: Channel) -> bool:
        """Whether the bot is in the channel in its newest session, and its only notice of a running call is the newest."""
        state = self.discord.world.voice_states.get((channel.guild_id, self.bot.id))
        newest = [session.id for session in self.discord.gateway.sessions if session.login.covers(channel.guild_id)][-1:]
        return state is not None and [state.session_id] == newest and len(self.notices(channel)) == 1

    def notices(self, channel: Channel) -> list[str]:
        """The notices that say that a call is running."""
        return [message.content for message in self.discord.messages(channel) if LISTENS in message.content]

    def state(self) -> str:
        """Who is heard, for a failure."""
        lines = []
        for channel in self.channels:
            there = (channel.guild_id, self.bot.id) in self.discord.world.voice_states
            said = [message.content[:40] for message in self.discord.messages(channel)]
            lines.append(f"{channel.guild_id} (shard {(int(channel.guild_id) >> 22) % 4}): in channel {there}, {said}")
        return "\n".join(lines)

    def most_at_once(self, kind: type[Connected] | type[HandshakeSent]) -> int:
        """The most connections, or conversations, that one engine ever had at once."""
        most = 0
        for engine in self.engines:
            begun: set[int] = set()
            for record in engine.log:
                if isinstance(record, kind):
                    begun.add(record.client)
                elif isinstance(record, ConversationClosed):
                    begun.discard(record.client)
                most = max(most, len(begun))
        return most

    async def commands(self) -> None:
        """A command in every guild is answered, and none so far was answered twice."""
        before = len(self.discord.interactions.all)
        await asyncio.gather(
            *(self.discord.press_slash(person, channel, "status") for person, channel in zip(self.people, self.channels, strict=True))
        )
        callbacks = sum(
            count for (method, path), count in self.discord.rest.calls.items() if method == "POST" and path.endswith("/callback")
        )
        assert callbacks <= len(self.discord.interactions.all), "a command was answered twice"
        assert [one.user_id for one in self.discord.interactions.all[before:] if one.failed] == []


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
        return number


def open_now(engine: StandInServer) -> set[int]:
    """The clients that an engine listens to."""
    begun = {record.client for record in engine.log.of(HandshakeSent)}
    return begun - {record.client for record in engine.log.of(ConversationClosed)}


@asynccontextmanager
async def fleet(folder: Path, *, guilds: int = 8, engines: int = 8, shards: int = 4) -> AsyncIterator[Fleet]:
    """Discord, engines and a database; nobody sits anywhere, and no process runs."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(postgres())
        discord = await stack.enter_async_context(LoopbackDiscord(shards=shards))
        servers = [await stack.enter_async_context(StandInServer(mode="echo")) for _ in range(engines)]
        made = Fleet(discord, servers, database, folder)
        made.populate(guilds)
        try:
            yield made
        finally:
            for process in made.processes.values():
                process.kill()
                await process.wait()
