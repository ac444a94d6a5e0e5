"""Keeping a call connected: resume a session that lives, join again when it is gone, follow a move, and give up in time."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from discordplex.clock import Clock
from discordplex.retry import Backoff
from discordplex.token_bucket import TokenBucket
from discordplex.voice.close_codes import Closing, Repair
from discordplex.voice.connection_info import ConnectionInfo, ConnectionInfoCollector

log = structlog.get_logger()

MAX_TRIES = 10
SECOND_DELAY_S = 0.25
LONGEST_DELAY_S = 10.0
"""The first try is made at once: most losses are mended by it in 25 to 70 ms. The delays before the others double from the second's to the
longest. All tries take a minute with what they wait for."""

MAX_RESUMES = 3
"""Resumes in a row before a session is entered anew."""


STEADY_S = 10.0
"""A connection that flowed for so long has worked: the next loss is mended at once again."""

SHORT_PER_S, SHORT_AT_ONCE = 1 / 60, 6
"""How often one that flowed for a shorter time counts as having worked. More often and the tries go on where they were: a voice server that
ends each session after a second would use up the 110 messages a minute that the main gateway takes from all calls together."""


class ReconnectTries:
    """Tries since the connection last worked. What counts as working is for the caller: a mere connect does not."""

    def __init__(self) -> None:
        self._tries = 0
        self._backoff = Backoff(SECOND_DELAY_S, LONGEST_DELAY_S)

    @property
    def resumes_exhausted(self) -> bool:
        """Whether it is time for something stronger than a resume."""
        return self._tries > MAX_RESUMES

    def reset(self) -> None:
        """Audio or heartbeats have flowed."""
        self._tries = 0
        self._backoff.reset()

    def next_delay_s(self) -> float | None:
        """Seconds before the next try, None to give up."""
        if self._tries == MAX_TRIES:
            return None
        self._tries += 1
        return 0.0 if self._tries == 1 else self._backoff.failed()


MOVE_PATIENCE_S = 5.0
"""After close code 4014 or 4022, Discord names a new channel or server within this time, or we are out."""

SERVER_PATIENCE_S = 10.0
"""How long Discord may take to name a voice server."""

REMOVED = Closing(Repair.END, "the bot was removed from the voice channel")


class ReconnectableSession(Protocol):
    """One voice session over its WebSockets; `session.DiscordVoiceSession` is one."""

    @property
    def flows(self) -> bool:
        """Whether the newest WebSocket carried anything that proves it works."""
        ...

    async def run(self) -> Closing:
        """Serve one WebSocket to its end."""
        ...

    async def rest(self, seconds: float) -> None:
        """Wait, unless stopped."""
        ...

    def stop(self, closing: Closing) -> None:
        """End `run` or `rest`; the next `run` or the present one gives this."""
        ...

    def close(self) -> None:
        """Give its socket back."""
        ...


class Reconnector:
    """One call's decisions after each loss. For the loop only."""

    def __init__(
        self,
        *,
        info_collector: ConnectionInfoCollector,
        open_session: Callable[[ConnectionInfo], ReconnectableSession],
        enter: Callable[[], Awaitable[None]],
        leave: Callable[[], Awaitable[None]],
        on_loss: Callable[[Closing], None],
        clock: Clock,
        reconnect: bool,
    ) -> None:
        """`enter` and `leave` ask the main gateway; `on_loss` hears of each loss before it is mended."""
        self._info_collector = info_collector
        self._open_session = open_session
        self._enter = enter
        self._leave = leave
        self._on_loss = on_loss
        self._clock = clock
        self._reconnect = reconnect
        self._tries = ReconnectTries()
        self._short = TokenBucket(per_second=SHORT_PER_S, burst=SHORT_AT_ONCE)

    async def run(self) -> Closing:
        """Enter the channel and stay; returns when nothing can be mended any more, with the reason."""
        await self._enter()
        info = await self._info_collector.next_after(0, timeout_s=None)
        while info is not None:
            session = self._open_session(info)
            try:
                closing = await self._use(session)
            finally:
                session.close()
            if closing.repair is Repair.END:
                return closing
            self._on_loss(closing)
            info = await self._next_info(closing, info.number)
            if info is None and not self._info_collector.removed:
                return Closing(Repair.END, closing.sentence, closing.code)
        return REMOVED

    async def _use(self, session: ReconnectableSession) -> Closing:
        """Resume a session over its losses, until it has ended."""
        while True:
            begun = self._clock.now()
            closing = await session.run()
            now = self._clock.now()
            if session.flows and (now - begun >= STEADY_S or self._short.take(1, now)):
                self._tries.reset()
            if closing.repair is not Repair.RESUME:
                return closing
            if not self._reconnect:
                return Closing(Repair.END, closing.sentence, closing.code)
            if self._info_collector.current is None:  # Discord has taken the server away and will name another
                return Closing(Repair.WAIT, closing.sentence, closing.code)
            delay_s = self._tries.next_delay_s()
            if delay_s is None or self._tries.resumes_exhausted:
                return Closing(Repair.REJOIN, closing.sentence, closing.code)
            self._on_loss(closing)
            await session.rest(delay_s)

    async def _next_info(self, closing: Closing, number: int) -> ConnectionInfo | None:
        """The connection info of the next session; None where there is none."""
        if closing.repair is Repair.WAIT:
            patience_s = SERVER_PATIENCE_S if self._info_collector.current is None else MOVE_PATIENCE_S
            return await self._info_collector.next_after(number, timeout_s=patience_s)
        while self._reconnect and not self._info_collector.removed:
            delay_s = self._tries.next_delay_s()
            if delay_s is None:
                return None
            await self._clock.sleep_until(self._clock.now() + delay_s)
            if await self._reenter():
                info = await self._info_collector.next_after(number, timeout_s=SERVER_PATIENCE_S)
                if info is not None:
                    return info
        return None

    async def _reenter(self) -> bool:
        """Ask to leave and to enter again. False where the main gateway is away."""
        self._info_collector.expect_reentry()
        try:
            await self._leave()
            await self._enter()
        except Exception as error:  # noqa: BLE001 - whatever the library raises while its own gateway is down
            log.warning("voice state not changed", error=type(error).__name__)
            return False
        return True
