"""A bot on the loopback Discord whose voice is ours, and simple ends for its sound."""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import discord
import numpy as np

from discordplex.audio.format import DISCORD
from discordplex.clock import SystemClock
from discordplex.loopback.discord.model import Channel, User
from discordplex.loopback.discord.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.metrics import Metrics
from discordplex.voice.client import ConnectionEvent, VoiceConnection
from discordplex.voice.wire import Wire


class Ear:
    """A sink that remembers who said how much."""

    def __init__(self, on_write: Callable[[], object] = lambda: None) -> None:
        self.pcm: dict[int, bytearray] = {}
        self._on_write = on_write

    def write(self, data: bytes, user: int, /) -> None:
        self.pcm.setdefault(user, bytearray()).extend(data)
        self._on_write()

    def frames(self, user_id: int | str) -> int:
        return len(self.pcm.get(int(user_id), b"")) // DISCORD.frame_bytes


class Mouth:
    """A source that says what it is given, and silence for ever after."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()

    def say(self, pcm: bytes) -> None:
        self.frames.extend(pcm[at : at + DISCORD.frame_bytes] for at in range(0, len(pcm), DISCORD.frame_bytes))

    def read(self) -> bytes:
        return self.frames.popleft() if self.frames else DISCORD.silence


def tone(seconds: float, *, channels: int = 2, pitch_hz: float = 440.0) -> bytes:
    """A sine at 48 kHz."""
    moments = np.arange(int(seconds * DISCORD.rate_hz)) / DISCORD.rate_hz
    samples = (np.sin(2 * np.pi * pitch_hz * moments) * 10_000).astype("<i2")
    return bytes(np.repeat(samples, channels).tobytes())


@dataclass
class Booth:
    """One bot with its voice connection, and everything that it was told."""

    loopback: LoopbackDiscord
    bot: discord.Bot
    wire: Wire
    metrics: Metrics
    mouth: Mouth = field(default_factory=Mouth)
    events: list[ConnectionEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        self.ear = Ear(lambda: loop.call_soon_threadsafe(self._news.set))

    @property
    def lounge(self) -> Channel:
        return self.loopback.guilds[0].voice_channels[0]

    @property
    def study(self) -> Channel:
        return self.loopback.guilds[0].voice_channels[1]

    @property
    def ada(self) -> User:
        return self.loopback.people[0]

    @property
    def bot_id(self) -> str:
        return self.loopback.bots[0].id

    def person(self, number: int = 0, channel: Channel | None = None) -> Person:
        return Person(self.loopback, self.loopback.people[number], (channel or self.lounge).id)

    def counted(self, name: str) -> int:
        return self.metrics.counter(f"voice.{name}").value

    async def connect(self, channel: Channel | None = None, *, timeout_s: float = 10.0) -> VoiceConnection:
        place = self.bot.get_channel(int((channel or self.lounge).id))
        assert isinstance(place, discord.VoiceChannel)
        made = functools.partial(
            VoiceConnection,
            wire=self.wire,
            sink=self.ear,
            source=self.mouth,
            metrics=self.metrics,
            clock=SystemClock(),
            on_event=self._hear,
        )
        link = await place.connect(cls=made, timeout=timeout_s)
        assert isinstance(link, VoiceConnection)
        return link

    def _hear(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Return once it holds; looked at after each event and each frame heard."""

        async def look() -> None:
            while not condition():
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(look(), timeout_s)

    def left_nothing(self) -> bool:
        """Whether py-cord and Discord both know that the bot is in no voice channel."""
        return not self.bot.voice_clients and self.loopback.voice_state(self.bot_id) is None
