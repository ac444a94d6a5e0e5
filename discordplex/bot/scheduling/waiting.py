"""WaitingList: the queue as people meet it. They are told their place and what to expect, and served when it is their turn."""

from collections.abc import Callable, Collection, Iterable

import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import AnyCall, Outcome
from discordplex.bot.chat.channel import Room
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.bot.rules import Rules
from discordplex.bot.scheduling.move_limits import Moves
from discordplex.bot.scheduling.registry import Answer, Elsewhere, Granted, SessionRegistry, Ticket, Waiting
from discordplex.bot.scheduling.running import RunningCalls
from discordplex.bot.scheduling.timers import Timers
from discordplex.bot.scheduling.wait_estimate import Lengths, estimate
from discordplex.bot.texts.waiting import Estimate
from discordplex.clock import Clock

log = structlog.get_logger()

QUEUE_POLL_S = 2.0
"""How often a queue looks for an engine that became free by itself."""

SETTLE_S = 5.0
"""After a restart, how long the order of before is kept for guilds of which Discord has not told yet."""


class WaitingList:
    """The registry's queue with its manners. All methods: the event loop's thread."""

    def __init__(
        self,
        *,
        registry: SessionRegistry,
        running: RunningCalls,
        moves: Moves,
        room_at: Callable[[Place], Room | None],
        check: Callable[[], str | None],
        rules: Callable[[int], Rules],
        notices: Notices,
        timers: Timers,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._running = running
        self._moves = moves
        self._room_at = room_at
        self._check = check
        self._rules = rules
        self._notices = notices
        self._timers = timers
        self._clock = clock
        self._lengths = Lengths()
        self._told: dict[Ticket, int] = {}
        self._settled = True
        self.closed = False
        """Nobody is served any more."""

    def remember(self, order: Iterable[tuple[Place, int | None]]) -> None:
        """Who had a call or waited before a restart goes first, if they still sit there. Until `settle` nobody is served."""
        self._registry.restore(order)
        if self._registry.queue:
            self._settled = False
            self._timers.later("settle", SETTLE_S, self.settle)

    def settle(self) -> None:
        """Every guild is known by now: serve those who wait, and tell the others."""
        self._timers.cancel("settle")
        if not self._settled:
            self._settled = True
            for place in self._registry.queue:
                if not self._still_waits(place):
                    self.withdraw(place)
            self.serve()
            self._tell_all()

    def ask(self, place: Place, asker: int | None, *, quiet: bool) -> Answer:
        """Somebody wants a call here, and nothing speaks against it. It begins if there is an engine, else they wait."""
        self.serve()
        self._running.hang_up_if_empty(place.guild_id)
        answer = self._registry.ask(place, asker)
        if isinstance(answer, Granted):
            self._running.begin(answer, quiet=quiet)
        elif self._settled:
            self._correct()  # a guild that comes new goes before another one's second channel
        self._keep_moving()
        return answer

    def tell(self, place: Place, answer: Answer) -> None:
        """Say in the channel what they wait for."""
        room = self._room_at(place)
        if room and isinstance(answer, Waiting):
            self._tell_number(room)
        elif room and isinstance(answer, Elsewhere):
            self._notices.say_once(room, texts.calls.elsewhere(answer.channel_id))

    def sentence(self, place: Place, number: int) -> str:
        """What `tell` says of a number in the queue."""
        return texts.waiting.waiting(number, self.expected(place))

    def expected(self, place: Place) -> Estimate | None:
        """How long they will wait; None where nobody can tell, or they do not wait for an engine."""
        number = self._registry.number(place)
        if number is None or self._registry.seat(place.guild_id):
            return None
        now, calls = self._clock.now(), self._running.calls.values()
        boxes_s = [self._rules(call.room.place.guild_id).max_s for call in calls]
        return estimate(number, ages_s=[now - call.since for call in calls], lengths=self._lengths, box_s=max(boxes_s, default=0.0))

    def serve(self) -> None:
        """Give free engines to calls that lost theirs, then to those who wait."""
        if self.closed or not self._settled:
            return
        before = self._registry.queue
        for call in sorted(self._running.calls.values(), key=lambda call: call.since):
            call.rescue()
        while granted := self._registry.serve(self._still_waits, self._may_begin):
            self._greet(granted)
            self._running.begin(granted, quiet=False)
        if self._registry.queue != before:
            self._tell_all()

    def ended(self, call: AnyCall, outcome: Outcome) -> None:
        """A call is gone: learn how long it was, and serve the next."""
        if outcome.listened_s:
            self._lengths.add(self._clock.now() - call.since)
        self.serve()
        self._tell_all()  # also those who waited for this very call, and get none yet

    def withdraw(self, place: Place) -> None:
        """Nobody is there any more."""
        if self._registry.withdraw(place):
            self._tell_all()

    def leave(self, guild_id: int, channels: Collection[int]) -> bool:
        """Nobody in these channels of a guild wants to wait any more; whether somebody did."""
        gone = [place for place in self._registry.queue if place.guild_id == guild_id and place.channel_id in channels]
        for place in gone:
            self._registry.withdraw(place)
        self._tell_all()
        return bool(gone)

    def _still_waits(self, place: Place) -> bool:
        room = self._room_at(place)
        if room is None or not room.callers:
            return False
        problem = room.obstacle() or self._check()
        if problem:
            self._notices.say_once(room, texts.calls.could_not_join(place.channel_id, problem))
        return problem is None

    def _may_begin(self, guild_id: int) -> bool:
        return not self._moves.wait_s(guild_id)

    def _greet(self, granted: Granted) -> None:
        room, ticket = self._room_at(granted.place), granted.ticket
        if room and ticket and ticket in self._told:
            self._notices.say(room, texts.waiting.YOUR_TURN, key=("queue", ticket.serial))

    def _tell_all(self) -> None:
        """Correct what those read who wait for an engine: their number has changed, or there is none any more."""
        waiting = {self._registry.ticket(place) for place in self._registry.queue}
        self._told = {ticket: number for ticket, number in self._told.items() if ticket in waiting}
        if self.closed or not self._settled:
            return
        for place in self._registry.queue:
            room = self._room_at(place)
            if room and not self._registry.seat(place.guild_id):
                self._tell_number(room)

    def _correct(self) -> None:
        """Correct what those read who were told another number."""
        for place in self._registry.queue:
            room, ticket = self._room_at(place), self._registry.ticket(place)
            if room and ticket in self._told and not self._registry.seat(place.guild_id):
                self._tell_number(room)

    def _tell_number(self, room: Room) -> None:
        """One message for each time that they wait, changed in place when their number changes."""
        ticket, number = self._registry.ticket(room.place), self._registry.number(room.place)
        if self._settled and ticket and number and self._told.get(ticket) != number:
            self._told[ticket] = number
            self._notices.say(room, self.sentence(room.place, number), key=("queue", ticket.serial))

    def _keep_moving(self) -> None:
        if self._registry.queue and "queue" not in self._timers:
            self._timers.later("queue", QUEUE_POLL_S, self._poll)

    def _poll(self) -> None:
        self.serve()
        self._keep_moving()
