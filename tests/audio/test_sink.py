"""The Sink re-cuts, keeps speakers apart, and forgets in time."""

from dataclasses import dataclass
from typing import Any

import discord.sinks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.converter import downmix
from discordplex.audio.ducking import DUCKED_GAIN, HOLD_S, Ducking
from discordplex.audio.fades import fade_in, fade_out
from discordplex.audio.format import DISCORD, ENGINE
from discordplex.audio.sink import MAX_SPEAKERS, Sink
from discordplex.metrics import Metrics
from tests.audio.clock import SetClock
from tests.audio.signals import pcm, stereo, tone

FRAME = stereo(tone(0.02), tone(0.02, hz=700))
MONO = downmix(FRAME)


@dataclass
class Member:
    """Anything with an id."""

    id: int


@dataclass
class VoiceData:
    """The shape in which py-cord's own receiver hands PCM over."""

    pcm: bytes


def make_sink() -> tuple[Sink, SetClock, Metrics]:
    clock, metrics = SetClock(), Metrics()
    return Sink(clock=clock, metrics=metrics), clock, metrics


def test_of_the_ignored_nothing_is_kept() -> None:
    """What was not taken of theirs is gone, what they write afterwards too, and the others' frames stay; until they are heard again."""
    sink, _, _ = make_sink()
    for speaker in (7, 8):
        sink.write(FRAME, speaker)
    sink.ignore(frozenset({7}))
    sink.write(FRAME, 7)
    assert sink.take() == {8: MONO}
    sink.ignore(frozenset())
    assert 7 not in sink.take()
    sink.write(FRAME, 7)
    assert sink.take() == {7: MONO}


def test_the_ignored_do_not_turn_the_voice_down() -> None:
    """The ducking gets no sound of people who are ignored."""
    clock = SetClock()
    ducking = Ducking(clock=clock)
    sink = Sink(clock=clock, metrics=Metrics(), ducking=ducking)
    sink.ignore(frozenset({7}))
    for _ in range(10):
        sink.write(FRAME, 7)
    assert ducking.gain == 1.0


def test_it_is_a_sink_of_the_library() -> None:
    """py-cord takes it for what it is."""
    sink, _, _ = make_sink()
    assert isinstance(sink, discord.sinks.Sink)


@pytest.mark.parametrize("user", [7, Member(7)])
@pytest.mark.parametrize("data", [FRAME, VoiceData(FRAME)])
def test_a_frame_comes_out_as_mono(user: Any, data: Any) -> None:
    """A frame written under an id or an object with one is taken under the id, downmixed, and once."""
    sink, _, _ = make_sink()
    sink.write(data, user)
    assert sink.take() == {7: MONO}
    assert sink.take() != {7: MONO}
    assert sink.take() == {}


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=12))
def test_batches_of_any_length_become_exact_frames(cuts: list[int]) -> None:
    """However a stream of frames is cut, even within a sample, the same frames come out."""
    sink, clock, _ = make_sink()
    said = b"".join(stereo(tone(0.02, hz=300 + 50 * number)) for number in range(14))
    wanted = [downmix(said[start : start + DISCORD.frame_bytes]) for start in range(0, len(said), DISCORD.frame_bytes)]
    heard: list[bytes] = []
    start = 0
    for cut in cuts:
        sink.write(said[start : start + cut], 7)
        start = min(start + cut, len(said))
        while len(heard) < start // DISCORD.frame_bytes:
            heard += sink.take().values()
            clock.time += 0.02
    assert heard == wanted[: start // DISCORD.frame_bytes]
    assert list(sink.take().values()) == [fade_out(frame) for frame in heard[-1:]]
    assert sink.take() == {}


def test_a_batch_is_taken_a_frame_a_tick() -> None:
    """Ten frames written at once are one frame for each of ten takes."""
    sink, clock, metrics = make_sink()
    sink.write(FRAME * 10, 7)
    for _ in range(10):
        assert list(sink.take()) == [7]
        clock.time += 0.02
    sink.take()
    assert sink.take() == {}
    assert metrics.counter("sink.overruns").value == 0


def test_a_hole_in_speech_does_not_click() -> None:
    """Where the next loud frame is missing, what sounded fades out, and the frame after the hole fades in; quiet ends stay as they are."""
    sink, clock, _ = make_sink()
    sink.write(FRAME, 7)
    assert sink.take() == {7: MONO}
    assert [sink.take(), sink.last_arrival, sink.surplus_s] == [{7: fade_out(MONO)}, None, None]
    assert sink.take() == {}
    sink.write(FRAME + DISCORD.silence, 7)
    heard: list[bytes] = []
    for _ in range(8):
        heard += sink.take().values()
        clock.time += 0.02
    assert heard == [fade_in(MONO), ENGINE.silence]


def test_speakers_are_kept_apart() -> None:
    """Two who speak at once give one frame each; who has none is not there."""
    sink, clock, _ = make_sink()
    other = stereo(tone(0.02, hz=200))
    sink.write(FRAME, 1)
    sink.write(other, 2)
    assert sink.take() == {1: MONO, 2: downmix(other)}
    clock.time += 0.02
    sink.write(other, 2)
    assert sink.take() == {1: fade_out(MONO), 2: downmix(other)}
    clock.time += 0.02
    sink.write(other, 2)
    assert sink.take() == {2: downmix(other)}


def test_an_inverted_cable_is_heard() -> None:
    """Where the right is the left upside down, the left is taken."""
    sink, _, _ = make_sink()
    sink.write(stereo(tone(0.02), -tone(0.02)), 7)
    assert sink.take() == {7: pcm(tone(0.02))}


def test_the_newest_arrival_is_told() -> None:
    """After a take, last_arrival is when the newest of its frames was written; None where there was none."""
    sink, clock, _ = make_sink()
    sink.write(FRAME, 1)
    clock.time += 0.005
    sink.write(FRAME, 2)
    newest = clock.time
    clock.time += 0.003
    sink.take()
    assert sink.last_arrival == newest
    clock.time += 0.012
    sink.write(FRAME, 2)
    clock.time += 0.005
    sink.write(FRAME, 1)
    newest = clock.time
    clock.time += 0.02
    assert len(sink.take()) == 2
    assert sink.last_arrival == newest
    sink.take()
    assert sink.last_arrival is None


def test_who_waits_least_decides_how_much_earlier_a_take_could_come() -> None:
    """Two speakers whose frames wait 3 and 9 ms: after some takes the sink says 3; unknown before, and where nothing was taken."""
    sink, clock, _ = make_sink()
    assert sink.surplus_s is None
    found: list[float | None] = []
    for _ in range(8):
        sink.write(FRAME, 1)
        clock.time += 0.006
        sink.write(FRAME, 2)
        clock.time += 0.003
        assert len(sink.take()) == 2
        found.append(sink.surplus_s)
        clock.time += 0.011
    assert found[0] is None
    assert found[-1] == pytest.approx(0.003)
    sink.take()
    assert sink.surplus_s is None


def test_old_speech_is_dropped_and_counted() -> None:
    """What nobody took for five seconds is not heard any more."""
    sink, clock, metrics = make_sink()
    sink.write(FRAME * 3, 7)
    clock.time += 5
    assert sink.take() == {}
    assert metrics.counter("sink.expired").value == 3


def test_each_speaker_is_bounded() -> None:
    """A minute without a take leaves 600 ms, the newest, and counts the rest."""
    sink, clock, metrics = make_sink()
    for _ in range(3000):
        sink.write(FRAME, 7)
        clock.time += 0.02
    taken = 0
    while sink.take():
        taken += 1
    assert taken <= 31
    assert metrics.counter("sink.overruns").value == 2970


def test_the_crowd_is_bounded() -> None:
    """With more speakers than are remembered, who spoke longest ago makes room."""
    sink, clock, metrics = make_sink()
    for speaker in range(MAX_SPEAKERS + 3):
        sink.write(FRAME, speaker)
        clock.time += 0.0001
    assert set(sink.take()) == set(range(3, MAX_SPEAKERS + 3))
    assert metrics.counter("sink.evicted").value == 3


def test_nobodys_speech_is_counted() -> None:
    """A batch whose speaker is unknown is dropped."""
    sink, _, metrics = make_sink()
    sink.write(FRAME, None)
    assert sink.take() == {}
    assert metrics.counter("sink.nobody").value == 1


def test_forget_drops_a_speaker() -> None:
    """Who left is not heard; forgetting a stranger does nothing; who comes back is new."""
    sink, _, _ = make_sink()
    sink.write(FRAME + FRAME[:100], 7)
    sink.forget(7)
    sink.forget(8)
    assert sink.take() == {}
    sink.write(FRAME, 7)
    assert sink.take() == {7: MONO}


@pytest.mark.parametrize("end", ["close", "cleanup"])
def test_a_closed_sink_hears_nothing(end: str) -> None:
    """After close, under either name and twice, writes are ignored."""
    sink, _, _ = make_sink()
    sink.write(FRAME, 7)
    getattr(sink, end)()
    getattr(sink, end)()
    sink.write(FRAME, 7)
    assert sink.take() == {}


def test_a_frame_has_the_engines_length() -> None:
    """What is taken crosses the engine port as it is."""
    sink, _, _ = make_sink()
    sink.write(FRAME, 7)
    assert len(sink.take()[7]) == ENGINE.frame_bytes


def test_what_is_written_ducks_the_voice() -> None:
    """A loud packet is known to the other thread at once; a quiet one, and one of nobody, change nothing."""
    clock = SetClock()
    ducking = Ducking(clock=clock)
    sink = Sink(clock=clock, metrics=Metrics(), ducking=ducking)
    sink.write(stereo(tone(0.02, peak=100)), 1)
    sink.write(FRAME, None)
    assert ducking.gain == 1.0
    sink.write(FRAME, 1)
    assert ducking.gain == DUCKED_GAIN
    clock.time += HOLD_S
    assert ducking.gain == 1.0


def test_it_is_known_when_nobody_has_to_be_waited_for() -> None:
    """Once everybody of the last `take` is heard again; who has not spoken is not waited for."""
    sink, clock, _ = make_sink()
    told: list[float] = []
    sink.on_all_heard = lambda: told.append(clock.time)
    for tick in range(3):
        clock.time = 100 + tick * 0.02
        sink.write(stereo(tone(0.02)), 1)
        clock.time += 0.005
        sink.write(stereo(tone(0.02)), 2)
        clock.time += 0.001
        assert len(sink.take()) == 2
    assert told == pytest.approx([100, 100.005, 100.025, 100.045])
