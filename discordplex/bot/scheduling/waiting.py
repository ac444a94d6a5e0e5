"""WaitingList: the queue as people meet it. They are told their place and what to expect, and served when it is their turn."""

from collections.abc import Collection, Iterable, Iterator

import structlog

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.place import Place
from discordplex.bot.scheduling.context import SchedulingContext
from discordplex.bot.scheduling.registry import Answer, Elsewhere, Granted, Ticket, Waiting
from discordplex.bot.scheduling.running import RunningCalls
from discordplex.bot.scheduling.wait_estimate import Lengths, estimate
from discordplex.bot.texts.waiting import Estimate

log = structlog.get_logger()


class WaitingList:
    """The registry's queue with its manners. All methods: the event loop's thread."""

    def __init__(self, context: SchedulingContext, running: RunningCalls) -> None:
        """`running` tells how long calls have lasted, for estimates."""
        self._guilds = context.guilds
        self._registry = context.registry
        self._notices = context.notices
        self._moves = context.moves
        self._clock = context.clock
        self._running = running
        self._lengths = Lengths()
        self._told: dict[Ticket, int] = {}
        self._settled = True
        self.closed = False
        """Nobody is served any more."""

    def remember(self, order: Iterable[tuple[Place, int | None]]) -> bool:
        """Who had a call or waited before a restart goes first, if they still sit there. Whether there are any: `settle` has to follow."""
        self._registry.restore(order)
        self._settled = not self._registry.queue
        return not self._settled

    def settle(self) -> bool:
        """Every guild is known by now: whoever was remembered and sits nowhere is forgotten. Whether this was still to be done."""
        if self._settled:
            return False
        self._settled = True
        for place in self._registry.queue:
            if not self._still_waits(place):
                self.withdraw(place)
        return True

    def ask(self, place: Place, asker: int | None) -> Answer:
        """Somebody wants a call here, and nothing speaks against it. They are granted an engine, or wait."""
        answer = self._registry.ask(place, asker)
        if self._settled and not isinstance(answer, Granted):
            self._correct()  # a guild that comes new goes before another one's second channel
        return answer

    def tell(self, place: Place, answer: Answer) -> None:
        """Say in the channel what they wait for."""
        voice_channel = self._guilds.voice_channel_at(place)
        if voice_channel and isinstance(answer, Waiting):
            self._tell_number(voice_channel)
        elif voice_channel and isinstance(answer, Elsewhere):
            self._notices.say_once(voice_channel, texts.calls.elsewhere(answer.channel_id))

    def sentence(self, place: Place, number: int) -> str:
        """What `tell` says of a number in the queue."""
        return texts.waiting.waiting(number, self.expected(place))

    def expected(self, place: Place) -> Estimate | None:
        """How long they will wait; None where nobody can tell, or they do not wait for an engine."""
        number = self._registry.number(place)
        if number is None or self._registry.seat(place.guild_id):
            return None
        now, calls = self._clock.now(), self._running.calls.values()
        boxes_s = [self._guilds.rules(call.voice_channel.place.guild_id).max_s for call in calls]
        return estimate(number, ages_s=[now - call.since for call in calls], lengths=self._lengths, box_s=max(boxes_s, default=0.0))

    def serve(self) -> Iterator[Granted]:
        """Grant free engines to those who wait, in their order; begin the call of each before the next is granted."""
        if self.closed or not self._settled:
            return
        before = self._registry.queue
        while granted := self._registry.serve(self._still_waits, self._may_begin):
            self._greet(granted)
            yield granted
        if self._registry.queue != before:
            self.tell_all()

    def learn(self, length_s: float) -> None:
        """A call in which people were heard has ended after so long: estimates follow."""
        self._lengths.add(length_s)

    def withdraw(self, place: Place) -> None:
        """Nobody is there any more."""
        if self._registry.withdraw(place):
            self.tell_all()

    def leave(self, guild_id: int, channels: Collection[int]) -> bool:
        """Nobody in these channels of a guild wants to wait any more; whether somebody did."""
        gone = [place for place in self._registry.queue if place.guild_id == guild_id and place.channel_id in channels]
        for place in gone:
            self._registry.withdraw(place)
        self.tell_all()
        return bool(gone)

    def _still_waits(self, place: Place) -> bool:
        voice_channel = self._guilds.voice_channel_at(place)
        if voice_channel is None or not voice_channel.callers:
            return False
        problem = voice_channel.obstacle() or self._guilds.refusal()
        if problem:
            self._notices.say_once(voice_channel, texts.calls.could_not_join(place.channel_id, problem))
        return problem is None

    def _may_begin(self, guild_id: int) -> bool:
        return not self._moves.wait_s(guild_id)

    def _greet(self, granted: Granted) -> None:
        voice_channel, ticket = self._guilds.voice_channel_at(granted.place), granted.ticket
        if voice_channel and ticket and ticket in self._told:
            self._notices.say(voice_channel, texts.waiting.YOUR_TURN, key=("queue", ticket.serial))

    def tell_all(self) -> None:
        """Correct what those read who wait for an engine: their number has changed, or there is none any more."""
        waiting = {self._registry.ticket(place) for place in self._registry.queue}
        self._told = {ticket: number for ticket, number in self._told.items() if ticket in waiting}
        if self.closed or not self._settled:
            return
        for place in self._registry.queue:
            voice_channel = self._guilds.voice_channel_at(place)
            if voice_channel and not self._registry.seat(place.guild_id):
                self._tell_number(voice_channel)

    def _correct(self) -> None:
        """Correct what those read who were told another number."""
        for place in self._registry.queue:
            voice_channel, ticket = self._guilds.voice_channel_at(place), self._registry.ticket(place)
            if voice_channel and ticket in self._told and not self._registry.seat(place.guild_id):
                self._tell_number(voice_channel)

    def _tell_number(self, voice_channel: VoiceChannel) -> None:
        """One message for each time that they wait, changed in place when their number changes."""
        ticket, number = self._registry.ticket(voice_channel.place), self._registry.number(voice_channel.place)
        if self._settled and ticket and number and self._told.get(ticket) != number:
            self._told[ticket] = number
            self._notices.say(voice_channel, self.sentence(voice_channel.place, number), key=("queue", ticket.serial))
