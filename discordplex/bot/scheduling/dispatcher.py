"""Dispatcher: events and commands come in; it starts, moves and ends calls, and puts people into the queue."""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import AnyCall, Next, status_of
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.bot.scheduling.autojoin import Follow, Join, Leave, Move, decide
from discordplex.bot.scheduling.context import GuildAccess, SchedulingContext
from discordplex.bot.scheduling.daily_limit import DailyLimit
from discordplex.bot.scheduling.move_limits import MoveLimits
from discordplex.bot.scheduling.periodic import PeriodicChecks
from discordplex.bot.scheduling.registry import Answer, Asking, Elsewhere, Granted, Here, SessionRegistry, Soon, Waiting
from discordplex.bot.scheduling.running import RunningCalls
from discordplex.bot.scheduling.timers import Timers
from discordplex.bot.scheduling.usage import Usage
from discordplex.bot.scheduling.waiting import WaitingList
from discordplex.clock import Clock
from discordplex.overview import CallOverview
from discordplex.retry import Backoff
from discordplex.tasks import until

log = structlog.get_logger()

GOOD_CALL_S = 60.0
"""A call that heard people for this long has worked: the pauses after failures start again."""

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 300.0
"""The pause before a failed call is tried again in a channel doubles from the first to the longest."""

MOST = 1024
"""The most channels whose failures are remembered. After that, the one with the oldest failure is forgotten."""

QUEUE_POLL_S = 2.0
"""How often the queue checks for an engine that became free by itself."""

ANSWER_S = 3.0
"""The longest wait of a command for an answer of the other processes."""

RESTORE_S = 5.0
"""After a restart, how long places are kept for guilds that Discord has not reported yet."""


class RetryPauses:
    """Growing pauses per channel, so that a channel where no call works does not cause endless tries."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Place, Backoff] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def pause_s(self, place: Place) -> float:
        """A call failed here: seconds until it is tried again without a request. Doubles each time."""
        backoff = self._failures.setdefault(place, Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
        self._failures.move_to_end(place)
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)
        return backoff.failed()

    def forget(self, place: Place) -> None:
        """A call worked here, or its people left: start again with the first pause."""
        self._failures.pop(place, None)


@dataclass(frozen=True, slots=True)
class RetryTimer:
    """The name of the timer after which a failed call is tried again."""

    place: Place


class Dispatcher:
    """The calls of all guilds and the queue, by the rules of `autojoin` and `registry`. All methods: the event loop's thread."""

    def __init__(self, *, guilds: GuildAccess, registry: SessionRegistry, notices: Notices, usage: Usage, clock: Clock) -> None:
        timers = Timers(clock)
        moves = MoveLimits(clock=clock, timers=timers)
        daily_limit = DailyLimit(usage, rules=guilds.rules, infos=lambda: registry.infos)
        registry.may_cost = daily_limit.may_cost
        context = SchedulingContext(
            guilds=guilds, registry=registry, notices=notices, timers=timers, moves=moves, daily_limit=daily_limit, clock=clock
        )
        self._guilds = guilds
        self._registry = registry
        self._notices = notices
        self._timers = timers
        self._moves = moves
        self._daily_limit = daily_limit
        self._clock = clock
        self._running = RunningCalls(context)
        self._waiting = WaitingList(context, self._running)
        self._periodic = PeriodicChecks(context, self._running)
        self._pauses = RetryPauses()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """For each guild, the task that runs its call and then does what the outcome says."""
        self._closing = False
        self._news = asyncio.Event()
        """Set when other processes have something new; then there is another one."""

    # What people do

    def person_moved(
        self, guild_id: int, move: Move, people: Mapping[int, AbstractSet[int]], closed: Collection[int], *, may_call: bool = True
    ) -> None:
        """A person entered, left or changed a voice channel.

        `people` says who is in which channel now, `closed` which channels are never joined, `may_call` if this person may call the bot.
        """
        if self._closing:
            return
        registered = self._registry.call(guild_id)
        channel_id = registered.channel_id if registered and not registered.ending else None
        if move.before is not None and not people.get(move.before):
            self._emptied(Place(guild_id, move.before))
        auto_join = self._guilds.rules(guild_id).auto_join and may_call
        decision = decide(move, call=channel_id, people=people, auto_join=auto_join, closed=closed)
        if isinstance(decision, Join):
            self.enter(Place(guild_id, decision.channel_id), asker=move.person_id)
        elif isinstance(decision, Follow):
            self._running.follow(guild_id, decision.channel_id)
        elif isinstance(decision, Leave):
            self._running.hang_up_when_empty(guild_id)
        self.voice_changed(guild_id)

    def voice_changed(self, guild_id: int) -> None:
        """Somebody, maybe a bot, entered or left, or became known."""
        call = self._running.lasting(guild_id)
        if call:
            call.refresh()

    def rights_changed(self, guild_id: int) -> None:
        """The bot's permissions may have changed: end a call in a channel that it may no longer see or enter."""
        self._running.hang_up_where_unwanted(guild_id)

    def enter(self, place: Place, *, asker: int | None = None) -> None:
        """People are in a channel, and one of them or the bot just arrived: start a call there if possible."""
        if not self._closing:
            self._timers.cancel(RetryTimer(place))
            self._request_call(place, asker, quiet=False)

    def bot_moved(self, guild_id: int, channel_id: int) -> None:
        """Discord moved the bot to another voice channel: after the people of its call, or because a moderator moved it."""
        self._running.moved(guild_id, channel_id)

    def guild_here(self, guild_id: int) -> None:
        """A guild is available, at the start or after an outage. The people of its call may have left meanwhile."""
        call = self._running.lasting(guild_id)
        if call:
            self._look_anew(call)
            if not call.voice_channel.people:
                self._running.hang_up_when_empty(guild_id)

    def guild_gone(self, guild_id: int) -> None:
        """The bot is no longer in this guild."""
        channels = self.waiting(guild_id)
        self._waiting.leave(guild_id, channels)
        self._moves.forget(guild_id, [*channels, None])
        for channel_id in channels:
            self._timers.cancel(RetryTimer(Place(guild_id, channel_id)))
            self._pauses.forget(Place(guild_id, channel_id))
        self._running.hang_up(guild_id)

    def drop_calls(self, covers: Callable[[int], bool]) -> Collection[asyncio.Task[None]]:
        """End the calls of these guilds, because Discord forgot where the bot is. Returns the tasks that end them.

        Their people wait in front of everybody, and get a new call if they are still in the channel when the guild is known again.
        """
        dropped = [guild_id for guild_id in self._running.calls if covers(guild_id)]
        if self._registry.shared.shared:
            self._waiting.take_over(covers)
        elif dropped:
            self._waiting.hold()
            self._timers.later("restore", RESTORE_S, self.finish_restore)
        for guild_id in dropped:
            self._running.hang_up(guild_id, Next.WAIT)
        return [self._tasks[guild_id] for guild_id in dropped]

    # What a restart needs

    def restore(self, order: Iterable[tuple[Place, int | None]]) -> None:
        """Call this first: who had a call or waited when the last process ended. Until `finish_restore`, nobody is served."""
        if self._waiting.restore(order):
            self._timers.later("restore", RESTORE_S, self.finish_restore)

    def finish_restore(self) -> None:
        """Every guild is known: forget remembered places without people, and give out engines."""
        self._timers.cancel("restore")
        if self._waiting.finish_restore():
            self._serve()
            self._waiting.tell_all()

    # What other processes do

    def take_over(self, covers: Callable[[int], bool], order: Iterable[tuple[Place, int | None]], since: Mapping[Place, float]) -> None:
        """These guilds are this process's from now on. `order` says who had a call or waited there, `since` when they asked.

        They keep their places until `finish_take_over`.
        """
        self._waiting.take_over(covers, order, since)

    def finish_take_over(self, covers: Callable[[int], bool]) -> None:
        """These guilds are known: forget remembered places without people, and give out engines."""
        self._waiting.finish_take_over(covers)
        self.others_changed()

    async def hand_over(self, covers: Callable[[int], bool], *, timeout_s: float) -> None:
        """Another process has these guilds now: end what is left of their calls, and forget who waits."""
        self._waiting.hand_over(covers)
        guilds = [guild_id for guild_id in self._running.calls if covers(guild_id)]
        for guild_id in guilds:
            self._running.hang_up(guild_id)
        ending = [task for guild_id in guilds if (task := self._tasks.get(guild_id))]
        if ending:
            await asyncio.wait(ending, timeout=timeout_s)
        self._waiting.hand_over(covers)

    def has_calls(self, covers: Callable[[int], bool]) -> bool:
        """Whether one of these guilds has a call."""
        return any(map(covers, self._running.calls))

    def has_waiting(self, covers: Callable[[int], bool]) -> bool:
        """Whether one of these guilds waits for a call, or it is not known yet whether it does."""
        return self._waiting.holds(covers) or any(covers(place.guild_id) for place in self._registry.queue)

    def others_changed(self) -> None:
        """Other processes have something new: an engine may be ours, or a number is known or another one."""
        news, self._news = self._news, asyncio.Event()
        news.set()
        self._registry.others_changed()
        if not self._closing:
            self._serve()
            self._waiting.tell_all()
            self._poll_later()

    def drain(self) -> None:
        """Start no call from now on; people wait with their place for another process."""
        self._registry.starts_calls = False
        self._registry.publish()

    # What commands ask

    async def join(self, place: Place, asker: int | None = None) -> str:
        """/join by this person; returns the answer."""
        voice_channel = self._guilds.voice_channel_at(place)
        if voice_channel is None:
            return texts.calls.NOT_IN_VOICE
        problem = voice_channel.obstacle() or self._guilds.persona_refusal()
        if problem:
            return texts.calls.could_not_join(place.channel_id, problem)
        if asker is not None and asker not in voice_channel.callers:
            return texts.waiting.NOT_YOU
        self._timers.cancel(RetryTimer(place))
        used_up = self._running.used_up(place.guild_id)
        if used_up:
            return used_up
        wait_s = self._moves.wait_s(place.guild_id)
        if wait_s and self._registry.call(place.guild_id) is None:
            self._request_call(place, asker, quiet=False)
            return texts.waiting.moved_often(wait_s)
        answer = self._start_or_queue(place, asker, quiet=False)
        return await self._reply(place, answer)

    async def leave(self, guild_id: int, name: str, channels: Collection[int]) -> str:
        """/leave by a person of this name who may decide about these channels; returns the answer."""
        waited = self._moves.forget(guild_id, channels)
        for channel_id in channels:
            self._timers.cancel(RetryTimer(Place(guild_id, channel_id)))
        call, task = self._running.calls.get(guild_id), self._tasks.get(guild_id)
        if call is None or task is None or call.voice_channel.place.channel_id not in channels:
            return texts.calls.LEFT_QUEUE if self._waiting.leave(guild_id, channels) or waited else texts.calls.NOTHING_TO_LEAVE
        self._notices.say_about(call.voice_channel, texts.calls.sent_away(name), texts.calls.sent_away(texts.waiting.SOMEBODY))
        self._running.hang_up(guild_id)
        await asyncio.wait({task})
        return texts.calls.LEFT

    def leave_queue(self, guild_id: int, channels: Collection[int]) -> str:
        """Take these channels out of the queue; returns the answer. A call stays."""
        waited = self._moves.forget(guild_id, channels)
        return texts.waiting.LEFT_THE_QUEUE if self._waiting.leave(guild_id, channels) or waited else texts.waiting.NOT_IN_QUEUE

    def waiting(self, guild_id: int) -> frozenset[int]:
        """The guild's channels that wait for an engine or for permission to move, or whose call is tried again."""
        retries = (timer.place for timer in self._timers.names if isinstance(timer, RetryTimer))
        queued = frozenset(place.channel_id for place in (*self._registry.queue, *retries) if place.guild_id == guild_id)
        return queued | self._moves.waiting_channels(guild_id)

    def call(self, guild_id: int) -> AnyCall | None:
        """The guild's call; None if it has none, or the call is ending."""
        return self._running.lasting(guild_id)

    def preferences_changed(self) -> None:
        """Rules or opt-outs changed: apply them to every call at once."""
        for call in self._running.calls.values():
            self._look_anew(call)

    def status(self, guild_id: int) -> texts.calls.Status:
        """/status of a guild."""
        call = self._running.calls.get(guild_id)
        own = [place for place in self._registry.queue if place.guild_id == guild_id]
        return texts.calls.Status(
            call=None if call is None else status_of(call, self._clock.now()),
            calls=self._registry.calls,
            capacity=self._registry.capacity,
            queue_length=self._registry.length,
            own_places=[(place.channel_id, number) for place in own if (number := self._registry.number(place))],
            auto_join=self._guilds.rules(guild_id).auto_join,
            minutes=self._daily_limit.minutes(guild_id),
            refused=self._guilds.persona_refusal(),
        )

    def queue_lines(self, guild_id: int) -> list[str]:
        """/queue: a sentence for each channel of this guild that waits, in order, with the expected wait."""
        own = [place for place in self._registry.queue if place.guild_id == guild_id]
        return [texts.waiting.in_queue(place.channel_id, self._registry.number(place) or 0, self._waiting.expected(place)) for place in own]

    def overview(self, *, names: bool) -> tuple[tuple[CallOverview, ...], tuple[str, ...]]:
        """Every call, and where each channel of the queue is, as an observer sees them."""
        channels = [self._guilds.voice_channel_at(place) if names else None for place in self._registry.queue]
        calls = tuple(call.overview(self._clock.now(), names=names) for call in self._running.calls.values())
        return calls, tuple(channel.title if channel else "" for channel in channels)

    async def close(self) -> None:
        """End every call and wait for it. No call starts after this, and the current order is remembered."""
        self._closing = self._waiting.closed = True
        self._registry.forget_nobody()
        self._running.hang_up_all()
        await self._timers.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _look_anew(self, call: AnyCall) -> None:
        call.voice_channel = self._guilds.voice_channel_at(call.voice_channel.place) or call.voice_channel
        self._running.hang_up_where_unwanted(call.voice_channel.place.guild_id)

    # How a call starts, and what follows its end

    def _request_call(self, place: Place, asker: int | None, *, quiet: bool) -> None:
        """Start a call here, put the channel into the queue, or post why neither is possible."""
        voice_channel = self._guilds.voice_channel_at(place)
        if self._closing or voice_channel is None or not voice_channel.callers:
            return
        obstacle = voice_channel.obstacle()
        problem = obstacle or self._guilds.persona_refusal()
        if problem:
            self._notices.say_once(voice_channel, texts.calls.could_not_join(place.channel_id, problem))
            log.warning("call refused", guild=place.guild_id, channel=place.channel_id, cause="channel" if obstacle else "persona")
            return
        used_up = self._running.used_up(place.guild_id)
        if used_up:
            self._notices.say_once(voice_channel, used_up)
            log.info("call refused", guild=place.guild_id, channel=place.channel_id, cause="minutes used up")
            return
        if self._moves.wait_s(place.guild_id) and self._registry.call(place.guild_id) is None:
            self._moves.when_possible(place.guild_id, functools.partial(self._request_call, place, asker, quiet=quiet), place.channel_id)
        else:
            self._waiting.tell(place, self._start_or_queue(place, asker, quiet=quiet))

    def _start_or_queue(self, place: Place, asker: int | None, *, quiet: bool) -> Answer:
        """Start a call here if an engine is free, otherwise add the channel to the queue. The rules allow the call."""
        self._serve()
        self._running.hang_up_if_empty(place.guild_id)
        answer = self._waiting.request(place, asker)
        if isinstance(answer, Granted):
            self._begin(answer, quiet=quiet)
        self._poll_later()
        return answer

    def _serve(self) -> None:
        """Give free engines to calls that lost theirs, then to the queue."""
        if not self._closing:
            self._running.rescue()
            for granted in self._waiting.serve():
                self._begin(granted, quiet=False)

    def _poll_later(self) -> None:
        if self._registry.queue and "queue" not in self._timers:
            self._timers.later("queue", QUEUE_POLL_S, self._poll)

    def _poll(self) -> None:
        self._serve()
        self._poll_later()

    def _begin(self, granted: Granted, *, quiet: bool) -> None:
        """Make the call for a granted engine, and run it in its own task."""
        guild_id = granted.place.guild_id
        call = self._running.make(granted, quiet=quiet)
        if call:
            self._tasks[guild_id] = asyncio.create_task(self._run(guild_id, call), name=f"bot:call:{guild_id}")
            self._periodic.begin()

    async def _run(self, guild_id: int, call: AnyCall) -> None:
        """Run the call, then do what its outcome says, and give its engine to the next one."""
        outcome = await self._running.run(guild_id, call)
        del self._tasks[guild_id]
        if self._closing:
            return
        place = call.voice_channel.place
        if outcome.listened_s:
            self._waiting.learn(self._clock.now() - call.since)
        if outcome.listened_s >= GOOD_CALL_S:
            self._pauses.forget(place)
        if outcome.next is Next.WAIT:
            self._registry.return_to_queue(place, call.asker)
            self._poll_later()
        self._serve()
        if outcome.next is Next.RETRY:
            self._timers.later(
                RetryTimer(place), self._pauses.pause_s(place), functools.partial(self._request_call, place, call.asker, quiet=True)
            )
        elif outcome.next is Next.REQUEUE and self._guilds.rules(place.guild_id).auto_join:
            self._request_call(place, call.asker, quiet=False)
        self._waiting.tell_all()  # also channels that waited for this call and get none yet

    def _emptied(self, place: Place) -> None:
        self._waiting.withdraw(place)
        self._moves.forget(place.guild_id, [place.channel_id])
        self._pauses.forget(place)
        self._notices.readers_left(place)
        self._timers.cancel(RetryTimer(place))

    async def _reply(self, place: Place, answer: Answer) -> str:
        if isinstance(answer, Asking):
            return await self._reply_later(place)
        if isinstance(answer, Waiting):
            return self._waiting.sentence(place, answer.number)
        if isinstance(answer, Elsewhere):
            return texts.calls.elsewhere(answer.channel_id)
        if isinstance(answer, Soon):
            return texts.calls.COMING_SOON
        if isinstance(answer, Here):
            return texts.calls.already_here(place.channel_id)
        problem = await self._running.calls[place.guild_id].joined()
        return texts.calls.could_not_join(place.channel_id, problem) if problem else texts.calls.joined(place.channel_id)

    async def _reply_later(self, place: Place) -> str:
        """The answer when the other processes have answered."""
        deadline = self._clock.now() + ANSWER_S
        while self._registry.ticket(place) and self._registry.number(place) is None and self._registry.shared.reachable:
            if self._clock.now() >= deadline:
                break
            await until(self._news, self._clock.sleep_until(deadline))
        call, number = self._running.lasting(place.guild_id), self._registry.number(place)
        if call and call.voice_channel.place == place:
            problem = await call.joined()
            return texts.calls.could_not_join(place.channel_id, problem) if problem else texts.calls.joined(place.channel_id)
        return texts.waiting.DATABASE_AWAY if number is None else self._waiting.sentence(place, number)
