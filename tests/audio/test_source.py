"""The source always answers, and never clicks."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.ducking import DUCKED_GAIN, Ducking
from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import REPLIES, STREAM
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.metrics import Metrics
from tests.audio.clock import SetClock
from tests.audio.signals import pcm, samples, stereo, tone

BLOCK = pcm(tone(0.08, hz=311))


def source_and_clock() -> tuple[StreamingPlaybackSource, SetClock]:
    clock = SetClock()
    return StreamingPlaybackSource(clock=clock, metrics=Metrics()), clock


def reads(source: StreamingPlaybackSource, clock: SetClock, count: int) -> list[bytes]:
    heard = []
    for _ in range(count):
        clock.time += ENGINE.frame_seconds
        heard.append(source.read())
    return heard


def largest_step(data: bytes) -> float:
    heard = samples(data)
    return float(abs(heard[1:] - heard[:-1]).max())


def test_silence_until_something_comes() -> None:
    """With nothing pushed, every read is a frame of silence."""
    source, clock = source_and_clock()
    assert reads(source, clock, 3) == [ENGINE.silence] * 3


def test_what_is_pushed_is_heard() -> None:
    """The engine's sound comes out in order, but for the ramp at its beginning."""
    source, clock = source_and_clock()
    source.push(BLOCK)
    heard = samples(b"".join(reads(source, clock, 6)))
    said = samples(BLOCK)
    start = int(abs(heard).argmax() - abs(said).argmax())
    offset = next(at for at in range(0, len(heard), 960) if heard[at : at + 960].any())
    assert abs(start - offset) < 960
    assert (heard[offset + 240 : offset + len(said)] == said[240:]).all()


@given(st.lists(st.one_of(st.integers(0, 4000), st.none()), max_size=40))
def test_every_read_is_a_whole_frame(steps: list[int | None]) -> None:
    """Whatever is pushed and however unevenly it is read, a read is 1920 bytes."""
    source, clock = source_and_clock()
    for step in steps:
        clock.time += 0.013
        if step is None:
            assert len(source.read()) == ENGINE.frame_bytes == 1920
        else:
            source.push(bytes(2 * step))


def test_begin_and_end_do_not_click() -> None:
    """Around a lone block, no step between samples is larger than the tone's own."""
    source, clock = source_and_clock()
    source.push(pcm(tone(0.08, hz=311) + tone(0.08, hz=100, peak=3000)))
    heard = b"".join(reads(source, clock, 10))
    said = samples(BLOCK)
    assert largest_step(heard) < 1.5 * abs(said[1:] - said[:-1]).max()
    assert not any(heard[-ENGINE.frame_bytes :])


def test_it_rises_from_silence() -> None:
    """A block that begins at full level begins to sound at nearly none."""
    source, clock = source_and_clock()
    source.push(pcm(tone(0.08, hz=1) * 0 + 20_000))
    heard = samples(b"".join(reads(source, clock, 3)))
    assert heard[heard > 0][0] < 200
    assert heard.max() == 20_000


def test_a_flush_ends_the_sound_within_5_ms() -> None:
    """After a flush, the next read falls to silence in a ramp, and the rest is gone."""
    source, clock = source_and_clock()
    source.push(BLOCK)
    reads(source, clock, 2)
    assert source.flush() == 2 * ENGINE.frame_samples
    tail, after = reads(source, clock, 2)
    assert any(tail)
    assert not any(tail[240 * ENGINE.sample_bytes :])
    assert after == ENGINE.silence


def test_places_tell_what_was_heard() -> None:
    """played_samples follows pushed_samples; what was flushed counts as passed."""
    source, clock = source_and_clock()
    source.push(BLOCK)
    assert (source.pushed_samples, source.played_samples, source.depth_ms) == (3840, 0, 80)
    reads(source, clock, 2)
    assert (source.played_samples, source.depth_ms) == (1920, 40)
    source.flush()
    assert (source.pushed_samples, source.played_samples, source.depth_ms) == (3840, 3840, 0)


def test_only_a_closed_source_ends() -> None:
    """After close, even twice, a read gives nothing."""
    source, clock = source_and_clock()
    source.push(BLOCK)
    source.close()
    source.close()
    assert reads(source, clock, 2) == [b"", b""]


def test_whole_replies_are_not_trimmed() -> None:
    """A source for replies plays ten seconds pushed at once to the end."""
    clock = SetClock()
    source = StreamingPlaybackSource(clock=clock, metrics=Metrics(), profile=REPLIES)
    source.push(BLOCK * 125)
    heard = reads(source, clock, 505)
    assert sum(any(frame) for frame in heard) == 501


def test_held_sound_waits_and_nothing_is_lost() -> None:
    """While held every read is silence and the place stands still; then the rest comes, to the last sample, without a click."""
    clock = SetClock()
    source = StreamingPlaybackSource(clock=clock, metrics=Metrics(), profile=REPLIES)
    source.push(pcm(tone(1.0, hz=311)))
    before = b"".join(reads(source, clock, 10))
    source.hold()
    held = b"".join(reads(source, clock, 100))
    assert source.depth_ms == 800
    assert samples(held)[240:].max() == 0
    source.go_on()
    after = b"".join(reads(source, clock, 40))
    assert largest_step(before + held + after) < 500
    assert (samples(after)[240:] == tone(1.0, hz=311).round()[9840:]).all()
    assert source.depth_ms == 0


def test_held_sound_can_be_thrown_away() -> None:
    """A flush while held leaves nothing for afterwards."""
    clock = SetClock()
    source = StreamingPlaybackSource(clock=clock, metrics=Metrics(), profile=REPLIES)
    source.push(pcm(tone(1.0)))
    reads(source, clock, 5)
    source.hold()
    assert source.flush() == 43_200
    source.go_on()
    assert reads(source, clock, 3)[1:] == [ENGINE.silence] * 2


def test_the_voice_steps_back_within_one_read_and_5_ms() -> None:
    """From the first read after a person was audible the sound is 12 dB down after 5 ms; it comes back 300 ms after they fell silent."""
    clock = SetClock()
    ducking = Ducking(clock=clock)
    source = StreamingPlaybackSource(clock=clock, metrics=Metrics(), profile=REPLIES, ducking=ducking)
    source.push(pcm(tone(2.0, hz=311)))
    loud = reads(source, clock, 10)
    ducking.hear(stereo(tone(0.02)))
    first, *rest = reads(source, clock, 10)
    assert samples(loud[-1]).max() > 7900
    assert samples(first)[240:].max() < 8000 * DUCKED_GAIN + 1
    assert largest_step(b"".join([loud[-1], first, *rest])) < 500
    back = reads(source, clock, 20)
    assert samples(back[3]).max() < 8000 * DUCKED_GAIN + 1
    assert samples(back[-1]).max() > 7900
    assert largest_step(b"".join([*rest, *back])) < 500


def test_another_kind_of_engine_is_played_as_its_kind() -> None:
    """What waited of the old one is dropped, its ducking ends without a click, and a reply that comes all at once is kept whole."""
    source, clock = source_and_clock()
    ducking = Ducking(clock=clock)
    source.begin_anew(profile=REPLIES, ducking=ducking)
    source.push(BLOCK * 50)
    ducking.hear(BLOCK)
    loud = samples(reads(source, clock, 5)[-1])
    source.hold()
    source.begin_anew(profile=STREAM, ducking=None)
    assert (source.depth_ms, source.played_samples, source.pushed_samples) == (0, source.pushed_samples, 50 * len(BLOCK) // 2)
    silent = reads(source, clock, 2)
    assert silent[-1] == ENGINE.silence
    for _ in range(4):
        source.push(BLOCK)
        heard = reads(source, clock, 4)
    assert abs(samples(heard[-1])).max() > 3 * abs(loud).max()
    source.push(BLOCK * 50)
    assert source.depth_ms == 2000
