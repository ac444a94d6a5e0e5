"""PersonaPlexEngine: the engine port over the PersonaPlex protocol. A client, an OggOpus stream each way, and a watchdog."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType

import structlog
from typing_extensions import Self

from discordplex.audio.format import ENGINE, MODEL, MODEL_STEP_MS
from discordplex.audio.mixer import mix
from discordplex.audio.oggopus import OggOpusReader, OggOpusWriter, TooMuchError
from discordplex.audio.opus import LIGHT
from discordplex.clock import Clock
from discordplex.engine import (
    BUSY,
    Audio,
    Closed,
    EngineCaps,
    EngineEvent,
    EngineReady,
    Persona,
    PersonaIgnored,
    Problem,
    SpeakerId,
    Text,
    until_closed,
)
from discordplex.errors import EngineError, LocalProtocolError, RemoteProtocolError
from discordplex.metrics import Metrics
from discordplex.personaplex import connection
from discordplex.personaplex.client import PersonaPlexClient
from discordplex.personaplex.endings import NOT_READY, Ending
from discordplex.personaplex.endpoint import Endpoint, check_prompt, check_voice
from discordplex.personaplex.lag import TRICKLE_S, TRICKLE_SHARE, LagTracker
from discordplex.personaplex.mailbox import Mailbox
from discordplex.personaplex.memory import memory_s
from discordplex.personaplex.text import TextJoiner
from discordplex.plaintext import one_line

STALL_S = 3.0
"""Nothing came for this long although the server has something to answer: one that was told to stop, a stuck lock and a dead peer all look
like this. Shorter silences are hiccups of a shared GPU or a paused machine: they pass, and nobody is told."""

SLOW_S = 10
"""A server that answers and yet falls behind for this long is reported to people as too slow."""

WATCH_S = 0.25
"""How often the watchdog runs."""

SERVED_MS = 10_000.0
"""This much received audio shows that a server works. Its upgrade, and even its handshake, show nothing."""

UPLINK_BITRATE = 80_000
"""With libopus's low-delay mode: heard 4 ms earlier than through sphn's fixed settings, for a third of the CPU, and no worse (PESQ 4.23
against 4.15 on speech-like sound through the real server's decoder, at 64 kbit/s with the longest search; `audio.opus.LIGHT` has a
shorter one, for which 80 kbit/s make up: segmental SNR 24.8 dB instead of 24.5)."""

HEARD_HZ = MODEL.rate_hz // 2
"""The model hears nothing above it. Without these frequencies a frame takes 39 us to encode instead of 46, and the others get their bits
(segmental SNR 23.5 dB instead of 22.7, decoded at the model's rate)."""

SPOKEN_LIMIT = 200
"""Characters of a server's own error text that are passed on."""

log = structlog.get_logger()


class ServerReport(enum.Enum):
    """What a conversation showed about its server."""

    SERVED = "served"
    FAILED = "failed"
    LATE = "late"
    """Failed: it took the call, but there was no handshake in time."""


class PersonaPlexEngine:
    """One conversation with one server; do not open it twice. `report` is called on the loop with what it showed about the server.

    `window_s` is how long the model's memory lasts, prompts included; 0: for ever.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        persona: Persona,
        clock: Clock,
        metrics: Metrics,
        handshake_timeout_s: float = 60.0,
        verify_tls: bool = True,
        window_s: float = 0.0,
        report: Callable[[ServerReport], None] = lambda _: None,
    ) -> None:
        self._endpoint = endpoint
        self.caps = EngineCaps(realtime_paced=True, memory_s=memory_s(window_s, persona.text_prompt), kind="personaplex")
        self._persona = persona
        self._clock = clock
        self._timeout_s = handshake_timeout_s
        self._report = report
        self._mailbox = Mailbox()
        self._joiner = TextJoiner()
        self._lag_tracker = LagTracker()
        self._writer: OggOpusWriter | None = None
        self._reader: OggOpusReader | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._warned = False
        self._served = False
        self._opened = False
        self._pages_came = False
        self._persona_ignored = False
        self._last_block_at = 0.0
        self._measure(metrics)
        self._client = PersonaPlexClient(endpoint=endpoint, persona=persona, clock=clock, verify_tls=verify_tls, on_event=self._on_event)

    def _measure(self, metrics: Metrics) -> None:
        self._frames_sent = metrics.counter("engine.frames_sent")
        self._frames_dropped = metrics.counter("engine.frames_dropped")
        self._blocks_received = metrics.counter("engine.blocks_received")
        self._blocks_damaged = metrics.counter("engine.blocks_damaged")
        self._events_dropped = metrics.gauge("engine.events_dropped")
        self._bad_messages = metrics.gauge("engine.bad_messages")
        self._lag = metrics.gauge("engine.lag_ms")
        self._handshake = metrics.gauge("engine.handshake_ms")
        self._write_time = metrics.histogram("engine.uplink_write_ms")
        self._read_time = metrics.histogram("engine.downlink_read_ms")
        self._spacing = metrics.histogram("engine.block_spacing_ms")

    async def __aenter__(self) -> Self:
        """Connect and return once the engine listens. Raises EngineError with a sentence for people."""
        if self._opened:
            raise LocalProtocolError("an engine is opened once; make a new one")
        self._opened = True
        refusal = check_voice(self._persona.voice) or check_prompt(self._persona.text_prompt)
        if refusal:
            raise EngineError(refusal, retry=False, cause="refused persona")
        started = self._clock.now()
        await self._client.open(self._timeout_s)
        self._handshake.set((self._clock.now() - started) * 1000)
        log.info("engine ready", server=self._endpoint.name, handshake_ms=round(self._handshake.value))
        self._watchdog = asyncio.create_task(self._watch(), name=f"personaplex watchdog: {self._endpoint.name}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the socket, whatever happened: a server keeps its lock for a client that is merely silent."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        await self._client.close()
        if self._watchdog is not None:
            await asyncio.gather(self._watchdog, return_exceptions=True)

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Send one tick: the speakers' mix, or silence; see `VoiceEngine.push`."""
        writer = self._writer
        if writer is None or not self._client.live:
            return
        if not self._lag_tracker.may_send(speech=bool(frames), backlog_bytes=self._client.backlog_bytes):
            self._frames_dropped.add()
            self._lag_tracker.shed(self._clock.now())
            return
        started = self._clock.now()
        page = writer.write(mix(frames.values()) if frames else ENGINE.silence)
        if page:
            self._client.send_audio(page)
        now = self._clock.now()
        self._lag_tracker.sent(now)
        self._frames_sent.add()
        self._write_time.record((now - started) * 1000)

    def events(self) -> AsyncIterator[EngineEvent]:
        """The engine's events in order, from EngineReady to Closed. One consumer."""
        return until_closed(self._mailbox.take)

    def end(self, closed: Closed) -> None:
        """End the conversation at once, as if the server had: its connection is cut."""
        self._client.cut(Ending(closed.reason, closed.retry, closed.cause))

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        """Do nothing: the model hears people while it speaks, and stops by itself."""

    async def forget(self, speaker: SpeakerId) -> None:
        """Do nothing: speakers are mixed and sent within the tick that brings them, and the model on the server cannot forget."""

    async def pause(self) -> None:
        """Do nothing: nothing is held back, and the model stops when it hears silence."""

    def _on_event(self, event: connection.Event) -> None:
        if isinstance(event, connection.AudioCame):
            self._on_audio(event.ogg)
        elif isinstance(event, connection.TextCame):
            if self._may_tell(event.piece):
                self._tell_text(self._joiner.feed(event.piece))
        elif isinstance(event, connection.Opened):
            # A new stream for each conversation, and not earlier: the server discards what comes before the handshake, and fails on a
            # stream whose first page it has not seen.
            self._writer = OggOpusWriter(
                ENGINE.rate_hz, bitrate=UPLINK_BITRATE, application="lowdelay", complexity=LIGHT, highest_hz=HEARD_HZ
            )
            self._reader = OggOpusReader(ENGINE.rate_hz, may_decode=self._may_decode)
            self._mailbox.put(EngineReady())
        elif isinstance(event, PersonaIgnored):
            self._keeps_persona()
        elif isinstance(event, connection.Complained):
            if self._may_tell(event.text):
                words = one_line(event.text, SPOKEN_LIMIT)
                self._mailbox.put(Problem(f"PersonaPlex reports a problem: {words}", service="engine", cause="complaint"))
        else:
            self._on_end(event.ending)
        self._events_dropped.set(self._mailbox.dropped)
        self._bad_messages.set(self._client.bad_messages)

    def _on_audio(self, ogg: bytes) -> None:
        if self._reader is None:
            return
        arrived = self._clock.now()
        try:
            pcm = self._reader.read(ogg)
        except TooMuchError:
            self._client.exceed("sound")
            return
        except RemoteProtocolError as fault:
            # The step after a damaged page was taken all the same; without it the tracker would show a lag that does not exist.
            self._blocks_damaged.add()
            self._lag_tracker.damaged(MODEL_STEP_MS)
            self._client.damage(fault)
            return
        if pcm:
            self._lag_tracker.received(ENGINE.duration_ms(len(pcm)))
        if pcm and not self._pages_came:
            # NVIDIA's server sends the stream's header pages alone, kyutai's Python server together with the first sound.
            self._keeps_persona()
        self._pages_came = True
        if pcm:
            self._mailbox.put(Audio(pcm))
            self._note_block(arrived)

    def _note_block(self, arrived: float) -> None:
        if self._blocks_received.value:
            self._spacing.record((arrived - self._last_block_at) * 1000)
        self._last_block_at = arrived
        self._blocks_received.add()
        self._warn_when_slow(arrived)
        self._lag.set(self._lag_tracker.lag_ms)
        self._read_time.record((self._clock.now() - arrived) * 1000)
        if not self._served and self._lag_tracker.received_ms >= SERVED_MS:
            self._served = True
            self._report(ServerReport.SERVED)

    def _may_decode(self, milliseconds: float) -> bool:
        return self._client.budget.sound(milliseconds, self._clock.now())

    def _may_tell(self, text: str) -> bool:
        allowed = self._client.budget.text(len(text), self._clock.now())
        if not allowed:
            self._client.exceed("text")
        return allowed

    def _keeps_persona(self) -> None:
        if not self._persona_ignored:
            self._persona_ignored = True
            self._mailbox.put(PersonaIgnored())

    def _tell_text(self, text: str) -> None:
        if text:
            self._mailbox.put(Text(text))

    def _on_end(self, ending: Ending) -> None:
        self._writer = self._reader = None  # their memory is free at once, a megabyte
        self._tell_text(self._joiner.flush())
        self._mailbox.put(Closed(ending.reason, retry=ending.retry, cause=ending.cause))
        if ending.cause in ("left", BUSY):
            log.info("engine left", server=self._endpoint.name, sent_s=round(self._lag_tracker.sent_ms / 1000, 1))
            return
        log.warning("engine lost", server=self._endpoint.name, cause=ending.cause, retry=ending.retry)
        self._report(ServerReport.LATE if ending.cause == NOT_READY else ServerReport.FAILED)

    def _warn_when_slow(self, now: float) -> None:
        """Report once that the server cannot keep up: it answers all the time, and frames have had to be left out for `SLOW_S`.

        Not while it is silent or sends next to nothing: that is a hiccup, which passes, or a stall, which is reported as one.
        """
        if self._warned or self._lag_tracker.shedding_for_s(now) < SLOW_S or self._lag_tracker.trickles(SLOW_S):
            return
        self._warned = True
        behind_s = max(self._lag_tracker.behind_ms, 0) / 1000
        log.warning("engine too slow", server=self._endpoint.name, behind_s=round(behind_s, 1))
        reason = f"PersonaPlex at {self._endpoint.name} cannot keep up, so it does not hear all that is said. It needs a faster GPU."
        self._mailbox.put(Problem(reason, service="engine"))

    async def _watch(self) -> None:
        while True:
            due = self._clock.now() + WATCH_S
            await self._clock.sleep_until(due)
            late_s = self._clock.now() - due
            if late_s > WATCH_S:
                self._lag_tracker.excuse(late_s)
            self._lag.set(self._lag_tracker.lag_ms)
            silent_s = self._lag_tracker.silent_for_s(self._clock.now())
            if silent_s > STALL_S:
                self._client.stalled(silent_s)
                return
            if self._lag_tracker.trickles():
                self._client.trickled(TRICKLE_SHARE, TRICKLE_S)
                return
