"""The turns of a Realtime session against the stand-in: coughs, interruptions, opt-outs."""

from typing import Any, cast

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.engine import Audio, Interrupted, PlaybackHeld, PlaybackResumed, TurnTakingLease
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from tests.realtime.harness import ANNA, BERT, Call, calling, eventually, tone


def answered(call: Call, replies: int = 1) -> bool:
    """So many replies are there, whole."""
    return len([event for event in call.events if getattr(event, "role", "") == "engine" and getattr(event, "final", False)]) >= replies


async def test_a_turn_comes_back_as_sound_and_words(clock: FakeClock) -> None:
    """The echo has the person's sound, without a gap and at its level; both sides' words come, the person's with who said them."""
    async with RealtimeServer(times_real_time=1000) as server, calling(server, clock) as call:
        await call.say(1000)
        await call.say(1000, ANNA)
        await call.say(800)
        await call.until(answered)
        await call.until(lambda call: call.words("person"))
        assert call.sound_ms == pytest.approx(300 + 1000 + 500, abs=25)
        heard = np.frombuffer(b"".join(event.pcm for event in call.told(Audio)), "<i2").astype(float)
        middle = heard[ENGINE.rate_hz // 2 : ENGINE.rate_hz]
        assert 20 * np.log10(np.std(middle) / np.std(np.frombuffer(tone(), "<i2"))) == pytest.approx(0, abs=1)
        assert [speaker for _, speaker in call.words("person")] == [ANNA]
        assert call.words("engine")
        assert not server.violations


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad", "none"])
async def test_a_cough_does_not_cut_a_reply(clock: FakeClock, turn_detection: str) -> None:
    """150 ms over the engine's voice: a short pause, the rest of the reply, no answer to the cough, and the next question is answered."""
    async with (
        RealtimeServer(replies=talk(10), times_real_time=1000) as server,
        calling(server, clock, turn_detection=turn_detection) as call,
    ):
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)
        await call.say(3000)
        await call.say(160, ANNA)
        await call.say(1500)
        assert call.told(PlaybackHeld)
        assert call.told(PlaybackResumed)
        assert not call.told(Interrupted)
        await call.say(9000)
        assert len(server.received("response.create")) == 1
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(lambda call: answered(call, 2))
        assert not server.violations


async def test_an_interruption_is_silence_at_once_and_a_truncation_where_people_heard_it(clock: FakeClock) -> None:
    """A 10 s reply interrupted at 3 s: held within 200 ms, truncated within 100 ms of what was heard, and the next question is answered."""
    async with RealtimeServer(replies=talk(10), times_real_time=1000) as server, calling(server, clock) as call:
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)
        await call.say(3000)
        await call.say(200, ANNA)
        assert call.told(PlaybackHeld)
        await call.say(1000, ANNA)
        await call.until(lambda call: call.told(Interrupted))
        await eventually(lambda: server.received("conversation.item.truncate"))
        (truncated,) = server.received("conversation.item.truncate")
        (item,) = call.played_ms
        assert cast("Any", truncated).event["audio_end_ms"] == pytest.approx(call.played_ms[item], abs=100)
        await call.say(700)
        await call.until(lambda call: answered(call, 2))
        assert not server.violations


async def test_who_opts_out_is_taken_out_of_the_conversation(clock: FakeClock) -> None:
    """The server deletes what they said, the reply to it stops, and no word of theirs follows."""
    async with RealtimeServer(replies=talk(10), times_real_time=1000) as server, calling(server, clock) as call:
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)
        await call.say(1000)
        await call.engine.forget(ANNA)
        await call.until(lambda call: call.told(Interrupted))
        await eventually(lambda: server.received("conversation.item.delete"))
        before = len(call.words("person"))
        await call.say(500, BERT)
        await call.say(700)
        await eventually(lambda: len(server.received("response.create")) > 1)
        assert ANNA not in [speaker for _, speaker in call.words("person")[before:]]
        assert not server.violations


async def test_a_pause_drops_what_was_not_answered(clock: FakeClock) -> None:
    """What somebody was saying when /stop came is never answered."""
    async with RealtimeServer(times_real_time=1000) as server, calling(server, clock) as call:
        await call.say(1000, ANNA)
        await call.engine.pause()
        await call.say(2000)
        await eventually(lambda: server.received("input_audio_buffer.clear"))
        assert not server.received("response.create")
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)


async def test_reset_forgets_what_was_said(clock: FakeClock) -> None:
    """Every item is deleted at the server, and the next session is told nothing."""
    async with RealtimeServer(times_real_time=1000) as server, calling(server, clock) as call:
        await call.say(1000, ANNA)
        await call.say(700)
        await call.until(answered)
        await call.until(lambda call: call.words("person"))
        assert isinstance(call.lease, TurnTakingLease)
        call.lease.reset()
        await eventually(lambda: len(server.received("conversation.item.delete")) >= 2)
        assert not list(cast("Any", call.lease)._memory)
