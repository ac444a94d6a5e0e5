"""A town for the dispatcher's tests: guilds of scripted voice channels, scripted calls, and everything between them real."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from discordplex.bot.call.interface import Next, Outcome
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bot.scheduling.autojoin import Move
from discordplex.bot.scheduling.dispatcher import Dispatcher
from discordplex.bot.scheduling.registry import QueueMemory, SessionRegistry
from discordplex.bot.scheduling.usage import Usage
from discordplex.engine import EngineLease, EngineProvider, Persona
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.overview import CallOverview, VoiceOverview
from tests.bot.fakes import CountedEngines, FakeChannel, ScriptedVoiceChannel

A1, A2, B1, C1 = Place(1, 11), Place(1, 12), Place(2, 21), Place(3, 31)
ANNA, BERT, CARA = 100, 200, 300
PERSONA = Persona("NATF0.pt", "You are a test.")


@dataclass(eq=False)
class ScriptedCall:
    """A call that ends when and how a test says."""

    voice_channel: VoiceChannel
    engine: str
    quiet: bool
    since: float
    asker: int | None = None
    phase: str = "listening"
    paused: bool = False
    persona: Persona = PERSONA
    metrics: Metrics = field(default_factory=Metrics)
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Set to end the call."""
    close_gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Teardown lasts until this is set."""
    join_problem: str | None = None
    quiet_s: float = 0.0
    costs_money: bool = False
    open: bool = True
    """People are heard."""
    stricken: bool = False
    """Its engine is gone, and it would like another one."""
    statuses: list[str] = field(default_factory=list)
    after: Next = Next.DONE
    replaceable: bool = False
    replaced: list[str] = field(default_factory=list)
    """Why it was to continue with another engine."""
    returns: int = 0
    """How often it could have returned to the preferred kind of engine."""

    def __post_init__(self) -> None:
        self.close_gate.set()

    @property
    def billed(self) -> bool:
        return self.costs_money and self.open

    def overview(self, now: float, *, names: bool) -> CallOverview:
        place = self.voice_channel.title if names else ""
        return CallOverview(1, self.phase, self.engine, now - self.since, (), VoiceOverview(), self.metrics, place)

    renewing = False

    async def joined(self) -> str | None:
        return self.join_problem

    def hang_up(self, after: Next = Next.DONE) -> None:
        self.after = after
        if not self.outcome.done():
            self.outcome.set_result(Outcome(next=after))

    def reset(self) -> bool:
        return False

    async def run(self) -> Outcome:
        outcome = await self.outcome
        await self.close_gate.wait()
        return outcome if outcome.next is not Next.REQUEUE else Outcome(next=self.after)

    async def follow(self, voice_channel: VoiceChannel) -> None:
        self.voice_channel = voice_channel
        await voice_channel.move_voice_here()

    def rescue(self) -> bool:
        rescued, self.stricken = self.stricken, False
        return rescued

    def refresh(self) -> None:
        """Nothing depends on it here."""

    def replace_engine(self, reason: str) -> bool:
        self.replaced.append(reason)
        self.costs_money = self.costs_money and not self.replaceable
        return self.replaceable

    def return_to_preferred(self) -> None:
        self.returns += 1

    def show_status(self, text: str) -> None:
        if text not in self.statuses[-1:]:
            self.statuses.append(text)

    @property
    def recording_policy(self) -> RecordingPolicy:
        return RecordingPolicy(engine="PersonaPlex", transcribes=False)

    async def disclosed(self) -> bool:
        return True

    async def pause(self, name: str) -> None:
        self.paused = bool(name)

    async def resume(self, name: str) -> None:
        self.paused = not name

    def restart(self, persona: Persona) -> None:
        self.persona = persona


class Town:
    """Guilds of voice channels, the dispatcher above them, and every call that was ever made."""

    def __init__(
        self,
        clock: FakeClock,
        engines: CountedEngines,
        *,
        provider: EngineProvider | None = None,
        rules: GuildRules | None = None,
        places: Sequence[Place] = (A1, A2, B1, C1),
        memory: QueueMemory | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.clock = clock
        self.engines = engines
        self.voice_channels = {place: ScriptedVoiceChannel(place, FakeChannel(clock, id=place.channel_id)) for place in places}
        self.calls: list[ScriptedCall] = []
        self.notices = Notices(clock=clock, metrics=Metrics())
        self.refused: str | None = None
        self.away: set[int] = set()
        """Guilds whose gateway connection is being opened."""
        self.common_rules = rules or GuildRules()
        self.usage = usage or Usage(clock.now)
        self.board = Dispatcher(
            guilds=self, registry=SessionRegistry(provider or engines, memory), notices=self.notices, usage=self.usage, clock=clock
        )

    def voice_channel_at(self, place: Place) -> ScriptedVoiceChannel | None:
        return self.voice_channels.get(place)

    def is_away(self, guild_id: int) -> bool:
        return guild_id in self.away

    def rules(self, guild_id: int) -> GuildRules:  # noqa: ARG002 -- the same in every guild
        return self.common_rules

    def persona_refusal(self) -> str | None:
        return self.refused

    def new_call(self, voice_channel: VoiceChannel, lease: EngineLease, *, quiet: bool, asker: int | None) -> ScriptedCall:
        self.calls.append(ScriptedCall(voice_channel, lease.name, quiet, self.clock.now(), asker, costs_money=lease.info.costs_money))
        return self.calls[-1]

    def move(self, person: int, before: Place | None, after: Place | None) -> None:
        guild_id = (before or after or A1).guild_id
        if before:
            self.voice_channels[before].people -= {person}
        if after:
            self.voice_channels[after].people |= {person}
        people = {
            place.channel_id: voice_channel.people for place, voice_channel in self.voice_channels.items() if place.guild_id == guild_id
        }
        move = Move(person, before.channel_id if before else None, after.channel_id if after else None)
        self.board.person_moved(guild_id, move, people, closed=())

    def enter(self, people: Iterable[int], place: Place) -> None:
        """They come into a channel, one after the other."""
        for person in people:
            self.move(person, None, place)

    async def end(self, listened_s: float = 0.0, *, call: ScriptedCall | None = None) -> None:
        """The call that runs ends as asked, people having been heard for so long."""
        (call or next(call for call in self.calls if not call.outcome.done())).outcome.set_result(Outcome(listened_s=listened_s))
        await self.clock.advance(0)

    async def close(self) -> None:
        """Everything ends, and every engine is given back."""
        for call in self.calls:
            call.close_gate.set()
        await self.board.close()
        await self.notices.close()
        assert self.engines.held == []

    @property
    def live(self) -> list[Place]:
        """Where calls are now."""
        return [call.voice_channel.place for call in self.calls if not call.outcome.done()]

    def said(self, place: Place) -> list[str]:
        channel = self.voice_channels[place].captions_channel
        return channel.texts if channel else []
