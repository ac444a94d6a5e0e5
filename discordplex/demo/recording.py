"""Recording: both sides of a call on one clock: where somebody speaks, and how soon the answer came. Pure."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from discordplex.audio.format import ENGINE

Levels: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"

FULL_SCALE = np.float32(32768)

SPEECH_DBFS = -45.0
"""A frame above this level is speech: far above what a codec makes of silence, far below quiet talking."""

PAUSE_S = 0.4
"""Shorter pauses belong to the speech around them."""

SHORTEST_S = 0.08
"""Anything shorter is a click."""

ANSWER_WITHIN_S = 5.0
"""Later speech of the bot is no answer to what was said before."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech, in seconds of the recording."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class ResponseTime:
    """From when the person stopped speaking (with an echo: began) to the bot's first audible frame."""

    asked_s: float
    answered_s: float

    @property
    def latency_ms(self) -> float:
        """How long the person waited."""
        return (self.answered_s - self.asked_s) * 1000


@dataclass(frozen=True, slots=True)
class Recording:
    """ENGINE PCM of both sides, of equal length, from the same moment on."""

    person: bytes
    bot: bytes

    @property
    def seconds(self) -> float:
        """Its length."""
        return ENGINE.duration_ms(len(self.person)) / 1000

    @property
    def stereo(self) -> bytes:
        """48 kHz stereo: left the person, right the bot."""
        left, right = np.frombuffer(self.person, "<i2"), np.frombuffer(self.bot, "<i2")
        return np.column_stack((left, right)).tobytes()


def paired(person: bytes, bot: bytes) -> Recording:
    """Both sides as one recording: silence is appended to the shorter one."""
    length = max(len(person), len(bot))
    return Recording(person.ljust(length, b"\0"), bot.ljust(length, b"\0"))


def levels(pcm: bytes, per_second: float = ENGINE.frames_per_second) -> Levels:
    """Root mean square of each slice, 1.0 being full scale."""
    wave = np.frombuffer(pcm, "<i2").astype(np.float32) / FULL_SCALE
    edges = np.arange(0, len(wave), ENGINE.rate_hz / per_second).astype(np.intp)
    if not len(edges):
        return np.zeros(0)
    sizes = np.diff(np.append(edges, len(wave)))
    return np.asarray(np.sqrt(np.add.reduceat(wave**2, edges) / sizes))


def spans(pcm: bytes) -> list[Span]:
    """The stretches of speech in ENGINE PCM."""
    loud = levels(pcm) > 10 ** (SPEECH_DBFS / 20)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(np.int8), [0]))))
    joined: list[Span] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        span = Span(float(start) * ENGINE.frame_seconds, float(end) * ENGINE.frame_seconds)
        if joined and span.start_s - joined[-1].end_s < PAUSE_S:
            span = Span(joined.pop().start_s, span.end_s)
        joined.append(span)
    return [span for span in joined if span.end_s - span.start_s >= SHORTEST_S]


def answers(person: list[Span], bot: list[Span], *, echo: bool = False) -> list[ResponseTime]:
    """How soon each thing the person said was answered.

    An echo is measured from beginning to beginning, since it starts while the person still speaks; everything else from the end of speech
    to the bot's first audible frame, where that comes before the person continues.
    """
    found = []
    begins = [span.start_s if echo else span.end_s for span in person]
    for asked_s, until_s in pairwise([*begins, float("inf")]):
        first = next((span.start_s for span in bot if asked_s <= span.start_s < min(until_s, asked_s + ANSWER_WITHIN_S)), None)
        if first is not None:
            found.append(ResponseTime(asked_s, first))
    return found
