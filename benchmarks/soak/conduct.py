"""The soak itself: two calls, in rounds. In each round both are measured while nothing goes wrong, and then there is trouble.

A round's troubles: members come and go while people speak (each change is a new epoch of keys), 5 % of the packets to and from the bot are
lost, the bot loses a voice socket, an engine is reset, crashes or is away for some seconds, whoever was in a call is replaced by somebody
else, and in every third round a call ends and another one begins. After the first round, in the middle and at the end everybody leaves, and
what the bot still holds is counted.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import math
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bot import Usage, cpu_percent
from benchmarks.latency import middle
from benchmarks.probe import speech_with_clicks
from benchmarks.soak.census import Holdings, holdings
from benchmarks.soak.judge import CALLS, Findings, Latency, Round, surplus
from benchmarks.stage import Stage, Talk
from benchmarks.timing import Way, ways_down, ways_up
from discordplex.audio.format import ENGINE
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.person.timeline import PlacedPacket
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.voice.messages import is_resumable
from discordplex.loopback.discord.world.model import Channel, User
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import PromptsLoading
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.tasks import cancel_and_wait

CENSUS = "benchmarks.soak.census"
ENGINES = 3
"""One more than calls: a call whose engine is away goes on with the spare one."""

LOSS = Impairments(loss=0.05, seed=1)
BACK_WITHIN_S = 60.0
"""How long a call may take to be heard again after any trouble: an engine that refuses is tried again after 1 to 15 s."""
STEADY_S = 2.0
"""A call is back once it has been heard without interruption for so long."""
CALM_AFTER_S = 5.0
"""After troubles, before anything is measured: by then no delay of theirs may be left."""
AWAY_S = 3.0
WINDOW_S = 2.0
WINDOW_CLICKS = 3
"""So many clicks in a window make a median; the engine's come every 400 ms."""
LEAVE_WITHIN_S = 15.0
KEPT_ALIVE_S = 35.0
"""aiohttp keeps a connection that nobody uses for 15 s, and looks every 15 s; before it is used for the last time, some seconds pass."""
KEPT_PROBES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes."""

    rounds: int
    round_s: float

    @classmethod
    def of(cls, minutes: float, rounds: int | None = None) -> "Plan":
        """Rounds of a minute, unless `rounds` says how many; at least four of them, shorter ones in a short soak."""
        rounds = rounds or max(4, round(minutes))
        return cls(rounds, minutes * 60 / rounds)

    @property
    def rests_after(self) -> set[int]:
        """The rounds after which everybody leaves."""
        return {0, self.rounds // 2, self.rounds - 1}

    @property
    def settle_s(self) -> float:
        """How long the bot may take to let go of what belonged to the calls."""
        return min(KEPT_ALIVE_S, self.round_s)


@dataclass
class Room:
    """A voice channel with a call: who takes turns in it, who is in it, and which engine answered them last."""

    number: int
    channel: Channel
    people: "itertools.cycle[User]"
    host: Person | None = None
    engine: StandInServer | None = None
    exits: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def present(self) -> Person:
        """Who is in the call."""
        if self.host is None:
            raise RuntimeError("nobody is in this call")
        return self.host


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one person said with clicks, and what they had said before."""

    room: Room
    packets: list[PlacedPacket]
    clicked: list[int]
    began_s: float
    ended_s: float

    def within(self, ways: Sequence[Way]) -> list[Way]:
        """Those that were under way while this was said; what the other call's person says later is none of these."""
        return [way for way in ways if self.began_s <= way.left and way.left + way.took_ms / 1000 <= self.ended_s]


Trouble = Callable[["Soak", Room], Awaitable[None]]


def socket_lost(code: int | None) -> Trouble:
    """The bot loses its voice socket in a room, with a close code or by a TCP reset."""

    async def lose(soak: "Soak", room: Room) -> None:
        sessions = soak.stage.discord.voice.sessions
        bot = next((each for each in sessions.call(room.channel.id) if each.user_id == soak.stage.bot_id), None)
        if bot is None or bot.connection is None:
            return
        if code is None:
            bot.connection.reset()
            return
        bot.connection.close(code)
        if not is_resumable(code):
            sessions.revoke(bot, code)

    return lose


async def engine_reset(_: "Soak", room: Room) -> None:
    """The TCP connection of the engine is reset, and it takes the next one."""
    if room.engine is not None:
        room.engine.reset()


async def engine_crashed(_: "Soak", room: Room) -> None:
    """The engine's audio loop fails: a clean close, and it takes the next connection."""
    if room.engine is not None:
        room.engine.crash()


async def engine_restarted(_: "Soak", room: Room) -> None:
    """The engine's process is killed, and another one listens some seconds later."""
    if room.engine is not None:
        await room.engine.stop_listening()
        room.engine.reset()
        await asyncio.sleep(AWAY_S)
        await room.engine.listen_again()


SOCKET_TROUBLES: Sequence[tuple[str, Trouble]] = (
    ("4015", socket_lost(4015)),
    ("TCP reset", socket_lost(None)),
    ("4006", socket_lost(4006)),
)
ENGINE_TROUBLES: Sequence[tuple[str, Trouble]] = (
    ("engine reset", engine_reset),
    ("engine restarted", engine_restarted),
    ("engine crashed", engine_crashed),
)


class Soak:
    """One soak: `run` it once."""

    def __init__(self, plan: Plan, *, bot: str = CENSUS, tell: Callable[[str], None] = lambda _: None) -> None:
        """`bot` is the module that is the bot; `tell` is given a line for each round."""
        self.plan = plan
        self.found = Findings()
        self.stage = Stage(program=("-m", bot), engines=ENGINES, guilds=CALLS, faults=Faults(natural_spacing=True))
        self.rooms: list[Room] = []
        self._speech = speech_with_clicks(plan.round_s / 6)  # made once: that takes long enough to make the engines late
        self._tell = tell
        self._usages: list[Usage] = []
        self._began = 0.0

    async def run(self) -> Findings:
        """Run every round; what is found is also complete up to the moment of an exception."""
        async with self.stage as stage, contextlib.AsyncExitStack() as exits:
            await stage.wait_online()
            self._began = time.perf_counter()
            self.rooms = [Room(number, stage.rooms[number], itertools.cycle(self._people(number))) for number in range(CALLS)]
            for room in self.rooms:
                exits.push_async_callback(self._leave, room)
            sampling = asyncio.create_task(self._sample())
            exits.push_async_callback(cancel_and_wait, sampling)
            for number in range(self.plan.rounds):
                await self._round(number)
                if number in self.plan.rests_after:
                    await self._rest()
            self.found.errors = errors_in(stage.bot.folder / "bot.log")
        return self.found

    def _people(self, number: int) -> list[User]:
        """Three people for each room: two take turns, all three are members of its guild."""
        world, guild_id = self.stage.discord.world, self.stage.rooms[number].guild_id
        people = self.stage.discord.people[number::CALLS][:2]
        guest = world.add_user(f"Guest {number}", bot=False)
        world.add_member(guild_id, guest.id)
        return [*people, guest]

    async def _round(self, number: int) -> None:
        """Calm and measured first, then troubles, until both calls are back."""
        begun = time.perf_counter()
        found = Round(number, begun - self._began)
        self.found.rounds.append(found)
        for room in self.rooms:
            if room.host is None:
                await self._enter(room)
        await self._until_back(found)
        await asyncio.sleep(min(CALM_AFTER_S, self.plan.round_s / 6))
        await self._measure(found)
        async with self._speaking():
            await self._trouble(found, until=begun + self.plan.round_s)
        if number % 3 == 2:
            found.troubles.append("call ended")
            await self._leave(self.rooms[number % CALLS])
        else:
            await self._until_back(found)
        self._trim()
        self._tell(line_of(found))

    async def _measure(self, found: Round) -> None:
        """Each person in turn says something with clicks, while the other listens."""
        first = len(self._usages)
        stretches = [await self._say(room) for room in self.rooms]
        usages = self._usages[first:]
        if len(usages) > 1:
            found.resident_mib = statistics.median(usage.resident_mib for usage in usages)
            found.cpu_percent = cpu_percent(usages[0], usages[-1])
        found.latencies = [self._latency(stretch) for stretch in stretches]

    async def _say(self, room: Room) -> Stretch:
        speech, clicked = self._speech
        before, began_s = len(room.present.said.packets()), time.perf_counter()
        await room.present.say(speech)
        await asyncio.sleep(0.3)
        return Stretch(room, room.present.said.packets()[before:], clicked, began_s, time.perf_counter())

    def _latency(self, stretch: Stretch) -> Latency:
        """Both ways of the conversation in which this person's clicks arrived."""
        ways: list[Way] = []
        down: list[Way] = []
        for talk in self._conversations(stretch.room.present):
            found = stretch.within(ways_up(talk, stretch.packets, stretch.clicked))
            if len(found) > len(ways):
                ways, stretch.room.engine = found, talk.engine
                down = stretch.within(ways_down(talk, self.stage.bot_id))
        return Latency(calmest(ways), calmest(down))

    def _conversations(self, person: Person) -> list[Talk]:
        """The newest conversations of all engines: the probes were made in the order in which the prompts were loaded."""
        loaded = [(record, engine) for engine in self.stage.engines for record in engine.log.of(PromptsLoading)]
        loaded.sort(key=lambda pair: pair[0].at)
        newest = zip(reversed(loaded), reversed(self.stage.probes), strict=False)
        return [Talk(person, engine, record.client, probe) for (record, engine), probe in newest]

    async def _trouble(self, found: Round, *, until: float) -> None:
        """Everything that goes wrong in one round; each kind happens to the one call and then to the other."""
        relay, bot = self.stage.discord.voice.relay, self.stage.bot_id
        relay.impair(bot, uplink=LOSS, downlink=LOSS)
        for room in self.rooms:
            await self._replace(room)
        number = found.number
        for (name, trouble), room in (
            (SOCKET_TROUBLES[number % len(SOCKET_TROUBLES)], self.rooms[number % CALLS]),
            (ENGINE_TROUBLES[number % len(ENGINE_TROUBLES)], self.rooms[(number // CALLS) % CALLS]),
        ):
            found.troubles.append(name)
            await asyncio.sleep(max(0.0, (until - time.perf_counter()) / 3))
            await trouble(self, room)
        await asyncio.sleep(max(0.0, until - time.perf_counter()))
        relay.impair(bot)

    async def _replace(self, room: Room) -> None:
        """Somebody else comes and speaks; then who was there leaves."""
        before, exits = room.present, room.exits
        room.exits = contextlib.AsyncExitStack()
        await self._enter(room)
        await room.present.say(self._speech[0][: ENGINE.bytes_of_ms(1000)])
        before.stop_speaking()
        await exits.aclose()

    async def _enter(self, room: Room) -> None:
        room.host = await room.exits.enter_async_context(
            Person(self.stage.discord, next(room.people), room.channel.id, e2ee="libdave"),
        )

    async def _leave(self, room: Room) -> None:
        """Everybody leaves a room, and then the bot must."""
        exits, room.exits, room.host = room.exits, contextlib.AsyncExitStack(), None
        await exits.aclose()
        try:
            await self.stage.discord.wait_for(lambda: self.stage.alone(room.number), timeout_s=LEAVE_WITHIN_S)
        except TimeoutError:
            self.found.failures.append(f"The bot was still in call {room.number + 1} {LEAVE_WITHIN_S:.0f} s after everybody had left.")

    @contextlib.asynccontextmanager
    async def _speaking(self) -> AsyncIterator[None]:
        """Whoever is in a room speaks all the time."""
        tasks = [asyncio.create_task(self._chatter(room)) for room in self.rooms]
        try:
            yield
        finally:
            await cancel_and_wait(*tasks)
            for room in self.rooms:
                room.present.stop_speaking()

    async def _chatter(self, room: Room) -> None:
        while True:
            await room.present.say(self._speech[0])

    async def _until_back(self, found: Round) -> None:
        """Wait until each person has heard the engine for a while; a sentence where one never does."""
        deadline = time.perf_counter() + BACK_WITHIN_S
        for room in self.rooms:
            while time.perf_counter() < deadline and not heard_steadily(room.present, self.stage.bot_id):  # noqa: ASYNC110
                # A bot that has fallen silent tells nobody.
                await asyncio.sleep(0.1)
            if time.perf_counter() >= deadline:
                after = ", ".join(found.troubles) or "everybody had entered"
                self.found.failures.append(
                    f"Round {found.number + 1}: call {room.number + 1} was not heard again within {BACK_WITHIN_S:.0f} s after {after}."
                )

    async def _rest(self) -> None:
        """Everybody leaves; what the bot holds once it has let go of everything, or once it has had its time to."""
        for room in self.rooms:
            await self._leave(room)
        deadline = time.perf_counter() + self.plan.settle_s
        while True:
            await asyncio.sleep(min(2.0, max(0.0, deadline - time.perf_counter())))
            held = await self._holdings()
            settled = self.found.rests and not list(surplus(self.found.rests[0], held))
            if settled or time.perf_counter() >= deadline:
                self.found.rests.append(held)
                return

    async def _holdings(self) -> Holdings:
        return await holdings(self.stage.bot.pid, self.stage.bot.folder)

    async def _sample(self) -> None:
        """The bot's use of the machine, once in a second."""
        while True:
            self._usages.append(self.stage.bot.usage())
            await asyncio.sleep(1.0)

    def _trim(self) -> None:
        """Drop what nobody will ask for: an hour of it would fill the memory of this process."""
        del self.stage.probes[:-KEPT_PROBES]
        del self._usages[:-60]
        gc.collect()  # the stage collects nothing by itself


def heard_steadily(person: Person, bot_id: str) -> bool:
    """Whether the person has heard the bot for `STEADY_S`, until now."""
    now = time.perf_counter()
    audible = [
        packet.at
        for track in person.heard.tracks(bot_id)
        for packet in track.newest(int(2 * STEADY_S * ENGINE.frames_per_second))
        if packet.audible and packet.at > now - STEADY_S
    ]
    return len(audible) > 0.8 * STEADY_S * ENGINE.frames_per_second


def calmest(ways: Sequence[Way]) -> float:
    """The lowest median of two seconds: a delay that stays is in every two seconds, a late machine is not."""
    windows: dict[int, list[float]] = {}
    for way in ways:
        windows.setdefault(int((way.left - ways[0].left) // WINDOW_S), []).append(way.took_ms)
    return min((middle(window) for window in windows.values() if len(window) >= WINDOW_CLICKS), default=math.nan)


def errors_in(log: Path) -> list[str]:
    """The events of the bot's log lines of level error, and lines that are no JSON, which it never writes."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            found.append(line)
            continue
        if event.get("level") in ("error", "critical"):
            found.append(str(event.get("event")))
    return found


def line_of(found: Round) -> str:
    """One round in one line."""
    ways = "  ".join(f"call {number + 1}: up {way.up_ms:5.1f} down {way.down_ms:5.1f} ms" for number, way in enumerate(found.latencies))
    return f"{found.began_s / 60:5.1f} min  {found.resident_mib:6.1f} MiB  {found.cpu_percent:4.1f} %  {ways}  {', '.join(found.troubles)}"
