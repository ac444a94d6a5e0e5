"""GatedSink: who is speaking. It is placed between the sink and the uplink, and can keep noise out."""

from collections.abc import Callable, Mapping

from discordplex.audio.format import ENGINE
from discordplex.audio.vad import FLOOR_DBFS, HOLD_TICKS, SpeechGate
from discordplex.bridge.ports import HearingSink
from discordplex.clock import Clock
from discordplex.engine import SpeakerId

FORGET_S = 60.0
"""A person who has sent nothing for this long loses their gate; their next word gets a new one."""


class GatedSink:
    """A `HearingSink` in front of another one. Thread: loop.

    With `noise_gate` the frames of people who are not speaking are left out, so that an engine hears true silence when nobody speaks. A
    frame loud enough to open a gate passes at once: the gate itself waits for a second one, which would cost the word's onset.
    """

    def __init__(self, sink: HearingSink, *, clock: Clock, noise_gate: bool = False) -> None:
        self.noise_gate = noise_gate
        self.ignored: frozenset[SpeakerId] = frozenset()
        """People whose frames are dropped, although the sink still returns them."""
        self._sink = sink
        self._clock = clock
        self._gates: dict[SpeakerId, SpeechGate] = {}
        self._heard_at: dict[SpeakerId, float] = {}
        self._began = clock.now()
        self._spoken_at: float | None = None
        self.last_arrival: float | None = None
        """The sink's; None where everything was left out."""
        self.surplus_s: float | None = None
        """The sink's; None where everything was left out."""

    @property
    def speaking(self) -> frozenset[SpeakerId]:
        """Who is speaking right now."""
        return frozenset(speaker for speaker, gate in self._gates.items() if gate.is_open)

    def level_dbfs(self, speaker: SpeakerId) -> float:
        """How loud a person was in the last tick."""
        gate = self._gates.get(speaker)
        return FLOOR_DBFS if gate is None else gate.level_dbfs

    @property
    def quiet_s(self) -> float:
        """For how long nobody has spoken; from the beginning, where nobody has yet."""
        return self._clock.now() - (self._began if self._spoken_at is None else self._spoken_at)

    @property
    def pause_s(self) -> float:
        """For how long no speech has come. A gate closes only some time after the last word."""
        return 0.0 if self.speaking else self.quiet_s + HOLD_TICKS * ENGINE.frame_seconds

    @property
    def on_all_heard(self) -> Callable[[], None]:
        """The sink's."""
        return self._sink.on_all_heard

    @on_all_heard.setter
    def on_all_heard(self, callback: Callable[[], None]) -> None:
        self._sink.on_all_heard = callback

    def restart(self) -> None:
        """Count the silence from now on."""
        self._spoken_at = self._clock.now()

    def take(self, now: float | None = None, /) -> Mapping[SpeakerId, bytes]:
        """The next frame of each speaker who has one, gated."""
        frames = self._sink.take(now)
        if not self.ignored.isdisjoint(frames):
            frames = {speaker: frame for speaker, frame in frames.items() if speaker not in self.ignored}
        if frames or self._gates:
            self._judge(frames)
        if self.noise_gate:
            frames = {speaker: frame for speaker, frame in frames.items() if self._gates[speaker].lets_pass}
        self.last_arrival, self.surplus_s = (self._sink.last_arrival, self._sink.surplus_s) if frames else (None, None)
        return frames

    def forget(self, user_id: SpeakerId, /) -> None:
        """Somebody left or opted out."""
        self._sink.forget(user_id)
        self._gates.pop(user_id, None)
        self._heard_at.pop(user_id, None)

    def _judge(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Update every gate for one tick: no packet means silence."""
        now = self._clock.now()
        for speaker in frames.keys() - self._gates.keys():
            self._gates[speaker] = SpeechGate()
        for speaker, gate in list(self._gates.items()):
            frame = frames.get(speaker)
            if gate.update(frame):
                self._spoken_at = now
            if frame is not None:
                self._heard_at[speaker] = now
            elif now - self._heard_at[speaker] > FORGET_S:
                del self._gates[speaker], self._heard_at[speaker]
