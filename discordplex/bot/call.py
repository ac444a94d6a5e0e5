"""Call: one guild's call. Joins the channel, runs the conversation, tells what happens, takes everything down in the right order."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import discord
import structlog

from discordplex.audio.sink import Sink
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bot import replies
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.outcome import Outcome
from discordplex.bot.rooms import Room
from discordplex.bridge.events import CallEvent, Caption, Ended, EngineBack, EngineLost, Listening, Opening, Trouble
from discordplex.bridge.session import VoiceSession
from discordplex.clock import Clock
from discordplex.engine import EngineLease, Persona
from discordplex.errors import VoiceError
from discordplex.metrics import Metrics
from discordplex.voice.client import VoiceConnection
from discordplex.voice.incidents import Lost, Moved
from discordplex.voice.upkeep import REMOVED
from discordplex.voice.wire import Wire

log = structlog.get_logger()

JOIN_TIMEOUT_S = 15.0
"""Where Discord does not want us it stays silent. A join takes 0.3 s when all is well, and some seconds when Discord is slow."""

ENGINE_CLOSE_S = 1.5
"""An engine that does not say goodbye within this time does not keep us in the channel."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """What every call of a bot shares."""

    notices: Noticeboard
    persona: Persona
    wire: Wire
    clock: Clock
    metrics: Metrics


AS_ASKED = Outcome(None)


class Call:
    """One call. `run` is its whole life; everything else may be used meanwhile. Thread: loop."""

    def __init__(
        self, *, context: CallContext, room: Room, lease: EngineLease, number: int, quiet: bool, moved: Callable[[int], None]
    ) -> None:
        """`number` differs for each call; `quiet` says hello only once it works; `moved` hears of the channel Discord moved us to."""
        self.room = room
        self.phase = "joining"
        self.since = context.clock.now()
        self.engine = lease.name
        self.persona = context.persona
        self._context = context
        self._lease = lease
        self._number = number
        self._quiet = quiet
        self._moved = moved
        self._link: VoiceConnection | None = None
        self._sink = Sink(clock=context.clock, metrics=context.metrics)
        self._source = StreamingPlaybackSource(clock=context.clock, metrics=context.metrics)
        self._work: asyncio.Task[Outcome] | None = None
        self._listening_since: float | None = None
        self._hung_up = False
        self._lost: Outcome | None = None
        self._engine_fault: str | None = None
        self._engine_episode = 0
        self._joined: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def joined(self) -> str | None:
        """Return once it is known whether we got into the channel: None where we did, else why not."""
        return await asyncio.shield(self._joined)

    def hang_up(self) -> None:
        """End the call as asked. A second time does nothing."""
        self._hung_up = True
        if self._work:
            self._work.cancel()

    async def run(self) -> Outcome:
        """Join, talk, leave; the failure, if any, has been told in the channel when this returns."""
        log.info("call begins", **self._ids)
        self._work = asyncio.create_task(self._talk(), name=f"call:{self.room.place.guild_id}")
        if self._hung_up:
            self._work.cancel()
        try:
            await asyncio.wait({self._work})
        finally:
            outcome = await self._take_down(self._work)
        log.info("call ended", reason=outcome.reason, **self._ids)
        if outcome.reason and self._joined.result() is None:
            self._tell_engine(replies.gave_up(outcome.reason))
        elif outcome.reason:
            self._context.notices.say_once(self.room, replies.could_not_join(self.room.place.channel_id, outcome.reason))
        return outcome

    async def follow(self, room: Room) -> None:
        """Go with the people into another channel of the guild."""
        self.room = room
        await room.move_voice_here()

    @property
    def _ids(self) -> dict[str, Any]:
        return {"guild": self.room.place.guild_id, "channel": self.room.place.channel_id, "engine": self.engine, "call": self._number}

    async def _talk(self) -> Outcome:
        refused = await self._join()
        self._joined.set_result(refused)
        if refused or self._link is None:
            return Outcome(refused)
        return await self._converse(self._link)

    async def _join(self) -> str | None:
        """Enter the channel; why not, where that failed."""
        shared = self._context
        make = functools.partial(
            VoiceConnection,
            wire=shared.wire,
            sink=self._sink,
            source=self._source,
            metrics=shared.metrics,
            clock=shared.clock,
            on_event=self._on_voice_event,
        )
        try:
            self._link = await self.room.connect(make, timeout_s=JOIN_TIMEOUT_S)
        except VoiceError as refusal:
            log.warning("join refused", cause=str(refusal), code=refusal.code, **self._ids)
            return str(refusal)
        except asyncio.TimeoutError:
            log.warning("join timed out", timeout_s=JOIN_TIMEOUT_S, **self._ids)
            return replies.NOT_LET_IN
        except (discord.DiscordException, aiohttp.ClientError, OSError) as fault:
            log.warning("join failed", cause=type(fault).__name__, detail=str(fault), **self._ids)
            return replies.NO_VOICE_ROOM
        return None

    async def _converse(self, link: VoiceConnection) -> Outcome:
        self.phase = "waiting for the engine"
        if not self._quiet:
            self._hello(replies.hello)
        ended: list[str | None] = []

        def on_event(event: CallEvent) -> None:
            if isinstance(event, Ended):
                ended.append(event.reason)
            else:
                self._on_call_event(event)

        shared = self._context
        session = VoiceSession(
            lease=self._lease,
            persona=shared.persona,
            sink=self._sink,
            source=self._source,
            link=link,
            on_event=on_event,
            clock=shared.clock,
            metrics=shared.metrics,
        )
        await session.run()
        return Outcome(ended[0] if ended else None)

    async def _take_down(self, work: asyncio.Task[Outcome]) -> Outcome:
        """The conversation first, for its last captions; then the voice channel, whether or not the engine has said goodbye."""
        work.cancel()
        await asyncio.wait({work}, timeout=ENGINE_CLOSE_S)
        if self._link:
            await self._link.disconnect(force=True)
        await asyncio.wait({work})
        self._sink.close()
        self._source.close()
        if not self._joined.done():
            self._joined.set_result(replies.LEFT if self._hung_up else replies.NOT_LET_IN)
        heard_s = 0.0 if self._listening_since is None else self._context.clock.now() - self._listening_since
        return replace(self._outcome_of(work), listened_s=heard_s)

    def _outcome_of(self, work: asyncio.Task[Outcome]) -> Outcome:
        if self._lost:
            return self._lost
        if work.cancelled():
            return AS_ASKED
        fault = work.exception()
        if fault:
            log.error("call failed", exc_info=fault, **self._ids)
            return Outcome(replies.INTERNAL)
        return AS_ASKED if self._hung_up else work.result()

    def _on_voice_event(self, event: object) -> None:
        if isinstance(event, Lost):
            log.warning("voice lost", reason=event.reason, code=event.code, final=event.final, **self._ids)
            if event.final and self._work:
                self._lost = Outcome(event.reason, retry=not event.reason.lower().startswith(REMOVED.sentence))
                self._work.cancel()
        elif isinstance(event, Moved):
            self._moved(event.channel_id)

    def _on_call_event(self, event: CallEvent) -> None:
        if isinstance(event, Caption):
            self._context.notices.caption(self.room, (self._number, event.key), event.text, final=event.final)
        elif isinstance(event, Trouble):
            log.warning("trouble in a call", detail=event.message, **self._ids)
            self._context.notices.say_once(self.room, replies.trouble(event.message))
        elif isinstance(event, Opening):
            self.phase = "waiting for the engine"
        elif isinstance(event, Listening):
            self._on_listening()
        elif isinstance(event, EngineLost):
            self.phase = "waiting for the engine"
            self._engine_fault = event.reason
            self._tell_engine(replies.engine_lost(event.reason))
        elif isinstance(event, EngineBack):
            self._on_engine_back()

    def _on_listening(self) -> None:
        self.phase = "listening"
        self._listening_since = self._context.clock.now()
        self._context.notices.forget(self.room.place)
        self._hello(replies.listening)
        if self._engine_fault:
            self._on_engine_back()

    def _on_engine_back(self) -> None:
        self.phase = "listening"
        if self._engine_fault:
            self._tell_engine(replies.engine_back(self._engine_fault))
        self._engine_fault = None
        self._engine_episode += 1

    def _hello(self, sentence: Callable[[int, Persona, str], str]) -> None:
        text = sentence(self.room.place.channel_id, self._context.persona, self.engine)
        self._context.notices.say(self.room, text, key=(self._number, "hello"))

    def _tell_engine(self, text: str) -> None:
        """One message for each time the engine is away, changed in place."""
        self._context.notices.say_once(self.room, text, key=(self._number, "engine", self._engine_episode))
