"""PeriodicChecks: checks every second while calls run: time limits, minutes that cost money, idle calls, the status line."""

import structlog

from discordplex.bot import texts
from discordplex.bot.call.interface import AnyCall, Next
from discordplex.bot.guild_rules import MINUTE_S
from discordplex.bot.scheduling.context import SchedulingContext
from discordplex.bot.scheduling.daily_limit import NOTICE_SHARE
from discordplex.bot.scheduling.running import RunningCalls
from discordplex.bot.scheduling.time_limit import End, Reprieve, Running, TimeBox, Verdict, Warn

log = structlog.get_logger()

ROUND_S = 1.0
"""How often the checks run."""

LONGEST_ROUND_S = 5.0
"""A round that comes later finds a process that stood still: nobody has talked meanwhile, and its calls may be another process's."""


class PeriodicChecks:
    """Runs the checks while there are calls. All methods: the event loop's thread."""

    def __init__(self, context: SchedulingContext, running: RunningCalls) -> None:
        self._registry = context.registry
        self._rules = context.guilds.rules
        self._notices = context.notices
        self._timers = context.timers
        self._clock = context.clock
        self._running = running
        self._box = TimeBox()
        self._daily_limit = context.daily_limit
        self._counted_at = 0.0
        self._warned: set[int] = set()
        """Guilds whose call has got the notice that their minutes are nearly used up."""

    def begin(self) -> None:
        """There is a call: run the checks until there is none."""
        if "round" not in self._timers:
            self._counted_at = self._clock.now()
            self._timers.later("round", ROUND_S, self._go_round)

    def _go_round(self) -> None:
        elapsed_s = self._clock.now() - self._counted_at
        if elapsed_s <= LONGEST_ROUND_S:
            self._check_calls(elapsed_s)
        if self._running.calls:
            self.begin()

    def _check_calls(self, elapsed_s: float) -> None:
        self._count_minutes(elapsed_s)
        lasting = self._lasting()
        for call in lasting.values():
            call.show_status(self._status_of(call))
            if not self._registry.length:
                call.return_to_preferred()
        self._look_for_idleness(lasting)
        for verdict in self._judge(lasting):
            self._execute(verdict)

    def _lasting(self) -> dict[int, AnyCall]:
        """The calls that are not ending, by guild."""
        return {guild_id: call for guild_id in self._running.calls if (call := self._running.lasting(guild_id))}

    def _count_minutes(self, elapsed_s: float) -> None:
        """Count the minutes that cost money; give a notice when few are left, and end the call when none is."""
        lasting = self._lasting()
        self._warned &= lasting.keys()
        for guild_id, call in lasting.items():
            if not call.billed:
                continue
            self._daily_limit.add(guild_id, elapsed_s)
            share = self._daily_limit.share(guild_id)
            if share >= 1:
                self._end_costs(guild_id, call)
            elif share >= NOTICE_SHARE and guild_id not in self._warned:
                self._warned.add(guild_id)
                self._notices.say(call.voice_channel, texts.waiting.minutes_are_short(share, self._rules(guild_id).minutes_per_day))

    def _end_costs(self, guild_id: int, call: AnyCall) -> None:
        """The minutes are used up: the call continues with an engine that costs nothing, or ends."""
        log.info("minutes of a server used up", guild=guild_id)
        used_up = self._daily_limit.used_up(guild_id)
        if not call.replace_engine(used_up):
            self._notices.say(call.voice_channel, used_up)
            self._running.hang_up(guild_id, Next.DONE if self._daily_limit.refusal(guild_id) else Next.REQUEUE)

    def _status_of(self, call: AnyCall) -> str:
        """The status line below the channel's name."""
        waiting = self._registry.length
        if call.renewing:
            return texts.waiting.RENEWING
        if waiting:
            return texts.waiting.busy(waiting)
        return texts.waiting.PAUSED if call.paused else texts.waiting.LISTENING

    def _look_for_idleness(self, lasting: dict[int, AnyCall]) -> None:
        """End calls in which nobody has spoken for too long, the quietest first. If others wait, end only as many as they need."""
        wanted = self._waiting_for_any - (len(self._running.calls) - len(lasting))
        for guild_id, call in sorted(lasting.items(), key=lambda one: -one[1].quiet_s):
            own = guild_id in self._registry.wanting_their_own
            minutes = self._rules(guild_id).idle_limit_minutes(others_wait=own or wanted > 0, costs_money=call.costs_money)
            if minutes and call.quiet_s >= minutes * MINUTE_S:
                log.info("leaving idle call", guild=guild_id, quiet_s=round(call.quiet_s))
                self._notices.say(call.voice_channel, texts.waiting.idle(minutes))
                self._running.hang_up(guild_id)
                wanted -= 1

    @property
    def _waiting_for_any(self) -> int:
        """How many guilds wait for an engine."""
        return self._registry.wanting_an_engine if self._registry.free == 0 else 0

    def _judge(self, lasting: dict[int, AnyCall]) -> list[Verdict]:
        now = self._clock.now()
        running = [Running(guild_id, now - call.since, self._rules(guild_id).max_s) for guild_id, call in lasting.items()]
        return self._box.judge(now, running, waiting=self._waiting_for_any, wanted=self._registry.wanting_their_own)

    def _execute(self, verdict: Verdict) -> None:
        call = self._running.lasting(verdict.guild_id)
        if call is None:
            return
        if isinstance(verdict, Warn):
            self._notices.say(call.voice_channel, texts.waiting.time_is_short(verdict.in_s))
        elif isinstance(verdict, Reprieve):
            self._notices.say(call.voice_channel, texts.waiting.GOES_ON)
        elif isinstance(verdict, End):
            log.info("time limit reached", guild=verdict.guild_id)
            self._notices.say(call.voice_channel, texts.waiting.TIME_IS_UP)
            self._running.hang_up(verdict.guild_id, Next.REQUEUE)
