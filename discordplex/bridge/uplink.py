"""Uplink: people to engine. What the sink holds goes to the engine every 20 ms, silence included."""

import asyncio
from collections.abc import Callable

from discordplex.audio.fades import is_quiet
from discordplex.bridge.metronome import PERIOD_S, Metronome
from discordplex.bridge.ports import Ears, HearingSink
from discordplex.clock import Clock
from discordplex.engine import VoiceEngine
from discordplex.metrics import Metrics

CHORES_TICKS = 5
"""The call's chores run every so many ticks, ten times a second. A task of their own would wake between ticks, which costs several times
what the chores do."""

EARLY_S = PERIOD_S / 2
"""How long before its deadline a tick may come, once everybody who was heard in the last one is heard again. One wake then serves for
taking the packet and for sending its frame. The deadlines stay where they are, so that no tick is too many."""


def nothing() -> None:
    """No chores."""


class Uplink:
    """Sends one call's sound to its engine, and is the call's clock. Thread: loop.

    It ticks as long as the call lives, with an engine or without: while there is none, what people say is dropped, so that an engine never
    hears what was said before it listened.

    Metrics: `uplink.ticks` (frames of model time sent), `uplink.silent` (of those, without anybody speaking), `uplink.skipped` (ticks lost
    to a stall), `uplink.unheard` (frames that came while no engine was there, or while it was `deaf`), `uplink.wait_ms` (from a frame's
    arrival to the engine having taken it).
    """

    def __init__(
        self, *, sink: HearingSink, clock: Clock, metrics: Metrics, chores: Callable[[], None] = nothing, ears: Ears | None = None
    ) -> None:
        """`chores` is called ten times a second, after a tick; what it raises ends `run`. `ears` get what the engine gets, after it."""
        self.deaf = False
        """Set it to let the engine hear silence whatever people say."""
        self._sink = sink
        self._clock = clock
        self._chores = chores
        self._ears = ears
        self.engine: VoiceEngine | None = None
        """Who hears what people say; None: nobody."""
        self.next_engine: VoiceEngine | None = None
        """Who hears it beside that engine, to take over from it."""
        self._count = 0
        self._ticks = metrics.counter("uplink.ticks")
        self._silent = metrics.counter("uplink.silent")
        self._skipped = metrics.counter("uplink.skipped")
        self._unheard = metrics.counter("uplink.unheard")
        self._wait_ms = metrics.histogram("uplink.wait_ms")
        self._phase_ms = metrics.gauge("uplink.phase_ms")

    async def run(self) -> None:
        """Tick until cancelled. Raises what a tick or the chores raise."""
        self._metronome = Metronome(self._clock.now())
        self._over = asyncio.get_running_loop().create_future()
        self._timer = self._clock.call_at(self._metronome.due, self._tick)
        self._sink.on_all_heard = self._tick_early
        try:
            await self._over
        finally:
            self._sink.on_all_heard = nothing
            self._timer.cancel()

    def _tick_early(self) -> None:
        """Tick now, unless the last tick has only just been."""
        if self._metronome.due - self._clock.now() <= EARLY_S:
            self._timer.cancel()
            self._tick()

    def _tick(self) -> None:
        """Send one frame of model time, do the chores, and set the next deadline. A timer and no task: that halves the work of a wake."""
        if self._over.done():
            return
        try:
            if skipped := self._metronome.skip(self._clock.now()):
                self._skipped.add(skipped)
            self._push()
            if not self._count % CHORES_TICKS:
                self._chores()
                self._phase_ms.set(self._metronome.offset_s * 1000)
        except Exception as error:  # noqa: BLE001 -- `run` raises it
            self._over.set_exception(error)
        else:
            self._count += 1
            self._timer = self._clock.call_at(self._metronome.due, self._tick)

    def _push(self) -> None:
        metronome, engine = self._metronome, self.engine
        frames = self._sink.take(max(self._clock.now(), metronome.due))
        arrival = self._sink.last_arrival
        if engine is None or self.deaf:
            self._unheard.add(len(frames))
            frames = {}
        if engine is not None:
            self._ticks.add()
            engine.push(frames)
        if self.next_engine is not None:
            self.next_engine.push(frames)
        if self._ears is not None:
            self._ears.push(frames)
        if not frames or arrival is None:
            self._silent.add(engine is not None)
            metronome.tick_silent()
            return
        self._wait_ms.record((self._clock.now() - arrival) * 1000)
        if metronome.wants_quiet and all(map(is_quiet, frames.values())):
            metronome.tick_quiet()
        else:
            metronome.tick(self._sink.surplus_s)
