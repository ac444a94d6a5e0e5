"""A channel that keeps what is written into it, engines that are only counted, a voice channel whose people a test moves."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, cast

from discordplex.bot.call.call import CallContext
from discordplex.bot.chat.notices import Notices
from discordplex.bot.guild_rules import GuildRules, Preferences
from discordplex.bot.place import Place
from discordplex.config import Config
from discordplex.engine import NO_RECAP, EngineInfo, EngineLease, Persona, Recap, VoiceEngine
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from tests.bridge.scripted import PERSONA


@dataclass(eq=False)
class FakeMessage:
    """A message with every text it ever had."""

    channel: "FakeChannel"
    texts: list[str]
    deleted: bool = False
    view: Any = None
    id: int = 0
    meanwhile: Callable[[], None] = lambda: None
    """Happens while it is being edited."""

    @property
    def text(self) -> str:
        return self.texts[-1]

    async def edit(self, *, content: str, allowed_mentions: Any, **_flags: Any) -> None:
        self.meanwhile()
        self.channel.write("edit", allowed_mentions)
        self.texts.append(content)

    async def delete(self) -> None:
        self.channel.write("delete", self.channel.NO_MENTIONS)
        self.deleted = True


@dataclass(eq=False)
class FakeChannel:
    """A text channel that fails on demand and remembers when each write came."""

    clock: FakeClock
    id: int = 77
    messages: list[FakeMessage] = field(default_factory=list)
    writes: list[tuple[float, str]] = field(default_factory=list)
    faults: list[Exception | None] = field(default_factory=list)
    """What the next writes raise, in order; None lets one pass."""
    nonces: list[str] = field(default_factory=list)
    hidden_from: frozenset[int] = frozenset()
    """People who cannot see it."""
    names_people: bool = True
    """Whoever reads it sees who sits in the voice channel."""
    meanwhile: Callable[[], None] = lambda: None
    """Happens while a message is being sent."""
    left: FakeMessage | None = None
    """A message that an earlier process wrote."""

    NO_MENTIONS = None

    def write(self, kind: str, allowed_mentions: Any) -> None:
        assert kind == "delete" or allowed_mentions.to_dict() == {"parse": []}
        self.writes.append((self.clock.now(), kind))
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault

    async def send(self, content: str, *, allowed_mentions: Any, nonce: str, view: Any = None, **flags: bool) -> FakeMessage:
        assert flags == {"silent": True, "suppress_embeds": True, "enforce_nonce": True}
        assert content.strip(), "Discord refuses an empty message"
        assert len(content) < 2000
        self.nonces.append(nonce)
        self.meanwhile()
        self.write("send", allowed_mentions)
        message = FakeMessage(self, [content], view=view, id=self.next_id)
        self.messages.append(message)
        return message

    def get_partial_message(self, message_id: int) -> FakeMessage:
        assert self.left
        assert self.left.id == message_id
        return self.left

    @property
    def next_id(self) -> int:
        """What the next message will be known by."""
        return self.id * 1000 + len(self.messages)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages if not message.deleted]


COUNTED = EngineInfo("PersonaPlex", transcribes=False)
PAID = EngineInfo("OpenAI Realtime", transcribes=True, costs_money=True)


@dataclass(eq=False)
class CountedLease:
    """A place at an engine that does not exist."""

    name: str
    info: EngineInfo

    def open(self, persona: Persona, metrics: Metrics, recap: Recap = NO_RECAP) -> VoiceEngine:
        raise NotImplementedError

    def spare(self, lost: Callable[[], None]) -> None:
        raise NotImplementedError


class CountedEngines:
    """An EngineProvider of `capacity` engines that are only counted."""

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = capacity
        self.info = COUNTED
        self.held: list[EngineLease] = []
        self._numbers = itertools.count(1)
        self.refuses: str | None = None

    @property
    def free(self) -> int:
        return self.capacity - len(self.held)

    @property
    def working(self) -> int:
        return self.free

    @property
    def voices(self) -> Sequence[str]:
        return ()

    def check(self, voice: str, text_prompt: str) -> str | None:  # noqa: ARG002 -- the port's shape
        return self.refuses

    def acquire(self) -> EngineLease | None:
        if self.free < 1:
            return None
        lease = CountedLease(f"engine {next(self._numbers)}", self.info)
        self.held.append(lease)
        return lease

    def release(self, lease: EngineLease) -> None:
        if lease in self.held:
            self.held.remove(lease)


@dataclass(eq=False)
class ScriptedVoiceChannel:
    """A voice channel whose people a test moves."""

    place: Place
    captions_channel: FakeChannel | None
    people: frozenset[int] = frozenset()
    bots: frozenset[int] = frozenset()
    problem: str | None = None
    asked_to_move: int = 0
    moved: int = 0
    """How many of these times Discord has obeyed, where a test keeps count."""
    unwelcome: frozenset[int] = frozenset()
    """People whose roles do not let them call."""
    suppressed: bool = False
    asked_to_speak: int = 0
    may_set_status: bool = True
    readers_see_it: bool = True
    statuses: list[str | None] = field(default_factory=list)
    status_faults: list[Exception] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"Guild {self.place.guild_id} / Channel {self.place.channel_id}"

    @property
    def callers(self) -> frozenset[int]:
        return self.people - self.unwelcome

    @property
    def notices_channel(self) -> FakeChannel | None:
        return self.captions_channel

    async def ask_to_speak(self, *, take: bool) -> bool:
        del take
        self.asked_to_speak += 1
        return True

    async def set_status(self, text: str | None) -> None:
        if self.status_faults:
            raise self.status_faults.pop()
        self.statuses.append(text)

    async def open_thread(self) -> None:
        return None

    spare: FakeChannel | None = None

    @property
    def spare_channel(self) -> FakeChannel | None:
        return self.spare

    @property
    def server_channel(self) -> FakeChannel | None:
        return self.spare

    def name_of(self, user_id: int) -> str:
        return f"Person {user_id}"

    blind: frozenset[int] = frozenset()
    """People who see no channel but this one, and not its chat."""
    amnesic: frozenset[int] = frozenset()
    """People who cannot read what was written before they came."""
    chat: "FakeChannel | None" = None
    """Its own chat, where that is another channel than the one for captions."""

    def may_name_people(self, channel: "FakeChannel") -> bool:
        return channel.names_people

    def name_in(self, channel: "FakeChannel", user_id: int) -> str | None:
        return self.name_of(user_id) if channel.names_people and user_id not in self.blind else None

    @property
    def disclosure_channels(self) -> tuple[Any, ...]:
        return tuple(channel for channel in (self.captions_channel, self.chat) if channel)

    def viewers(self, channel: "FakeChannel") -> frozenset[int]:
        return self.people - self.blind - channel.hidden_from

    def readers(self, channel: "FakeChannel") -> frozenset[int]:
        return self.viewers(channel) - self.amnesic

    unwanted: str | None = None
    closed_to_us: str | None = None

    def obstacle(self) -> str | None:
        return self.unwanted or self.problem

    async def connect(self, make: Callable[..., Any], *, timeout_s: float) -> Any:
        raise NotImplementedError

    async def move_voice_here(self) -> None:
        self.asked_to_move += 1


class Notebook:
    """A memory that keeps its entries where a test sees them."""

    def __init__(self, *before: tuple[Place, int | None]) -> None:
        self.entries: dict[Place, int | None] = dict(before)

    async def load(self) -> Iterable[tuple[Place, int | None]]:
        return list(self.entries.items())

    def entered(self, place: Place, asker: int | None) -> None:
        self.entries.setdefault(place, asker)

    def returned(self, place: Place, asker: int | None, before: float | None) -> None:
        del before
        self.entries = {place: asker} | self.entries

    def moved(self, before: Place, after: Place) -> None:
        self.entries = {after if place == before else place: asker for place, asker in self.entries.items()}

    def left(self, place: Place) -> None:
        self.entries.pop(place, None)


class ConfiguredPreferences:
    """The configuration alone: the same for everybody, and nobody has opted out."""

    opted_out: AbstractSet[int] = frozenset()

    def __init__(self, config: Config) -> None:
        self._rules = GuildRules.configured(config.bot, config.limits)
        default = config.default_persona
        self._persona = Persona(voice=default.voice, text_prompt=default.text_prompt)

    async def learn(self, guild_id: int) -> None:
        """There is nothing to learn."""

    def knows(self, guild_id: int) -> bool:
        """Always."""
        del guild_id
        return True

    def rules(self, guild_id: int) -> GuildRules:
        """The same everywhere."""
        del guild_id
        return self._rules

    async def persona(self, guild_id: int, person_id: int | None) -> Persona:
        """The same for everybody."""
        del guild_id, person_id
        return self._persona


class NotedLink:
    """A voice connection that notes whom it is told to drop."""

    def __init__(self, *people: int) -> None:
        self.people = frozenset(people)
        self.ignored: frozenset[int] = frozenset()
        self.deaf = False

    def ignore(self, user_ids: Iterable[int]) -> None:
        self.ignored = frozenset(user_ids)

    def deafen(self, *, deaf: bool) -> None:
        self.deaf = deaf


def unconnected(preferences: Preferences, clock: FakeClock) -> CallContext:
    """The context of a call that connects to nothing."""
    return CallContext(
        notices=Notices(clock=clock, metrics=Metrics()),
        preferences=preferences,
        persona=PERSONA,
        send_thread=cast("Any", None),
        clock=clock,
        metrics=Metrics(),
    )
