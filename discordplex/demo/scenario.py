"""The demo's call: a loopback Discord, a simulated person, the real bot and an engine; `play` runs it and returns what happened."""

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import tempfile
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from discordplex.audio.format import ENGINE
from discordplex.cascade.provider import CascadeProvider
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.config.sources import PREFIX
from discordplex.demo.chat import ChatLog
from discordplex.demo.child import BotProcess, bot_environment, trust
from discordplex.demo.clip import SpokenClip
from discordplex.demo.live import Display
from discordplex.demo.recording import Recording, Span, paired, spans
from discordplex.demo.timeline import TimelineEntry
from discordplex.errors import ConfigError, DiscordplexError
from discordplex.hearing.provider import Hearing
from discordplex.installing import pip_extra
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Fact, Noted
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.openai.server import API_KEY, Hears, StandInOpenAI, in_turn, length_as_words
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import MODES, Mode
from discordplex.tasks import cancel_and_wait

CASCADE = "cascade"
REALTIME = "realtime"

STANDIN_NAME = "the {} stand-in on this machine"
"""How people in the call are told who answers."""

ROLES: Mapping[Mode, str] = {
    "parrot": "You are a parrot without AI: you repeat what you heard, and write for how long you heard it.",
    "echo": "You are an echo: every sound comes back at once.",
    "talker": "You talk by yourself and answer nobody.",
}
START_WITHIN_S = 30.0
LISTEN_WITHIN_S = 90.0
"""A real server takes up to a minute to load the prompts."""
LEAVE_WITHIN_S = 10.0
ANSWER_WITHIN_S = 6.0
"""After the last word; a model that has not answered by then will not."""
QUIET_S = 1.2
"""A silence of this length ends an answer."""
LONGEST_ANSWER_S = 30.0
BETWEEN_S = 3.0
"""Silence before the person speaks again, where the call is to last longer than the speech."""
LOOK_S = 0.05
PROMPT_STEP_MS = 20.0
"""Of stand-ins between which a call is handed over: it takes them two seconds to be ready. A real server takes 4 to 9 s."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PlayedHandover:
    """The call went on in another conversation with its engine."""

    at_s: float
    in_place: bool
    """Whether nobody was heard meanwhile."""
    unheard_s: float


@dataclass(frozen=True, slots=True)
class PlayedCall:
    """Everything that was recorded of a call."""

    person: str
    bot: str
    channel: str
    recording: Recording
    lines: Sequence[TimelineEntry]
    said_sequences: Sequence[int]
    """RTP sequence numbers of the person's packets."""
    heard_sequences: Sequence[int]
    """RTP sequence numbers of the bot's packets that reached the person."""
    started_s: float
    """From the start of the bot's process until it was online."""
    listened_s: float
    """From the person's entry until the bot said that it listens."""
    exit_code: int
    bot_report: Mapping[str, Any]
    stats: Sequence[tuple[float, Mapping[str, Any]]]
    """The bot's statistics during the conversation, with the clock time at which each came."""
    handovers: Sequence["PlayedHandover"] = ()
    encrypted: bool = False
    """Whether the person and the bot spoke through end-to-end encryption, to the end."""


async def play(
    engine: str, speech: SpokenClip, seconds: float | None, show: Display, memory_s: float | None = None, *, ears: bool = False
) -> PlayedCall:
    """Run a whole call; with `memory_s`, the model keeps no more than that; with `ears`, a stand-in writes down what the person says.

    Raises DiscordplexError with a sentence where any part of it fails; leaves nothing running.
    """
    async with contextlib.AsyncExitStack() as rooms:
        folder = Path(rooms.enter_context(tempfile.TemporaryDirectory(prefix="discordplex-demo-", ignore_cleanup_errors=True)))
        discord = await rooms.enter_async_context(LoopbackDiscord())
        show.step(f"A loopback Discord is at {discord.api_url}.")
        url, engine_settings = await open_engine(engine, speech, rooms, memory_s)
        show.step(f"The engine is at {url}.")
        if ears:
            server = await rooms.enter_async_context(StandInOpenAI(hears=hears(speech)))
            engine_settings |= settings_of_ears(server)
            speech = replace(speech, words=())  # what is shown is what was transcribed
        settings = {
            "DISCORDPLEX_DISCORD__TOKEN": discord.bots[0].token,
            "DISCORDPLEX_DISCORD__API_URL": f"{discord.api_url}/v10",
            "DISCORDPLEX_BOT__CAPTIONS_OF_PEOPLE": "true",
            "DISCORDPLEX_STORE__URL": "sqlite+aiosqlite:///demo.db",
            **engine_settings,
        }
        environ = bot_environment(os.environ, settings, trust(discord.ca_file, folder / "trusted.pem"))
        scene = Demo(discord, speech, seconds, show)
        bot = await rooms.enter_async_context(BotProcess(folder, environ, scene.take_event))
        return await scene.run(bot)


def hears(speech: SpokenClip) -> Hears:
    """What a stand-in understands of the speech."""
    return in_turn(speech.words) if speech.words else length_as_words


def settings_of_ears(server: StandInOpenAI) -> dict[str, str]:
    """The bot's settings for ears that use this server."""
    return {
        f"{PREFIX}HEARING__ENABLED": "true",
        f"{PREFIX}HEARING__NAME": STANDIN_NAME.format("transcription"),
        f"{PREFIX}CASCADE__BASE_URL": server.base_url,
        f"{PREFIX}CASCADE__API_KEY": server.api_key,
    }


async def open_engine(
    engine: str, speech: SpokenClip, rooms: contextlib.AsyncExitStack, memory_s: float | None = None
) -> tuple[str, dict[str, str]]:
    """The engine's address, and the bot's settings for it; starts a stand-in where `engine` names one, and two with `memory_s`."""
    mode = next((mode for mode in MODES if mode == engine), None)
    memory = {} if memory_s is None else {"PERSONAPLEX__MEMORY_S": str(memory_s)}
    if engine in (CASCADE, REALTIME):
        if engine == CASCADE:
            server = await rooms.enter_async_context(StandInOpenAI(hears=hears(speech)))
            url, told = server.base_url, {"CASCADE__BASE_URL": server.base_url, "CASCADE__API_KEY": server.api_key}
        else:
            realtime = await rooms.enter_async_context(RealtimeServer(hears=hears(speech)))
            url, told = realtime.url, {"REALTIME__URL": realtime.url, "REALTIME__API_KEY": API_KEY}
        told |= {"ENGINE__KIND": engine}
    elif mode is not None:
        servers = [StandInServer(mode)] if memory_s is None else [StandInServer(mode, prompt_step_ms=PROMPT_STEP_MS) for _ in range(2)]
        urls = [(await rooms.enter_async_context(server)).url for server in servers]
        url, told = " and ".join(urls), {"PERSONAPLEX__URLS": json.dumps(urls), "PERSONA__TEXT_PROMPT": ROLES[mode], **memory}
    else:
        return engine, {f"{PREFIX}{key}": value for key, value in {"PERSONAPLEX__URLS": json.dumps([engine]), **memory}.items()}
    told |= {"ENGINE__NAME": STANDIN_NAME.format(engine)}
    return url, {f"{PREFIX}{key}": value for key, value in told.items()}


def check_engine(engine: str, memory_s: float | None = None, *, ears: bool = False) -> None:
    """Raise ConfigError where the demo cannot use such an engine, or where it has no memory that fills or needs no ears."""
    if ears and engine in (CASCADE, REALTIME):
        raise ConfigError(f"--ears is for an engine that does not transcribe what people say; --engine {engine} does.")
    if ears:
        Hearing(CascadeConfig(), clock=SystemClock())  # the error says what is not installed
    if memory_s is not None and engine in (CASCADE, REALTIME):
        raise ConfigError(f"--memory is for PersonaPlex's protocol; --engine {engine} has no memory that fills.")
    if engine == CASCADE:
        CascadeProvider(CascadeConfig(), clock=SystemClock())  # the error says what is not installed
    elif engine == REALTIME:
        if importlib.util.find_spec("openai") is None:
            raise ConfigError(f"The stand-in realtime server needs a package that is not installed. Run: {pip_extra('cascade')}")
    elif engine not in MODES and not engine.startswith(("ws://", "wss://")):
        raise ConfigError(
            f"There is no engine {engine!r}; --engine takes parrot, echo, talker, cascade, realtime or a PersonaPlex URL (ws://...)."
        )


class Demo:
    """One call, from the bot's start to its end."""

    def __init__(self, discord: LoopbackDiscord, speech: SpokenClip, seconds: float | None, show: Display) -> None:
        self._discord, self._speech, self._seconds, self._show = discord, speech, seconds, show
        self._clock = SystemClock()
        self._guild = discord.guilds[0]
        self._channel = self._guild.voice_channels[0]
        self._bot, self._user = discord.bots[0], discord.people[0]
        self._chat = ChatLog(discord, self._channel, self._bot, self._user, show, words_known=bool(speech.words))
        self._online = asyncio.Event()
        self._stats: list[tuple[float, Mapping[str, Any]]] = []
        self._handovers: list[PlayedHandover] = []
        self._loop = asyncio.get_running_loop()
        self._said, self._said_from_s = b"", 0.0
        self._sentences: deque[tuple[Span, str]] = deque()

    def take_event(self, event: Mapping[str, Any]) -> None:
        """Handle a log line of the bot."""
        if event.get("event") == "call stats":
            self._stats.append((self._clock.now(), event))
            self._show.stats(event)
        elif event.get("event") == "person captioned":
            self._chat.said(event.get("began_s_ago"))
        elif event.get("event") == "call handed over":
            at_s = self._clock.now() - self._chat.origin_s
            self._handovers.append(PlayedHandover(at_s, bool(event.get("in_place")), float(event.get("unheard_s", 0))))
            self._show.step(f"{at_s:5.1f} s  The call goes on in another conversation with its engine.")

    async def run(self, bot: BotProcess) -> PlayedCall:
        """Run the call. The bot may not end before it is told to."""
        unsubscribe = self._discord.world.subscribe(self._hear)
        try:
            self._show.step("The bot is starting.")
            started = self._clock.now()
            await unless(bot, self._online.wait(), START_WITHIN_S, "The bot did not come online")
            online = self._clock.now()
            call, begun = await unless(bot, self._converse(), None, "")
            code, report = await bot.stop()  # it writes its last captions before it ends
            self._show.step("The bot has ended.")
        finally:
            unsubscribe()
        recording = call["recording"]
        return PlayedCall(
            **call,
            lines=[*self._spoken(recording), *self._chat.lines(spans(recording.bot))],
            started_s=online - started,
            exit_code=code,
            bot_report=report,
            stats=[one for one in self._stats if one[0] >= begun],
        )

    def _hear(self, fact: Fact) -> None:
        if isinstance(fact, Noted) and fact.what == "gateway online":
            self._online.set()
        self._chat.hear(fact)

    async def _converse(self) -> tuple[dict[str, Any], float]:
        """From the person's joining to the bot's leaving: the bot's report, and the clock time from which the bot listened."""
        origin = self._chat.origin_s = self._clock.now()
        person = Person(self._discord, self._user, self._channel.id, e2ee="libdave", on_sent=self._frame_said, on_heard=self._frame_heard)
        async with person:
            await self._chat.listening(LISTEN_WITHIN_S)
            listened_s = self._clock.now() - origin
            await person.wait_until_encrypted()
            begun = self._clock.now()
            await self._talk(person)
            encrypted = person.member is not None and person.member.version > 0
        await self._until_alone()
        end = self._clock.now()
        recording = paired(
            person.said.pcm(self._user.id, start_s=origin, end_s=end), person.heard.pcm(self._bot.id, start_s=origin, end_s=end)
        )
        call = {
            "person": self._user.name,
            "bot": self._bot.name,
            "channel": self._channel.name,
            "recording": recording,
            "said_sequences": [packet.sequence for packet in person.said.packets(self._user.id)],
            "heard_sequences": [packet.sequence for packet in person.heard.packets(self._bot.id)],
            "listened_s": listened_s,
            "handovers": self._handovers,
            "encrypted": encrypted,
        }
        return call, begun

    async def _until_alone(self) -> None:
        try:
            await self._discord.wait_for(lambda: self._discord.voice_state(self._bot) is None, timeout_s=LEAVE_WITHIN_S)
        except TimeoutError:
            raise DiscordplexError(f"The bot did not leave the empty channel within {LEAVE_WITHIN_S:.0f} s.") from None

    async def _talk(self, person: Person) -> None:
        """Say everything and listen to the answer; with a time given, for exactly that long."""
        pcm = script(self._speech, self._seconds)
        began = self._clock.now()
        self._said, self._said_from_s = pcm, began
        self._sentences = deque(zip(spans(pcm), itertools.cycle(self._speech.words), strict=False))
        await person.say(pcm)
        if self._seconds is not None:
            await self._clock.sleep_until(began + self._seconds)
        else:
            await self._until_answered()

    async def _until_answered(self) -> None:
        """Return once the bot has answered and is quiet, or when no answer comes."""
        turns, spoken = self._show.turns, self._clock.now()
        while (now := self._clock.now()) < spoken + LONGEST_ANSWER_S:
            answered = turns.bot.last_s > turns.person.last_s
            if answered and now - turns.bot.last_s > QUIET_S:
                return
            if not answered and now - spoken > ANSWER_WITHIN_S:
                return
            await self._clock.sleep_until(now + LOOK_S)

    def _frame_said(self, _index: int, at_s: float) -> None:
        """The person sent a frame. Not counted by its index, since frames of silence are not counted. Thread: media."""
        start = round((at_s - self._said_from_s) * ENGINE.frames_per_second) * ENGINE.frame_bytes
        self._show.turns.heard("person", self._said[start : start + ENGINE.frame_bytes], at_s)
        if self._sentences and at_s - self._said_from_s >= self._sentences[0][0].start_s:
            _, words = self._sentences.popleft()
            line = TimelineEntry("person", self._user.name, at_s - self._chat.origin_s, words)
            self._loop.call_soon_threadsafe(self._show.line, f"person {at_s}", line)

    def _frame_heard(self, user_id: str | None, pcm: bytes, at_s: float) -> None:
        """The person received a packet. Thread: media."""
        if user_id in (None, self._bot.id):
            self._show.turns.heard("bot", pcm, at_s)

    def _spoken(self, recording: Recording) -> list[TimelineEntry]:
        """The person's sentences where they were said; none where the words are unknown."""
        found, words = spans(recording.person), self._speech.words
        if not words:
            return []
        return [
            TimelineEntry("person", self._user.name, span.start_s, word) for span, word in zip(found, itertools.cycle(words), strict=False)
        ]


def script(speech: SpokenClip, seconds: float | None) -> bytes:
    """What to say: the speech once, or repeated for as long as was asked for."""
    if seconds is None:
        return speech.pcm
    wanted = ENGINE.bytes_of_ms(seconds * 1000)
    once = speech.pcm + ENGINE.silence * round(BETWEEN_S * ENGINE.frames_per_second)
    return (once * (wanted // len(once) + 1))[:wanted]


async def unless(bot: BotProcess, awaited: Awaitable[Found], timeout_s: float | None, failure: str) -> Found:
    """What `awaited` returns. Raises DiscordplexError where the bot ends first, or where it takes longer than `timeout_s`."""
    wanted, death = asyncio.ensure_future(awaited), asyncio.ensure_future(bot.died())
    try:
        await asyncio.wait({wanted, death}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return wanted.result()
        raise DiscordplexError(death.result() if death.done() else f"{failure} within {timeout_s:.0f} s. {bot.last_complaint()}".strip())
    finally:
        await cancel_and_wait(wanted, death)
