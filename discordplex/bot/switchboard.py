"""Switchboard: from what people do to calls that begin, move, wait and end."""

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import structlog

from discordplex.bot import replies
from discordplex.bot.autojoin import Follow, Join, Leave, Move, Stay, decide
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.outcome import AnyCall, NewCall, Outcome, status_of
from discordplex.bot.patience import Patience
from discordplex.bot.rooms import Room
from discordplex.bot.sessions import Answer, Elsewhere, Granted, Here, Place, SessionRegistry, Soon, Waiting
from discordplex.bot.timers import Timers
from discordplex.clock import Clock

log = structlog.get_logger()

GRACE_S = 2.0
"""How long an empty channel is kept: a client that reconnects is back within that, and whoever leaves sees us go within 5 s."""

FOLLOW_TIMEOUT_S = 5.0
"""How long Discord may take to move us after the people."""

QUEUE_POLL_S = 2.0
"""How often a queue looks for an engine that became free by itself."""

GOOD_CALL_S = 60.0
"""A call in which people were heard for so long has worked: the next failure is a first one."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The name of the timer after which a failed call is tried again."""

    place: Place


class Switchboard:
    """Every guild's call and the queue, by the rules of `autojoin` and `sessions`. All methods: the event loop's thread."""

    def __init__(
        self,
        *,
        registry: SessionRegistry,
        room_at: Callable[[Place], Room | None],
        new_call: NewCall,
        check: Callable[[], str | None],
        notices: Noticeboard,
        auto_join: bool,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._room_at = room_at
        self._new_call = new_call
        self._check = check
        self._notices = notices
        self._auto_join = auto_join
        self._clock = clock
        self._patience = Patience()
        self._calls: dict[int, AnyCall] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timers = Timers(clock)
        self._closing = False

    # What people do

    def person_moved(self, guild_id: int, move: Move, people: Mapping[int, AbstractSet[int]], closed: Collection[int]) -> None:
        """A person went somewhere; `people` says who sits where now, `closed` which channels are never joined."""
        seat = self._registry.seat(guild_id)
        channel_id = seat.channel_id if seat and not seat.ending else None
        if move.before is not None and not people.get(move.before):
            self._emptied(Place(guild_id, move.before))
        decision = decide(move, call=channel_id, people=people, auto_join=self._auto_join, closed=closed)
        if self._closing or isinstance(decision, Stay):
            return
        if isinstance(decision, Join):
            self.enter(Place(guild_id, decision.channel_id))
        elif isinstance(decision, Follow):
            self._follow(guild_id, decision.channel_id)
        elif isinstance(decision, Leave):
            self._leave_when_empty(guild_id)

    def enter(self, place: Place) -> None:
        """People sit in a channel and somebody just came, or we did: call us there if that is possible now."""
        if not self._closing:
            self._timers.cancel(Retry(place))
            self._want(place, quiet=False)

    def call_moved(self, guild_id: int, channel_id: int) -> None:
        """Discord has moved us: after the people whom we follow, or because a moderator dragged us."""
        call, room = self._calls.get(guild_id), self._room_at(Place(guild_id, channel_id))
        seat = self._registry.seat(guild_id)
        if call is None or room is None or seat is None or seat.ending:
            return
        self._timers.cancel(("follow", guild_id))
        self._registry.move(guild_id, channel_id)
        call.room = room
        if not room.people:
            self._leave_when_empty(guild_id)

    def guild_gone(self, guild_id: int) -> None:
        """We are not in this guild any more."""
        self._registry.forget_guild(guild_id)
        self._hang_up(guild_id)

    def drop_calls(self) -> None:
        """End every call: Discord forgot where we are. Who still sits in a channel is served again."""
        for guild_id in list(self._calls):
            self._hang_up(guild_id)

    # What commands ask

    async def join(self, place: Place) -> str:
        """/join: what came of it, as a sentence."""
        room = self._room_at(place)
        if room is None:
            return replies.NOT_IN_VOICE
        problem = room.obstacle() or self._check()
        if problem:
            return replies.could_not_join(place.channel_id, problem)
        self._timers.cancel(Retry(place))
        self._serve()
        self._leave_if_empty(place.guild_id)
        answer = self._registry.ask(place)
        if isinstance(answer, Granted):
            self._start(answer, quiet=False)
        self._keep_queue_moving()
        return await self._reply(place, answer)

    async def leave(self, guild_id: int, name: str) -> str:
        """/leave, by the person of this name: what came of it, as a sentence."""
        for timer in self._timers.names:
            if isinstance(timer, Retry) and timer.place.guild_id == guild_id:
                self._timers.cancel(timer)
        call, task = self._calls.get(guild_id), self._tasks.get(guild_id)
        if call is None or task is None:
            waited = any(place.guild_id == guild_id for place in self._registry.queue)
            self._registry.forget_guild(guild_id)
            return replies.LEFT_QUEUE if waited else replies.NOTHING_TO_LEAVE
        self._notices.say(call.room, replies.sent_away(name))
        self._hang_up(guild_id)
        await asyncio.wait({task})
        return replies.LEFT

    def call(self, guild_id: int) -> AnyCall | None:
        """The guild's call, None where it has none or it is being torn down."""
        seat = self._registry.seat(guild_id)
        return None if seat is None or seat.ending else self._calls.get(guild_id)

    def status(self, guild_id: int) -> replies.Status:
        """/status: what this guild may know."""
        call = self._calls.get(guild_id)
        places = enumerate(self._registry.queue, start=1)
        return replies.Status(
            call=None if call is None else status_of(call, self._clock.now()),
            calls=self._registry.calls,
            capacity=self._registry.capacity,
            queue_length=len(self._registry.queue),
            own_places=[(place.channel_id, number) for number, place in places if place.guild_id == guild_id],
            auto_join=self._auto_join,
            refused=self._check(),
        )

    async def close(self) -> None:
        """End every call and wait for it. Nothing begins any more."""
        self._closing = True
        self.drop_calls()
        await self._timers.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    # How calls begin

    def _want(self, place: Place, *, quiet: bool) -> None:
        room = self._room_at(place)
        if room is None or not room.people:
            return
        problem = room.obstacle() or self._check()
        if problem:
            self._notices.say_once(room, replies.could_not_join(place.channel_id, problem))
            log.warning("call refused", guild=place.guild_id, channel=place.channel_id, cause=problem)
            return
        self._serve()
        self._leave_if_empty(place.guild_id)
        answer = self._registry.ask(place)
        if isinstance(answer, Granted):
            self._start(answer, quiet=quiet)
        elif isinstance(answer, Waiting):
            self._notices.say_once(room, replies.waiting(answer.number))
        elif isinstance(answer, Elsewhere):
            self._notices.say_once(room, replies.elsewhere(answer.channel_id))
        self._keep_queue_moving()

    def _serve(self) -> None:
        """Give free engines to those who wait."""
        while not self._closing:
            granted = self._registry.serve(self._still_waits)
            if granted is None:
                return
            self._start(granted, quiet=False)

    def _still_waits(self, place: Place) -> bool:
        room = self._room_at(place)
        if room is None or not room.people:
            return False
        problem = room.obstacle() or self._check()
        if problem:
            self._notices.say_once(room, replies.could_not_join(place.channel_id, problem))
        return problem is None

    def _start(self, granted: Granted, *, quiet: bool) -> None:
        guild_id = granted.place.guild_id
        room = self._room_at(granted.place)
        if room is None:
            self._registry.end(guild_id)
            return
        call = self._new_call(room, granted.lease, quiet=quiet, moved=functools.partial(self.call_moved, guild_id))
        self._calls[guild_id] = call
        self._tasks[guild_id] = asyncio.create_task(self._live(guild_id, call), name=f"switchboard:{guild_id}")

    async def _live(self, guild_id: int, call: AnyCall) -> None:
        outcome = Outcome(replies.INTERNAL)
        try:
            outcome = await call.run()
        except Exception:  # the edge: a bug in one call must not end the others
            log.exception("call failed", guild=guild_id)
        finally:
            self._timers.cancel(("grace", guild_id))
            self._timers.cancel(("follow", guild_id))
            self._registry.end(guild_id)
            del self._calls[guild_id], self._tasks[guild_id]
        if not self._closing:
            self._after_call(call.room.place, outcome)

    def _after_call(self, place: Place, outcome: Outcome) -> None:
        if outcome.listened_s >= GOOD_CALL_S:
            self._patience.forget(place)
        if outcome.reason and outcome.retry:
            self._timers.later(Retry(place), self._patience.pause_s(place), functools.partial(self._want, place, quiet=True))
        self._serve()

    # How calls move and end

    def _follow(self, guild_id: int, channel_id: int) -> None:
        call, room = self._calls[guild_id], self._room_at(Place(guild_id, channel_id))
        problem = replies.INTERNAL if room is None else room.obstacle()
        if room is None or problem:
            self._notices.say_once(room or call.room, replies.could_not_join(channel_id, problem or replies.INTERNAL))
            self._hang_up(guild_id)
            return
        self._registry.move(guild_id, channel_id)
        self._timers.later(("follow", guild_id), FOLLOW_TIMEOUT_S, functools.partial(self._could_not_follow, guild_id, room))
        self._timers.beside(("moving", guild_id), call.follow(room))

    def _could_not_follow(self, guild_id: int, room: Room) -> None:
        self._notices.say_once(room, replies.could_not_join(room.place.channel_id, replies.NOT_LET_IN))
        self._hang_up(guild_id)

    def _leave_when_empty(self, guild_id: int) -> None:
        self._timers.later(("grace", guild_id), GRACE_S, functools.partial(self._leave_if_empty, guild_id))

    def _leave_if_empty(self, guild_id: int) -> None:
        call = self._calls.get(guild_id)
        if call and not call.room.people:
            self._hang_up(guild_id)

    def _hang_up(self, guild_id: int) -> None:
        call = self._calls.get(guild_id)
        if call:
            self._registry.ending(guild_id)
            call.hang_up()

    def _emptied(self, place: Place) -> None:
        self._registry.withdraw(place)
        self._patience.forget(place)
        self._notices.forget(place)
        self._timers.cancel(Retry(place))

    async def _reply(self, place: Place, answer: Answer) -> str:
        if isinstance(answer, Waiting):
            return replies.waiting(answer.number)
        if isinstance(answer, Elsewhere):
            return replies.elsewhere(answer.channel_id)
        if isinstance(answer, Soon):
            return replies.COMING_SOON
        if isinstance(answer, Here):
            return replies.already_here(place.channel_id)
        problem = await self._calls[place.guild_id].joined()
        return replies.could_not_join(place.channel_id, problem) if problem else replies.joined(place.channel_id)

    def _keep_queue_moving(self) -> None:
        if self._registry.queue and "queue" not in self._timers:
            self._timers.later("queue", QUEUE_POLL_S, self._poll_queue)

    def _poll_queue(self) -> None:
        self._serve()
        self._keep_queue_moving()
