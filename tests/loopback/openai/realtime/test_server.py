"""The stand-in realtime server, as the official SDK sees it."""

import asyncio
import json
from typing import Any

import numpy as np
import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from discordplex.audio.format import MODEL
from discordplex.loopback.openai.realtime.log import AudioAppended, EventRefused, SessionClosed, SessionConnected, UpgradeRefused
from discordplex.loopback.openai.realtime.replies import talk
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.timeouts import wait_for
from tests.loopback.openai.realtime.conftest import MODEL_NAME, sdk, settings, silence, tone

A_TURN = [
    "session.created",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
ITS_END = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


async def test_a_turn_is_answered_in_the_real_order() -> None:
    """A person's turn ends by its silence; the reply's events come in the order of the real service."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.say(silence(500), tone(1000), silence(600))
        done = await client.until("response.done")
        deltas = {"response.output_audio.delta", "response.output_audio_transcript.delta"}
        order = [kind for kind in client.order if kind not in deltas]
        assert order == A_TURN + ITS_END
        assert deltas < set(client.order)
        assert done.response.status == "completed"
        assert done.response.usage.output_token_details.audio_tokens == 1800 // 50
        await client.until("rate_limits.updated")
        assert not server.violations


async def test_echo_is_what_was_heard() -> None:
    """The echo is the person's sound sample for sample, padding before it and silence after it: aligned, no gap, the same level."""
    async with RealtimeServer() as server, sdk(server) as client:
        said = tone(1000)
        await client.say(silence(500), said, silence(600))
        await client.until("response.done")
        assert client.sound() == silence(300) + said + silence(500)
        words = [event.transcript for event in client.events if event.type == "response.output_audio_transcript.done"]
        assert words == ["I heard you for 1.0 s."], "without the padding before it and the pause behind it"


async def test_the_clock_of_turns_is_the_samples_sent() -> None:
    """Positions count sent sound, whatever the time; without further sound no turn ends."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.say(silence(2000), tone(700))
        started = await client.until("input_audio_buffer.speech_started")
        assert started.audio_start_ms == 2000 - 300
        await client.say(silence(480))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.until("input_audio_buffer.speech_stopped"), 0.05)
        await client.say(silence(20))
        stopped = await client.until("input_audio_buffer.speech_stopped")
        assert stopped.audio_end_ms == 2000 + 700 + 500
        assert stopped.item_id == started.item_id


async def test_settings_are_merged_and_shown_whole() -> None:
    """An update changes what it names; the answer is the whole session."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
        await client.send(
            "session.update", session=settings(output={"voice": "marin"}, turn_detection={"type": "semantic_vad", "eagerness": "high"})
        )
        await client.until("session.updated")
        session = (await client.until("session.updated")).session
        assert session.instructions == "Be brief."
        assert session.audio.output.voice == "marin"
        assert session.audio.output.format.rate == MODEL.rate_hz
        assert session.audio.input.turn_detection.eagerness == "high"
        assert session.audio.input.turn_detection.interrupt_response is True
        assert (server.sessions[0].instructions, server.sessions[0].voice) == ("Be brief.", "marin")


TURNS = "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"instructions": "x"}, "missing_required_parameter", "session.type"),
        ({"type": "realtime", "modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        ({"type": "realtime", "voice": "alloy"}, "unknown_parameter", "session.voice"),
        ({"type": "realtime", "input_audio_format": "pcm16"}, "unknown_parameter", "session.input_audio_format"),
        ({"type": "realtime", "turn_detection": None}, "unknown_parameter", "session.turn_detection"),
        ({"type": "realtime", "temperature": 0.8}, "unknown_parameter", "session.temperature"),
        (settings(turn_detection={"type": "server_vad", "silence": 5}), "unknown_parameter", TURNS + ".silence"),
        (settings(turn_detection={"type": "server_vad", "threshold": "0.5"}), "invalid_type", TURNS + ".threshold"),
        (settings(turn_detection={"type": "server_vad", "threshold": 1.5}), "decimal_above_max_value", TURNS + ".threshold"),
        (settings(turn_detection={"type": "vad"}), "invalid_value", TURNS + ".type"),
        (settings(turn_detection={}), "missing_required_parameter", TURNS + ".type"),
        (settings(format={"type": "audio/pcm", "rate": 48_000}), "invalid_value", "session.audio.input.format.rate"),
        (settings(output={"voice": "nobody"}), "invalid_value", "session.audio.output.voice"),
        (settings(output={"speed": 9.0}), "decimal_above_max_value", "session.audio.output.speed"),
        (settings(modalities=("text", "audio")), "invalid_value", "session.output_modalities"),
        ({"type": "realtime", "model": "gpt-realtime-2"}, "invalid_value", "session.model"),
    ],
)  # fmt: skip
async def test_settings_that_openai_refuses(session: dict[str, Any], code: str, param: str) -> None:
    """Each wrong field is refused by name, the session lives, and the test of the client learns of it."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.send("session.update", event_id="mine", session=session)
        error = (await client.until("error")).error
        assert (error.code, error.param, error.event_id) == (code, param, "mine")
        (refused,) = server.violations
        assert isinstance(refused, EventRefused)
        assert refused.type == "session.update"
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")


BETA_ITEM = '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [{"type": "text", "text": "x"}]}}'


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "invalid_json"),
        ("[]", "invalid_json"),
        (b"\0\1", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("{}", "missing_required_parameter"),
        ('{"type": "conversation.say"}', "invalid_value"),
        ('{"type": ["response.create"]}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_value"),
        ('{"type": "session.update", "session": 5}', "invalid_type"),
        ('{"type": "response.create", "response": {"modalities": ["text"]}}', "unknown_parameter"),
        (BETA_ITEM, "invalid_value"),
    ],
)  # fmt: skip
async def test_what_is_no_event(message: str | bytes, code: str) -> None:
    """Whatever comes is answered with an error and written down; the next event is served."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.connection.send_raw(message)
        assert (await client.until("error")).error.code == code
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert len(server.violations) == 1


async def test_speech_cancels_a_running_reply() -> None:
    """A person speaks while the reply is sent: it ends there, cancelled, and can be truncated to what was heard, not beyond."""
    async with RealtimeServer(replies=talk(10), times_real_time=20) as server, sdk(server) as client:
        await client.say(tone(400), silence(500))
        await client.until("response.output_audio.delta")
        await client.say(tone(200))
        done = await client.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
        (item,) = done.response.output
        assert item.status == "incomplete"
        had_ms = MODEL.duration_ms(len(client.sound()))
        assert 0 < had_ms < 10_000
        truncate = {"item_id": item.id, "content_index": 0}
        await client.send("conversation.item.truncate", **truncate, audio_end_ms=int(had_ms) + 1)
        error = (await client.until("error")).error
        assert error.message == f"Audio content of {had_ms:.0f}ms is already shorter than {had_ms + 1:.0f}ms"
        await client.send("conversation.item.truncate", **truncate, audio_end_ms=150)
        assert (await client.until("conversation.item.truncated")).audio_end_ms == 150
        heard = next(one for one in server.sessions[0].items if one.id == item.id)
        assert (heard.duration_ms, heard.text) == (150, "")


async def test_cancel_and_one_reply_at_a_time() -> None:
    """`response.cancel` ends the running reply and is an error without one; a second reply is refused. Both are races, not violations."""
    async with RealtimeServer(replies=talk(20), times_real_time=10) as server, sdk(server) as client:
        await client.send("response.cancel")
        error = (await client.until("error")).error
        assert (error.code, error.message) == ("response_cancel_not_active", "Cancellation failed: no active response found")
        await client.send("response.create")
        await client.send("response.create")
        assert (await client.until("error")).error.code == "conversation_already_has_active_response"
        await client.send("response.cancel")
        done = await client.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")
        assert [item.shape["status"] for item in server.sessions[0].items] == ["incomplete"]
        assert not server.violations


async def test_a_reply_may_be_left_running() -> None:
    """`interrupt_response: false`: speech cancels nothing; `create_response: false`: the turn is kept and not answered."""
    turns = {"type": "server_vad", "interrupt_response": False, "create_response": False}
    async with RealtimeServer(replies=talk(2), times_real_time=20) as server, sdk(server) as client:
        await client.send("session.update", session=settings(turn_detection=turns))
        await client.say(tone(400), silence(500))
        await client.until("conversation.item.done")
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.say(tone(400), silence(500))
        assert (await client.until("response.done")).response.status == "completed"
        assert not server.violations


async def test_without_turn_detection_the_client_ends_turns() -> None:
    """`turn_detection: null`: commit and `response.create` make a turn; an empty buffer is refused."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.send("session.update", session=settings(turn_detection=None))
        await client.send("input_audio_buffer.commit")
        assert (await client.until("error")).error.code == "input_audio_buffer_commit_empty"
        said = tone(500)
        await client.say(said, silence(1000))
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.done")
        await client.send("response.create")
        await client.until("response.done")
        assert client.sound() == said + silence(1000)
        assert "input_audio_buffer.speech_started" not in client.order
        del server


async def test_what_people_said_comes_as_text_where_it_is_asked_for() -> None:
    """With a transcription model both sides' words come, by item."""
    async with RealtimeServer(hears=lambda _: "Hello you") as server, sdk(server) as client:
        await client.say(tone(400), silence(500))
        await client.until("rate_limits.updated")
        assert not any("input_audio_transcription" in kind for kind in client.order)
        await client.send("session.update", session=settings(transcription={"model": "gpt-transcribe"}))
        await client.say(tone(400), silence(500))
        committed = await client.until("input_audio_buffer.committed")
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert (completed.transcript, completed.item_id) == ("Hello you", committed.item_id)
        assert "Hello you" in [item.text for item in server.sessions[0].items]
        assert not server.violations


async def test_items_are_what_the_session_knows() -> None:
    """What a client puts into the conversation is kept in order, and a written turn gets a spoken or a written reply."""
    async with RealtimeServer() as server, sdk(server) as client:
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I am Ann."}]}
        asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Who?"}], "id": "first"}
        await client.send("conversation.item.create", item=said)
        await client.send("conversation.item.create", item=asked, previous_item_id="root")
        await client.until("conversation.item.done")
        await client.until("conversation.item.done")
        assert [(item.role, item.text) for item in server.sessions[0].items] == [("user", "Who?"), ("assistant", "I am Ann.")]
        await client.send("response.create", response={"output_modalities": ["text"]})
        await client.until("response.output_text.done")
        await client.until("response.done")
        await client.send("conversation.item.delete", item_id="first")
        await client.until("conversation.item.deleted")
        assert not server.violations
        await client.send("conversation.item.create", item={**asked, "id": "x" * 33})
        assert (await client.until("error")).error.code == "string_above_max_length"


async def test_the_voice_is_fixed_from_the_first_sound_on() -> None:
    """Before the reply the voice may change, after it no longer; everything else may."""
    async with RealtimeServer() as server, sdk(server) as client:
        await client.send("session.update", session=settings(output={"voice": "cedar"}))
        await client.say(tone(400), silence(500))
        await client.until("response.done")
        await client.send("session.update", session=settings(output={"voice": "marin"}))
        error = (await client.until("error")).error
        assert (error.code, error.message) == (
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
        )
        await client.send("session.update", session={"type": "realtime", "instructions": "New.", "audio": {"output": {"voice": "cedar"}}})
        await client.until("session.updated")
        assert server.sessions[0].instructions == "New."


async def test_keys_models_and_the_beta() -> None:
    """A wrong key is refused at the upgrade; a wrong model and the beta's header after it, by an error and a close code."""
    async with RealtimeServer(key="sk-right") as server:
        with pytest.raises(InvalidStatus) as refused:
            async with sdk(server, key="sk-wrong"):
                pass
        assert refused.value.response.status_code == 401
        assert server.log.of(UpgradeRefused)[0].status == 401
        for url, headers, code in (
            (f"{server.url}/realtime?model=gpt-1", {}, "invalid_model"),
            (f"{server.url}/realtime?model={MODEL_NAME}", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
        ):
            async with connect(url, additional_headers={"Authorization": "Bearer sk-right", **headers}) as websocket:
                assert json.loads(await websocket.recv())["error"]["code"] == code
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, f"invalid_request_error.{code}")
        assert "sk-right" not in repr(server.log.of(SessionConnected))


async def test_sessions_are_counted_from_open_to_close() -> None:
    """Two sessions stand beside each other; each one's end is written down with its code and who closed."""
    async with RealtimeServer() as server:
        async with sdk(server) as one, sdk(server) as two:
            await one.until("session.created")
            await two.until("session.created")
            assert server.open_sessions == 2
            await one.say(tone(40))
            await server.log.wait_for(lambda log: len(log.of(AudioAppended, 1)) == 2)
        await server.log.wait_for(lambda log: len(log.of(SessionClosed)) == 2)
        assert {(end.code, end.by) for end in server.log.of(SessionClosed)} == {(1000, "client")}
        assert server.open_sessions == 0


async def test_a_server_that_stops_says_so() -> None:
    """Whoever is connected when the server ends gets a close frame."""
    server = RealtimeServer()
    async with server:
        client = await connect(f"{server.url}/realtime?model={MODEL_NAME}", additional_headers={"Authorization": "Bearer x"})
        await client.recv()
    with pytest.raises(ConnectionClosed) as closed:
        await wait_for(client.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


def test_the_talker_is_as_long_as_asked() -> None:
    """A reply of any length, with sound in it and words to it."""
    spoken = talk(12.5)(None)  # type: ignore[arg-type]
    assert MODEL.duration_ms(len(spoken.pcm)) == 12_500
    assert np.abs(np.frombuffer(spoken.pcm, "<i2")).max() > 3000
    assert len(spoken.text.split()) > 5


async def test_the_models_can_be_asked_without_a_session() -> None:
    """A cheap request tells whether the key and the model are right, as with the real service."""
    async with RealtimeServer(key="sk-right") as server:
        base_url = server.url.replace("ws://", "http://")
        async with openai.AsyncOpenAI(api_key="sk-right", base_url=base_url, max_retries=0) as client:
            assert (await client.models.retrieve(MODEL_NAME)).id == MODEL_NAME
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("gpt-1")
        async with openai.AsyncOpenAI(api_key="sk-wrong", base_url=base_url, max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.retrieve(MODEL_NAME)
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        assert not server.sessions
