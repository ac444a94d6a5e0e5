"""Messages that cross each other on their way, and servers that keep to no order."""

import asyncio
import itertools
import json
from typing import Any, cast

import pytest

from discordplex.engine import OVER_BUDGET, Closed, Interrupted, Persona, PlaybackHeld, PlaybackResumed, Problem, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock
from discordplex.realtime.protocol import RealtimeProtocol
from discordplex.realtime.session import STALL_S
from tests.realtime.harness import ANNA, BERT, Call, calling
from tests.realtime.scripted import ScriptedServer, begun, committed, done, scripted, sound, started, transcribed


async def ask(call: Call, server: ScriptedServer, item: str = "question") -> None:
    """Anna says something, and the server has been asked for an answer."""
    begin_ms = cast("Any", call.engine)._session.utterances.spoken.now_ms
    await call.say(1000, ANNA)
    await server.send(started(item, begin_ms))
    await call.say(500)
    await server.send(*committed(item, begin_ms + 1500))


@pytest.mark.parametrize("how", ["forget", "pause"])
@pytest.mark.parametrize("heard", ["speaking", "padding", "stopped"])
async def test_what_is_committed_while_it_is_cleared_is_not_answered(clock: FakeClock, how: str, heard: str) -> None:
    """An opt-out or /stop at any instant: the commit that crosses it is deleted, and neither answered nor shown."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await call.say(1000, ANNA)
        if heard != "padding":
            await server.send(started("a", 0))
        if heard == "stopped":
            await call.say(500)
            await server.send(committed("a", 1500)[0])
        await (call.engine.forget(ANNA) if how == "forget" else call.engine.pause())
        await server.send(*([started("a", 0)] if heard == "padding" else []), *committed("a", 1000), transcribed("a", "secret"))
        await server.send({"type": "input_audio_buffer.cleared"})
        assert len(server.received("input_audio_buffer.clear")) == 1
        assert [event["item_id"] for event in server.received("conversation.item.delete")][-1:] == ["a"]
        assert not server.received("response.create")
        assert not call.words("person")
        assert not list(cast("Any", call.lease)._memory)
        await call.say(1000, BERT)
        await server.send(started("b", 1600))
        await call.say(500)
        await server.send(*committed("b", 3000), transcribed("b", "hello"))
        assert len(server.received("response.create")) == 1
        assert call.words("person") == [("hello", BERT)]


@pytest.mark.parametrize("how", ["forget", "pause", "reset"])
async def test_a_reply_that_was_asked_for_is_not_spoken_when_it_is_not_wanted_any_more(clock: FakeClock, how: str) -> None:
    """It had not begun: it is cancelled when it does, and the next question is answered."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        assert server.received("response.create")
        if how == "reset":
            cast("Any", call.lease).reset()
        else:
            await (call.engine.forget(ANNA) if how == "forget" else call.engine.pause())
        await server.send({"type": "input_audio_buffer.cleared"}, begun("r1"), sound("r1", "i1", 100))
        assert [event.get("response_id") for event in server.received("response.cancel")] == ["r1"]
        assert not call.sound_ms
        await server.send(done("r1"))
        await ask(call, server, "again")
        await server.send(begun("r2"), sound("r2", "i2", 100))
        assert call.sound_ms == 100


async def test_a_server_that_answers_by_itself_all_the_same_gives_one_reply(clock: FakeClock) -> None:
    """It was told not to. The second reply is cancelled; from then on it is not asked any more."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("own"), sound("own", "i1", 100), done("own"), begun("asked"), sound("asked", "i2", 100), done("asked"))
        assert call.sound_ms == 100
        assert [event["response_id"] for event in server.received("response.cancel")] == ["asked"]
        await call.say(1000)
        await ask(call, server, "again")
        assert len(server.received("response.create")) == 1
        await server.send(begun("own 2"), sound("own 2", "i3", 100), done("own 2"))
        assert call.sound_ms == 200


async def test_a_server_that_answers_a_cough_is_not_heard_and_the_reply_goes_on(clock: FakeClock) -> None:
    """What it was saying still comes, its answer to the cough does not."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 5000))
        await call.say(1000)
        await call.say(160, ANNA)
        await server.send(started("cough", 2500))
        await call.say(500)
        await server.send(*committed("cough", 3100), begun("r2"), sound("r2", "i2", 100), sound("r1", "i1", 300))
        assert [event["item_id"] for event in server.received("conversation.item.delete")] == ["cough"]
        assert [event["response_id"] for event in server.received("response.cancel")] == ["r2"]
        assert call.sound_ms == 5300


async def test_a_reply_of_several_items_is_truncated_where_people_heard_it(clock: FakeClock) -> None:
    """The item that they heard is cut there, those after it are cut at nothing, and what still comes is not heard."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 2000), sound("r1", "i2", 1000))
        await call.say(1000)
        await call.say(300, ANNA)
        await server.send(started("b", 2500))
        await call.say(300, ANNA)
        await call.until(lambda call: call.told(Interrupted))
        await server.send(sound("r1", "i3", 500))
        assert {event["item_id"]: event["audio_end_ms"] for event in server.received("conversation.item.truncate")} == {
            "i1": pytest.approx(1080, abs=100),
            "i2": 0,
        }
        assert call.sound_ms == 3000


async def test_a_whole_reply_in_one_message_is_taken_in_pieces(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of sound is complete, and the loop's other tasks run between any two pieces of it; an item with its sound does no harm."""
    passes, decoded, decode = itertools.count(), [], RealtimeProtocol.decode

    async def count() -> None:
        while True:
            decoded.append(next(passes))
            await asyncio.sleep(0)

    def decode_and_note(protocol: RealtimeProtocol) -> None:
        decoded.append(-1)
        decode(protocol)

    monkeypatch.setattr(RealtimeProtocol, "decode", decode_and_note)
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        counting = asyncio.create_task(count())
        whole = sound("r1", "i1", 60_000)
        item = {"id": "i1", "role": "assistant", "content": [{"type": "output_audio", "audio": whole["delta"]}]}
        await server.send(begun("r1"), whole, {"type": "conversation.item.done", "item": item}, done("r1"))
        await call.until(lambda call: call.sound_ms >= 60_000)
        counting.cancel()
        assert call.sound_ms == 60_000
        assert decoded.count(-1) > 60
        assert (-1, -1) not in itertools.pairwise(decoded)
        assert not call.told(Closed)


async def test_a_question_that_begins_as_the_reply_ends_is_answered(clock: FakeClock) -> None:
    """The last 60 ms are too short to be cut, and too short to make a question a cough."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 300), done("r1"))
        await call.say(340)
        await ask(call, server, "again")
        assert len(server.received("response.create")) == 2


async def test_a_server_that_hears_late_still_lets_people_interrupt(clock: FakeClock) -> None:
    """It says a second late that somebody spoke: the question is answered, and the old reply is not heard beside the new one."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 10_000), done("r1"))
        await call.say(1000)
        await call.say(600, ANNA)
        await call.say(400)
        await server.send(started("b", 2500))
        await call.say(300)
        await server.send(*committed("b", 3600))
        assert call.told(Interrupted)
        assert len(server.received("response.create")) == 2
        assert len(server.received("conversation.item.truncate")) == 1


async def test_what_comes_twice_or_too_early_counts_once(clock: FakeClock) -> None:
    """Words before their commit have their speaker; a second commit is not a second question; an unknown reply that ends is nobody's."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await call.say(1000, ANNA)
        await server.send(started("a", 0))
        await call.say(500)
        await server.send(transcribed("a", "hello"), *committed("a", 1500), *committed("a"), begun("r1"), begun("r1"), done("other"))
        assert call.words("person") == [("hello", ANNA)]
        assert len(server.received("response.create")) == 1
        assert not server.received("response.cancel")
        assert list(cast("Any", call.lease)._memory) == [("a", "user", "hello")]


@pytest.mark.parametrize("name", ["\ud800", "x" * 5000, "", 7, None, {"a": 1}])
async def test_an_identifier_of_any_kind_ends_no_call(clock: FakeClock, name: Any) -> None:
    """It is a text that no encoder takes, a long one, none, or no text."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server, name)
        await server.send(begun(name), sound(name, name, 5000), transcribed(name, "hello"))
        await call.say(300, ANNA)
        await server.send(started(name, -5))
        await call.say(400, ANNA)
        await call.engine.forget(ANNA)
        await server.send(*committed(name, cast("Any", "1e400")), done(name))
        assert call.sound_ms == 5000
        assert not call.told(Closed)


async def test_an_answer_that_never_begins_has_stalled(clock: FakeClock) -> None:
    """As one in which nothing comes any more."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await call.say(int(STALL_S * 1000) + 40)
        closed = await call.closed()
        assert (closed.cause, closed.retry) == ("stalled", True)


async def test_an_answer_that_is_refused_is_told_once(clock: FakeClock) -> None:
    """Other refusals are not: they are about messages that crossed."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        (asked,) = server.received("response.create")
        error = {"type": "server_error", "code": "server_error", "message": "secret", "event_id": asked["event_id"]}
        await server.send({"type": "error", "error": error}, {"type": "error", "error": error}, {"type": "error", "error": {}})
        assert [event.cause for event in call.told(Problem)] == ["server_error"]
        assert not call.told(Closed)


@pytest.mark.parametrize("offset_ms", [0.0, 1.7e12], ids=["session clock", "another clock"])
@pytest.mark.parametrize("item", ["item_1", "\ud800"], ids=["id", "half a character"])
@pytest.mark.parametrize("when", ["before the commit", "after it"])
async def test_an_opt_out_reaches_what_the_server_says_later(clock: FakeClock, when: str, item: str, offset_ms: float) -> None:
    """No word is told, remembered or answered, whatever the server calls it and whenever it says that it was said."""
    end = committed(item, offset_ms + 1000)
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await call.say(1000, ANNA)
        await server.send(started(item, offset_ms), *(end if when == "after it" else ()))
        await call.engine.forget(ANNA)
        await call.say(3000)  # longer than a clear is waited for
        await server.send(*(() if when == "after it" else end), transcribed(item, "secret"))
        assert not call.words("person")
        assert len(server.received("response.create")) == (when == "after it")
        assert item in [event["item_id"] for event in server.received("conversation.item.delete")]
        assert not list(cast("Any", call.lease)._memory)


async def test_the_replies_to_somebody_are_deleted_however_long_ago(clock: FakeClock) -> None:
    """Of more turns than a new session would be told of."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        for number in range(20):
            await ask(call, server, f"q{number}")
            await server.send(begun(f"r{number}"), sound(f"r{number}", f"i{number}", 20), done(f"r{number}"))
        await call.engine.forget(ANNA)
        await server.send()
        deleted = {event["item_id"] for event in server.received("conversation.item.delete")}
        assert deleted == {f"{kind}{number}" for kind in "qi" for number in range(20)}


async def test_words_without_a_time_are_of_the_last_two_seconds(clock: FakeClock) -> None:
    """GPT-Live's words: they may have begun before a notice came, and they are dropped where somebody who spoke then has opted out."""
    async with scripted() as server, calling(cast("Any", server), clock, dialect="gpt-live") as call:
        await call.say(3000, ANNA)
        await server.send({"type": "session.input_transcript.delta", "delta": "Hello"})
        assert [text.began_at for text in call.told(Text)] == [pytest.approx(clock.now() - 2.0)]
        await call.say(500, BERT)
        await call.engine.forget(ANNA)
        await server.send({"type": "session.input_transcript.delta", "delta": "secret"})
        await call.say(2500, BERT)
        await server.send({"type": "session.input_transcript.delta", "delta": "later"})
        assert call.words("person") == [("Hello", ANNA), ("later", BERT)]


@pytest.mark.parametrize("begins", [False, True])
async def test_a_server_that_says_other_things_has_stalled_too(clock: FakeClock, *, begins: bool) -> None:
    """It hears people, and sends nothing of the reply that is due."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(*([begun("r")] if begins else []))
        for second in range(14):
            await call.say(1000)
            await server.send(started(f"noise {second}", 1500))
        assert not call.told(Closed)
        await call.say(2500)
        assert (await call.closed()).cause == "stalled"


async def test_a_server_that_refuses_every_setting_is_told_at_once(clock: FakeClock) -> None:
    """Not as a silence of ten seconds."""
    async with scripted() as server:
        server.refuses = True
        with pytest.raises(EngineError) as caught:
            async with calling(cast("Any", server), clock):
                pass
        assert (caught.value.cause, caught.value.retry) == ("settings refused", False)
        assert [event["type"] for event in server.sent] == ["session.update"] * 2


async def test_a_flood_of_utterances_ends_the_session(clock: FakeClock) -> None:
    """No room speaks in hundreds of utterances at once; a dozen are fine."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await call.say(1000, ANNA)
        await server.send(*(started(f"a{number}", 0) for number in range(12)))
        assert not call.told(Closed)
        for number in range(200):
            await cast("Any", server)._connection.send(json.dumps(started(f"b{number}", 0)))
        assert (await call.closed()).cause == f"{OVER_BUDGET}: utterances"


async def test_two_people_interrupt_at_once(clock: FakeClock) -> None:
    """The reply is cut once; their words have no single speaker; the opt-out of one takes the words of both, and the answer with them."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 5000), done("r1"))
        await call.say(200, ANNA)
        await server.send(started("both", 1500))
        await call.say(600, ANNA, BERT)
        await call.say(500)
        await server.send(*committed("both", 2800), transcribed("both", "no, yes"), begun("r2"), sound("r2", "i2", 3000))
        assert len(call.told(Interrupted)) == 1
        assert len(server.received("conversation.item.truncate")) == 1
        assert len(server.received("response.create")) == 2
        await call.engine.forget(BERT)
        await server.send(sound("r2", "i2", 3000))
        assert call.sound_ms == 8000
        assert {"both", "i2"} <= {event["item_id"] for event in server.received("conversation.item.delete")}
        assert ("user", "no, yes") not in [(role, words) for _, role, words in cast("Any", call.lease)._memory]


async def test_noise_that_the_server_takes_for_no_speech_does_not_cut_a_reply(clock: FakeClock) -> None:
    """It pauses for less than a second, once."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(begun("r1"), sound("r1", "i1", 5000), done("r1"))
        await call.say(3000, ANNA)
        await server.send()
        assert (len(call.told(PlaybackHeld)), len(call.told(PlaybackResumed)), len(call.told(Interrupted))) == (1, 1, 0)
        assert not server.received("conversation.item.truncate")


async def test_another_persona_in_the_middle_of_a_reply(clock: FakeClock) -> None:
    """The next conversation of the call has the new role, and is told what was said so far."""
    async with scripted() as server, calling(cast("Any", server), clock) as call:
        await ask(call, server)
        await server.send(transcribed("question", "hello"), begun("r1"), sound("r1", "i1", 5000))
        await call.engine.__aexit__(None, None, None)
        server.sent.clear()
        async with call.lease.open(Persona("marin", "You are another."), call.metrics):
            await server.send()
            (opened,) = server.received("session.update")
            assert opened["session"]["instructions"] == "You are another."
            told = [event["item"]["content"][0]["text"] for event in server.received("conversation.item.create")]
            assert told == ["hello"]
