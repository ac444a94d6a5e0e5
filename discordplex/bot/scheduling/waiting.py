"""WaitingList: tells people their place in the queue and the expected wait, and serves them when it is their turn."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import structlog

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.place import Place
from discordplex.bot.scheduling.context import SchedulingContext
from discordplex.bot.scheduling.registry import Answer, Asking, Elsewhere, Granted, Ticket, Waiting
from discordplex.bot.scheduling.running import RunningCalls
from discordplex.bot.scheduling.wait_estimate import Lengths, estimate
from discordplex.bot.texts.waiting import Estimate
from discordplex.bounded import drop_oldest

log = structlog.get_logger()


MOST_MESSAGES = 1000
"""Channels whose newest message about the queue is known."""


class WaitingList:
    """The registry's queue, with the messages to people. All methods: the event loop's thread."""

    def __init__(self, context: SchedulingContext, running: RunningCalls) -> None:
        """`running` has the ages of calls, for estimates."""
        self._guilds = context.guilds
        self._registry = context.registry
        self._notices = context.notices
        self._moves = context.moves
        self._clock = context.clock
        self._running = running
        self._lengths = Lengths()
        self._told: dict[Ticket, int] = {}
        self._messages: dict[Place, int] = {}
        """By which ticket's serial number the newest message about the queue in a channel is known."""
        self._restored = True
        self._held: set[Callable[[int], bool]] = set()
        """Guilds that are not known yet, while others are served."""
        self.closed = False
        """Whether the queue is closed: nobody is served any more."""
        self._registry.may_begin = self._may_begin

    def restore(self, order: Iterable[tuple[Place, int | None]]) -> bool:
        """Channels that had a call or waited before a restart come first, if their people are still there.

        Returns whether there are any; then call `finish_restore` later.
        """
        self._registry.restore(order)
        self._restored = not self._registry.queue
        return not self._restored

    def hold(self) -> None:
        """Some guilds are away: those who wait now come first when they are known again. Call `finish_restore` later."""
        self._restored = False

    def take_over(
        self, covers: Callable[[int], bool], order: Iterable[tuple[Place, int | None]] = (), since: Mapping[Place, float] | None = None
    ) -> None:
        """Channels of these guilds had a call or waited in another process, or before their connection was lost.

        They keep their places until `finish_take_over`; others are served meanwhile.
        """
        self._held.add(covers)
        self._registry.restore(order, since)

    def holds(self, covers: Callable[[int], bool]) -> bool:
        """Whether `finish_take_over` of these guilds is still to come."""
        return covers in self._held

    def finish_take_over(self, covers: Callable[[int], bool]) -> None:
        """These guilds are known: forget their channels without people."""
        self._held.discard(covers)
        for place in self._registry.queue:
            if covers(place.guild_id) and not self._guilds.is_away(place.guild_id) and not self._still_waits(place):
                self.withdraw(place)

    def hand_over(self, covers: Callable[[int], bool]) -> None:
        """Another process has these guilds now, and those who wait in them."""
        self._held.discard(covers)
        self._registry.abandon(covers)

    def finish_restore(self) -> bool:
        """Every guild is known: forget remembered channels without people. Returns whether this was still to be done."""
        if self._restored:
            return False
        self._restored = True
        for place in self._registry.queue:
            if not self._guilds.is_away(place.guild_id) and not self._still_waits(place):
                self.withdraw(place)
        return True

    def request(self, place: Place, asker: int | None) -> Answer:
        """Request an engine for a call that the rules allow. Without a free one, the channel is in the queue."""
        answer = self._registry.request(place, asker, self._may_begin)
        if self._restored and not isinstance(answer, Granted):
            self._correct()  # a new guild comes before the second channel of another one
        return answer

    def tell(self, place: Place, answer: Answer) -> None:
        """Post in the channel what it waits for."""
        voice_channel = self._guilds.voice_channel_at(place)
        if voice_channel and isinstance(answer, Waiting):
            self._tell_number(voice_channel)
        elif voice_channel and isinstance(answer, Elsewhere):
            self._notices.say_once(voice_channel, texts.calls.elsewhere(answer.channel_id))
        elif voice_channel and isinstance(answer, Asking):
            self._tell_if_cut_off(voice_channel)

    def sentence(self, place: Place, number: int) -> str:
        """What `tell` posts about a number in the queue."""
        return texts.waiting.waiting(number, self.expected(place))

    def expected(self, place: Place) -> Estimate | None:
        """The expected wait; None if it is unknown, or the channel does not wait for an engine."""
        number = self._registry.number(place)
        if number is None or self._registry.call(place.guild_id):
            return None
        now, calls, shared = self._clock.now(), self._running.calls.values(), self._registry.shared
        boxes_s = [self._guilds.rules(call.voice_channel.place.guild_id).max_s for call in calls]
        elsewhere = shared.calls_elsewhere
        there = shared.now() if elsewhere else 0.0
        ages_s = [*(now - call.since for call in calls), *(max(0.0, there - call.since) for call in elsewhere)]
        lengths = Lengths(shared.lengths_s) if shared.shared else self._lengths
        return estimate(number, ages_s=ages_s, lengths=lengths, box_s=max(boxes_s, default=0.0))

    def serve(self) -> Iterator[Granted]:
        """Give free engines to the queue, in its order. Start each call before the next step of this iterator."""
        if self.closed or not self._restored:
            return
        before = self._registry.queue
        while granted := self._registry.serve(self._still_waits, self._may_begin):
            self._greet(granted)
            yield granted
        if self._registry.queue != before:
            self.tell_all()

    def learn(self, length_s: float) -> None:
        """A call that heard people has ended after this long: update the estimates."""
        self._lengths.add(length_s)
        self._registry.shared.ended(length_s)

    def withdraw(self, place: Place) -> None:
        """Everybody has left this channel: remove it from the queue."""
        if self._registry.withdraw(place):
            self.tell_all()

    def leave(self, guild_id: int, channels: Collection[int]) -> bool:
        """Remove these channels of a guild from the queue; returns whether any of them was there."""
        gone = [place for place in self._registry.queue if place.guild_id == guild_id and place.channel_id in channels]
        for place in gone:
            self._registry.withdraw(place)
        self.tell_all()
        return bool(gone)

    def _still_waits(self, place: Place) -> bool:
        voice_channel = self._guilds.voice_channel_at(place)
        if voice_channel is None or not voice_channel.callers:
            return False
        problem = voice_channel.obstacle() or self._guilds.persona_refusal()
        used_up = self._running.used_up(place.guild_id)
        if problem or used_up:
            self._notices.say_once(voice_channel, texts.calls.could_not_join(place.channel_id, problem) if problem else used_up or "")
        return not (problem or used_up)

    def _may_begin(self, guild_id: int) -> bool:
        """Until `finish_restore` a guild that is away keeps its place, and nobody who comes later overtakes it."""
        return not (self._is_held(guild_id) or self._moves.wait_s(guild_id) or (self._restored and self._guilds.is_away(guild_id)))

    def _is_held(self, guild_id: int) -> bool:
        return any(covers(guild_id) for covers in self._held)

    def _greet(self, granted: Granted) -> None:
        voice_channel, message = self._guilds.voice_channel_at(granted.place), self._messages.get(granted.place)
        if voice_channel and message and granted.ticket in self._told:
            del self._messages[granted.place]
            self._notices.say(voice_channel, texts.waiting.YOUR_TURN, key=("queue", message))

    def tell_all(self) -> None:
        """Update the messages of all who wait for an engine."""
        waiting = {self._registry.ticket(place) for place in self._registry.queue}
        self._told = {ticket: number for ticket, number in self._told.items() if ticket in waiting}
        if self.closed or not self._restored:
            return
        for place in self._registry.queue:
            voice_channel = self._guilds.voice_channel_at(place)
            if voice_channel and not self._registry.call(place.guild_id):
                self._tell_number(voice_channel)
                self._tell_if_cut_off(voice_channel)

    def _tell_if_cut_off(self, voice_channel: VoiceChannel) -> None:
        """Post that the other processes cannot be asked, where the channel's number is not known."""
        if self._is_held(voice_channel.place.guild_id):
            return
        if not self._registry.shared.reachable and self._registry.number(voice_channel.place) is None:
            self._notices.say_once(voice_channel, texts.waiting.DATABASE_AWAY)

    def _correct(self) -> None:
        """Update the messages with a number that has changed."""
        for place in self._registry.queue:
            voice_channel, ticket = self._guilds.voice_channel_at(place), self._registry.ticket(place)
            if voice_channel and ticket in self._told and not self._registry.call(place.guild_id):
                self._tell_number(voice_channel)

    def _tell_number(self, voice_channel: VoiceChannel) -> None:
        """Post or edit the message of this wait. It is edited when the number changes, and where people come back very often."""
        ticket, number = self._registry.ticket(voice_channel.place), self._registry.number(voice_channel.place)
        place = voice_channel.place
        if self._restored and not self._is_held(place.guild_id) and ticket and number and self._told.get(ticket) != number:
            message = self._messages.pop(place, None)
            if ticket not in self._told and self._notices.may_repeat(place, "queue"):
                message = None
            self._messages[place], self._told[ticket] = message or ticket.serial, number
            drop_oldest(self._messages, MOST_MESSAGES)
            self._notices.say(voice_channel, self.sentence(place, number), key=("queue", self._messages[place]))
