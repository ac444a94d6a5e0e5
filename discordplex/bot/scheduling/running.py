"""RunningCalls: starts, moves and ends the calls that run now. The dispatcher decides which."""

import functools

import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import AnyCall, Next, Outcome
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.place import Place
from discordplex.bot.scheduling.context import SchedulingContext
from discordplex.bot.scheduling.registry import Granted

log = structlog.get_logger()

GRACE_S = 2.0
"""How long the bot stays in an empty channel, in case a client only reconnects. It must leave within 5 s."""

FOLLOW_TIMEOUT_S = 5.0
"""How long Discord may take to move the bot."""


class RunningCalls:
    """The running call of each guild. All methods: the event loop's thread."""

    def __init__(self, context: SchedulingContext) -> None:
        self._guilds = context.guilds
        self._registry = context.registry
        self._notices = context.notices
        self._timers = context.timers
        self._moves = context.moves
        self._daily_limit = context.daily_limit
        self._calls: dict[int, AnyCall] = {}
        self._goals: dict[int, int] = {}
        """The channels that calls are moving to, by guild."""

    @property
    def calls(self) -> dict[int, AnyCall]:
        """The calls by guild, including calls that are ending."""
        return dict(self._calls)

    def lasting(self, guild_id: int) -> AnyCall | None:
        """The guild's call; None if it has none, or the call is ending."""
        registered = self._registry.call(guild_id)
        return None if registered is None or registered.ending else self._calls.get(guild_id)

    def used_up(self, guild_id: int) -> str | None:
        """Why the guild gets no other call today, as a sentence; None if it may have one, or has one that goes on."""
        return None if self.lasting(guild_id) else self._daily_limit.refusal(guild_id)

    def make(self, granted: Granted, *, quiet: bool) -> AnyCall | None:
        """Make the call for a granted engine; `run` it next. If its channel is gone, returns None and frees the engine."""
        guild_id = granted.place.guild_id
        voice_channel = self._guilds.voice_channel_at(granted.place)
        if voice_channel is None:
            self._registry.end(guild_id)
            return None
        call = self._calls[guild_id] = self._guilds.new_call(voice_channel, granted.lease, quiet=quiet, asker=granted.asker)
        self._moves.made(guild_id)
        return call

    async def run(self, guild_id: int, call: AnyCall) -> Outcome:
        """Run a call from `make` to its end. When this returns, its engine is free."""
        try:
            return await call.run()
        except Exception:  # the edge: a bug in one call must not end the others
            log.exception("call failed", guild=guild_id)
            return Outcome(texts.calls.INTERNAL, Next.RETRY)
        finally:
            self._timers.cancel(("grace", guild_id))
            self._timers.cancel(("follow", guild_id))
            self._goals.pop(guild_id, None)
            self._moves.forget(guild_id, [None])
            self._moves.made(guild_id)
            self._registry.end(guild_id)
            del self._calls[guild_id]

    def rescue(self) -> None:
        """Give free engines to calls that lost theirs, the oldest call first."""
        for call in sorted(self._calls.values(), key=lambda call: call.since):
            call.rescue()

    def follow(self, guild_id: int, channel_id: int) -> None:
        """Move with the people into another channel. If that is not possible, say so and end the call."""
        call, voice_channel = self._calls[guild_id], self._guilds.voice_channel_at(Place(guild_id, channel_id))
        problem = texts.calls.INTERNAL if voice_channel is None else voice_channel.obstacle()
        if voice_channel is None or problem:
            self._notices.say_once(
                voice_channel or call.voice_channel, texts.calls.could_not_join(channel_id, problem or texts.calls.INTERNAL)
            )
            self.hang_up(guild_id)
            return
        self._registry.move(guild_id, channel_id)
        self._goals[guild_id] = channel_id
        self._moves.when_possible(guild_id, functools.partial(self._move, guild_id))

    def moved(self, guild_id: int, channel_id: int) -> None:
        """Discord moved the bot: after its people, or because a moderator moved it."""
        call, voice_channel = self.lasting(guild_id), self._guilds.voice_channel_at(Place(guild_id, channel_id))
        if call is None or voice_channel is None:
            return
        self._timers.cancel(("follow", guild_id))
        call.voice_channel = voice_channel
        if self._goals.get(guild_id, channel_id) != channel_id:
            return  # the people have moved again meanwhile; the next move goes there
        self._goals.pop(guild_id, None)
        self._registry.move(guild_id, channel_id)
        self.hang_up_where_unwanted(guild_id)
        if not voice_channel.people:
            self.hang_up_when_empty(guild_id)

    def hang_up_where_unwanted(self, guild_id: int) -> None:
        """End the call, and say why, if the rules or the permissions do not allow the bot to stay in its channel."""
        call = self.lasting(guild_id)
        if call and (reason := call.voice_channel.unwanted or call.voice_channel.closed_to_us):
            self._notices.say_once(call.voice_channel, texts.calls.left_because(call.voice_channel.place.channel_id, reason))
            self.hang_up(guild_id)

    def hang_up_when_empty(self, guild_id: int) -> None:
        """End the call after `GRACE_S`, unless somebody is back by then."""
        self._timers.later(("grace", guild_id), GRACE_S, functools.partial(self.hang_up_if_empty, guild_id))

    def hang_up_if_empty(self, guild_id: int) -> None:
        """End the call if nobody is in its channel, or in the one that it is moving to."""
        call, registered = self._calls.get(guild_id), self._registry.call(guild_id)
        if call is None or registered is None:
            return
        voice_channel = self._guilds.voice_channel_at(Place(guild_id, registered.channel_id)) or call.voice_channel
        if not voice_channel.people:
            self.hang_up(guild_id)

    def hang_up(self, guild_id: int, after: Next = Next.DONE) -> None:
        """End the guild's call, if it has one; its outcome says that `after` comes next."""
        call = self._calls.get(guild_id)
        if call:
            self._registry.ending(guild_id)
            call.hang_up(after)

    def hang_up_all(self) -> None:
        """End every call."""
        for guild_id in self.calls:
            self.hang_up(guild_id)

    def _move(self, guild_id: int) -> None:
        """Move to the channel of the call's people."""
        call, goal = self.lasting(guild_id), self._goals.get(guild_id)
        voice_channel = None if goal is None else self._guilds.voice_channel_at(Place(guild_id, goal))
        if call is None or voice_channel is None or call.voice_channel.place == voice_channel.place:
            self._goals.pop(guild_id, None)
            return
        self._moves.made(guild_id)
        self._timers.later(("follow", guild_id), FOLLOW_TIMEOUT_S, functools.partial(self._could_not_follow, guild_id, voice_channel))
        self._timers.beside(("moving", guild_id), call.follow(voice_channel))

    def _could_not_follow(self, guild_id: int, voice_channel: VoiceChannel) -> None:
        self._notices.say_once(voice_channel, texts.calls.could_not_join(voice_channel.place.channel_id, texts.calls.NOT_LET_IN))
        self.hang_up(guild_id)
