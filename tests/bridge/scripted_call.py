"""A session on scripted parts, run as a task."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from discordplex.bridge.events import CallEvent
from discordplex.bridge.ports import SpeechSink
from discordplex.bridge.retry import RetryRule
from discordplex.bridge.session import VoiceSession, at_once
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bridge.scripted import PERSONA, ScriptedEars, ScriptedEngine, ScriptedLease, ScriptedLink, ScriptedSink, ScriptedSource


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    """A step that raises."""

    async def fail() -> None:
        raise error

    return fail


async def for_ever() -> None:
    """A step that never ends by itself."""
    await asyncio.get_running_loop().create_future()


class Call:
    """A session with everything around it, run as a task."""

    def __init__(
        self,
        clock: FakeClock,
        *engines: ScriptedEngine,
        rule: RetryRule | None = None,
        sink: SpeechSink | None = None,
        ears: ScriptedEars | None = None,
        lease: ScriptedLease | None = None,
        may_open: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.lease = lease or ScriptedLease(*engines)
        self.sink, self.source, self.link = ScriptedSink(clock), ScriptedSource(), ScriptedLink(1, 2)
        self.told: list[CallEvent] = []
        self.session = VoiceSession(
            lease=self.lease,
            persona=PERSONA,
            sink=sink or self.sink,
            source=self.source,
            link=self.link,
            on_event=self.told.append,
            clock=clock,
            metrics=self.metrics,
            ears=ears,
            may_open=may_open,
            retry_rule=rule,
            chance=lambda: 0.0,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the session as a task, up to where it waits for time."""
        self.task = asyncio.create_task(self.session.run())
        await settle()

    async def cancel(self) -> None:
        """End the call as the bot does."""
        assert self.task
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
