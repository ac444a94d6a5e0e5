"""A bot on the loopback Discord whose voice is ours, and simple ends for its sound, with every Opus packet on record."""

import asyncio
import contextlib
import functools
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import discord
import numpy as np

from discordplex.audio.format import DISCORD, SAMPLE_BYTES
from discordplex.audio.opus import SILENCE_PACKET, OpusDecoder, OpusEncoder
from discordplex.clock import SystemClock
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.dave.delivery import Delivery
from discordplex.loopback.discord.world.model import Channel, User
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.voice.connection import ConnectionEvent, VoiceConnection
from discordplex.voice.rtp.encryption import MODES
from discordplex.voice.rtp.threads import SendThread
from tests.audio import signals
from tests.audio.signals import pcm

SOAK = "DISCORDPLEX_SOAK" in os.environ
"""`make soak`: calls as long as those of which docs/encryption.md tells, and ten times as many hostile messages."""

Library = Literal["libdave", "davey"]

NOW = threading.local()
"""What a media thread is about: the packet that it decoded last, the mouth whose frame it took last."""


class TappedDecoder(OpusDecoder):
    """Puts what came out of transport and end-to-end encryption on record: the packet for the write that follows."""

    def decode(self, packet: bytes) -> bytes:
        pcm = super().decode(packet)
        NOW.packet = packet
        return pcm

    def conceal(self, next_packet: bytes | None = None, samples: int = DISCORD.frame_samples) -> bytes:
        NOW.packet = None
        return super().conceal(next_packet, samples)


class TappedEncoder(OpusEncoder):
    """Puts what the bot sends on record, in the mouth whose frame it was."""

    def encode(self, pcm: bytes) -> bytes:
        packet = super().encode(pcm)
        mouth = getattr(NOW, "mouth", None)
        if mouth is not None and packet != SILENCE_PACKET:
            mouth.said.append(packet)
        return packet


class Ear:
    """A sink that remembers who said what: the sound, and per frame the Opus packet that it was, None for one that was filled in."""

    def __init__(self, on_write: Callable[[], object] = lambda: None) -> None:
        self.pcm: dict[int, bytearray] = {}
        self.opus: dict[int, list[bytes | None]] = {}
        self._on_write = on_write

    def write(self, data: bytes, user: int, /) -> None:
        self.pcm.setdefault(user, bytearray()).extend(data)
        packet = getattr(NOW, "packet", None)
        if packet != SILENCE_PACKET:
            self.opus.setdefault(user, []).append(packet)
        self._on_write()

    def heard(self, user_id: int | str) -> list[bytes | None]:
        """The Opus packets of somebody, silence left out."""
        return self.opus.get(int(user_id), [])

    def frames(self, user_id: int | str) -> int:
        return len(self.pcm.get(int(user_id), b"")) // DISCORD.frame_bytes


class Mouth:
    """A source that says what it is given, and `after` for ever after. `said` are the Opus packets that came of it."""

    channels = DISCORD.channels

    def __init__(self, after: bytes = DISCORD.silence) -> None:
        self.frames: deque[bytes] = deque()
        self.said: list[bytes] = []
        self._told = 0
        self._after = after

    @property
    def finished(self) -> bool:
        """Whether all of it has been encoded."""
        return len(self.said) == self._told

    def say(self, pcm: bytes) -> None:
        size = DISCORD.frame_samples * SAMPLE_BYTES * self.channels
        frames = [pcm[at : at + size] for at in range(0, len(pcm), size)]
        self._told += len(frames)
        self.frames.extend(frames)

    def read(self) -> bytes:
        NOW.mouth = self
        return self.frames.popleft() if self.frames else self._after


def tone(seconds: float, *, channels: int = 2, pitch_hz: float = 440.0) -> bytes:
    """A sine at 48 kHz."""
    return pcm(np.repeat(signals.tone(seconds, hz=pitch_hz, peak=10_000), channels))


def noise(frames: int, *, channels: int = 2, seed: int = 1) -> bytes:
    """Noise at 48 kHz: unlike a tone's, each of its Opus packets is like no other."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, frames * DISCORD.frame_samples).astype("<i2")
    return bytes(np.repeat(samples, channels).tobytes())


def difference(heard: Sequence[bytes | None], said: Sequence[bytes]) -> str:
    """What became of the packets that were said, in numbers and places."""
    lost = [place for place, packet in enumerate(said) if packet not in heard]
    foreign = sum(packet is not None and packet not in said for packet in heard)
    filled_in = sum(packet is None for packet in heard)
    return f"{len(heard)} heard, {len(said)} said, lost {lost}, {filled_in} filled in, {foreign} foreign"


class TappedConnection(VoiceConnection):
    """Tells its booth whatever a session tells it."""

    tell: Callable[[str], None]

    def session_live(self) -> None:
        super().session_live()
        self.tell("live")

    def person_left(self, user_id: int, /) -> None:
        super().person_left(user_id)
        self.tell("left")

    def people_listed(self) -> None:
        super().people_listed()
        self.tell("listed")


@dataclass
class Booth:
    """One bot with its voice connection, and everything that it was told."""

    loopback: LoopbackDiscord
    bot: discord.Bot
    send_thread: SendThread
    metrics: Metrics
    mouth: Mouth = field(default_factory=lambda: Mouth(after=b""))
    events: list[ConnectionEvent] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    """What its connection's sessions have told, counted."""

    def __post_init__(self) -> None:
        loop, self._changes = asyncio.get_running_loop(), Changes()
        self.ear = Ear(lambda: loop.call_soon_threadsafe(self._changes.tell))

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

    def person(self, number: int = 0, channel: Channel | None = None, *, e2ee: Library | None = None, mode: str = MODES[0]) -> Person:
        return Person(self.loopback, self.loopback.people[number], (channel or self.lounge).id, e2ee=e2ee, mode=mode)

    def delivery(self, channel: Channel | None = None) -> Delivery:
        """The encrypted call in a channel, as its server sees it."""
        found = self.loopback.voice.delivery((channel or self.lounge).id)
        assert found is not None
        return found

    async def settled(self, members: int, *people: Person, channel: Channel | None = None) -> None:
        """Everybody is in the group, every transition is executed, and these people have done so too."""
        delivery = self.delivery(channel)
        await self.loopback.wait_for(lambda: delivery.settled and len(delivery.group.members) == members)
        for person in people:
            await person.wait_until_encrypted()

    async def hears(self, *people: Person) -> None:
        """Wait until everything that these people have said, and nothing else, has come out of the encryption, in order and once."""
        for person in people:
            said = person.said.opus()
            with contextlib.suppress(asyncio.TimeoutError):
                await self.until(lambda: self.ear.heard(person.user.id) == said)  # noqa: B023 - awaited at once
            heard = self.ear.heard(person.user.id)
            assert heard == said, f"of {person.user.name}: {difference(heard, said)}"

    async def is_heard_by(self, *people: Person) -> None:
        """Wait until all that the bot had to say has reached these people, in order and once."""
        for person in people:
            with contextlib.suppress(TimeoutError):
                await person.wait_until(lambda: self.mouth.finished and person.heard.opus(self.bot_id) == self.mouth.said)  # noqa: B023
            heard = person.heard.opus(self.bot_id)
            assert heard == self.mouth.said, f"by {person.user.name}: {difference(heard, self.mouth.said)}"
            assert self.mouth.finished

    @property
    def restored(self) -> int:
        """How often audio flowed again, in the same session or in another."""
        return self.told["live"] - 1

    def counted(self, name: str) -> int:
        return self.metrics.counter(f"voice.{name}").value

    async def connect(self, channel: Channel | None = None, *, timeout_s: float = 10.0) -> VoiceConnection:
        place = self.bot.get_channel(int((channel or self.lounge).id))
        assert isinstance(place, discord.VoiceChannel)
        made = functools.partial(
            self._make,
            send_thread=self.send_thread,
            sink=self.ear,
            source=self.mouth,
            metrics=self.metrics,
            clock=SystemClock(),
            on_event=self._hear,
        )
        link = await place.connect(cls=made, timeout=timeout_s)
        assert isinstance(link, VoiceConnection)
        return link

    def _make(self, *args: Any, **services: Any) -> VoiceConnection:
        link = TappedConnection(*args, **services)
        link.tell = self._note
        return link

    def _note(self, what: str) -> None:
        self.told[what] += 1
        self._changes.tell()

    def _hear(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._changes.tell()

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Return once it holds; looked at after each event, each word of a session and each frame heard."""
        await self._changes.until(condition, timeout_s)

    def left_nothing(self) -> bool:
        """Whether py-cord and Discord both know that the bot is in no voice channel."""
        return not self.bot.voice_clients and self.loopback.voice_state(self.bot_id) is None
