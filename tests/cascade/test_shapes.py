"""Answers of other shapes than OpenAI's, as servers that call themselves compatible really send them."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from discordplex.audio.format import ENGINE, MODEL
from discordplex.cascade.think import OneReply, text_of
from discordplex.clock import SystemClock
from discordplex.hearing.transcriber import HEARD_NOTHING
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.loopback.openai.voice import encoded, hum
from discordplex.services.clients import Clients
from discordplex.services.faults import READ_LIMIT, ServiceError, server_words
from discordplex.services.service import NO_KEY, Service, ServiceName
from discordplex.services.sse import LONGEST_EVENT_BYTES, EventReader, EventTooLongError
from tests.cascade.services import Services

NAMES: tuple[ServiceName, ...] = ("transcribe", "think", "speak")


def sse(*messages: Any, end: bytes = b"\n\n", done: bool = True) -> bytes:
    return b"".join(b"data: " + json.dumps(message).encode() + end for message in messages) + b"data: [DONE]" * done + end * done


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def other(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 1, "delta": fields}]}


WHOLE = {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there."}}]}
PARTS = [
    {"type": "thinking", "thinking": "hm"},
    {"type": ["text"], "text": "hm"},
    {"type": "text", "text": "Hello "},
    {"type": "output_text", "text": {"value": "there."}},
    5,
    None,
]

REPLIES = {
    "deltas": sse(delta(role="assistant"), delta(content="Hello "), delta(content="there.")),
    "CRLF": sse(delta(content="Hello "), delta(content="there."), end=b"\r\n\r\n"),
    "CR": sse(delta(content="Hello "), delta(content="there."), end=b"\r\r"),
    "no empty line between": sse(delta(content="Hello "), delta(content="there."), end=b"\n"),
    "no end": sse(delta(content="Hello "), delta(content="there."), done=False)[:-2],
    "byte order mark": b"\xef\xbb\xbf" + sse(delta(content="Hello there.")),
    "named events and ids": b"event: message\nid: 7\n" + sse(delta(content="Hello there.")),
    "the name of one event is not the next one's": b"event: error\n\n" + sse(delta(content="Hello there.")),
    "data over several lines": b'data: {"choices":\ndata: [{"delta":\ndata: {"content": "Hello there."}}]}\n\n',
    "parts": sse(delta(content=PARTS)),
    "choices empty, null, missing": sse({"choices": []}, {"choices": None}, {}, delta(content="Hello there.")),
    "thoughts first": sse(delta(reasoning_content="plan", content=None), delta(content="Hello there.")),
    "message instead of delta": sse(WHOLE),
    "text instead of delta": sse({"choices": [{"text": "Hello there."}]}),
    "one completion": json.dumps(WHOLE).encode(),
    "one completion, indented": b"\n" + json.dumps(WHOLE, indent=2).encode(),
    "JSON lines": b"".join(json.dumps(delta(content=text)).encode() + b"\n" for text in ("Hello ", "there.")),
    "a refusal": sse(delta(refusal="Hello there.")),
    "several replies": sse(delta(content="Hello "), other(content="Good "), delta(content="there."), other(content="day.")),
    "several replies at once": sse(
        {"choices": delta(content="Hello ")["choices"] + other(content="Good ")["choices"]},
        {"choices": other(content="day.")["choices"] + delta(content="there.")["choices"]},
    ),
    "all of it once more at the end": sse(delta(content="Hello "), delta(content="there."), WHOLE),
    "a picture cut in two": sse(delta(content="Hello \ud83d"), delta(content="\ude00there.")),
    "characters that draw nothing": sse(delta(content="\ufeffHel\u200blo \u202ethere.\0")),
    "numbers and nulls": sse(None, 5, "text", [], delta(content=5), delta(content="Hello there."), {"choices": [None]}, {"choices": "x"}),
}


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("content_type", ["", "application/json"])
async def test_every_shape_of_a_reply_is_read(server: StandInOpenAI, services: Services, name: str, content_type: str) -> None:
    """What is meant to be said is said, and nothing else."""
    server.fail("think", RequestFault(body=REPLIES[name], content_type=content_type))
    assert await services.think() == "Hello there."


TRANSCRIPTS = {
    "json": (b'{"text": "Hello there."}', ""),
    "verbose": (json.dumps({"task": "transcribe", "text": " Hello  there. ", "segments": [{"text": "Hello"}]}).encode(), ""),
    "plain text": (b"Hello there.\n", "text/plain; charset=utf-8"),
    "plain text without a name": (b" Hello there.", "application/octet-stream"),
    "a string": (b'"Hello there."', "application/json"),
    "JSON lines": (b'{"text": "Hello there."}\n{"text": null}\n', "application/json"),
    "deltas": (sse({"type": "transcript.text.delta", "delta": "Hello "}, {"delta": "there."}), "text/event-stream"),
    "deltas and all of it": (sse({"delta": "Hel"}, {"type": "transcript.text.done", "text": "Hello there."}), "text/event-stream"),
    "segments": (b"event: segment\n" + sse({"text": "Hello"}, {"text": "there."}), "text/plain"),
    "brackets beside words": (b"[laughs] Hello there.", "text/plain"),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_every_shape_of_a_transcript_is_read(server: StandInOpenAI, services: Services, name: str) -> None:
    """JSON or the text itself."""
    body, content_type = TRANSCRIPTS[name]
    server.fail("transcribe", RequestFault(body=body, content_type=content_type))
    assert (await services.transcribe()).removeprefix("[laughs] ") == "Hello there."


@pytest.mark.parametrize("body", [b'{"text": null}', b'{"text": ""}', b'{"text": "[BLANK_AUDIO]"}', b'{"text": null, "error": null}'])
async def test_a_transcript_without_words_is_no_fault_of_the_server(server: StandInOpenAI, services: Services, body: bytes) -> None:
    """Null is how some servers say that nobody spoke."""
    server.fail("transcribe", RequestFault(body=body))
    with pytest.raises(ServiceError) as caught:
        await services.transcribe()
    assert (str(caught.value), caught.value.cause) == (HEARD_NOTHING, "no words")


@pytest.mark.parametrize("body", [b"{}", b'{"detail": "Not Found"}', b'{"text": 5}', b"null", b"[1]", b'{"text": ["a"]}'])
async def test_json_that_is_no_transcript_is_said_so(server: StandInOpenAI, services: Services, body: bytes) -> None:
    """Another kind of server, or another path of it."""
    server.fail("transcribe", RequestFault(body=body))
    with pytest.raises(ServiceError, match="not an OpenAI-compatible server"):
        await services.transcribe()


ERRORS: list[Any] = [
    {"error": {"message": "Model is still loading."}},
    {"error": "Model is still loading"},
    {"error": {"code": 500, "message": "Model is still\n\x1b[31mloading.\u202e"}},
    {"object": "error", "message": "Model is still loading"},
    {"type": "error", "message": "Model is still loading"},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_with_status_200_is_told(server: StandInOpenAI, services: Services, name: ServiceName, error: Any) -> None:
    """The server's own words, made harmless, stand in the sentence and not in the cause."""
    server.fail(name, RequestFault(body=json.dumps(error).encode(), content_type="application/json"))
    with pytest.raises(ServiceError, match=r"Model is still (\[31m)?loading") as caught:
        await services.use(name)()
    assert caught.value.cause == "error in the answer"
    assert str(caught.value).isprintable()


async def test_an_error_within_a_stream_is_told(server: StandInOpenAI, services: Services) -> None:
    """What came before it was said; the key that it repeats is not."""
    body = sse(delta(content="Hello"), {"error": {"message": f"No credit for {server.api_key} at all"}})
    server.fail("think", RequestFault(body=body))
    with pytest.raises(ServiceError, match=r"answers with an error \(No credit for \*\*\* at all\)\."):
        await services.think()


SOUND = hum("Hello there.")
WRITTEN: dict[str, Callable[[bytes], str]] = {
    "base64": lambda data: base64.b64encode(data).decode(),
    "without padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "for URLs": lambda data: base64.urlsafe_b64encode(data).decode(),
    "in lines": lambda data: base64.encodebytes(data).decode(),
    "a data URL": lambda data: "data:audio/wav;base64," + base64.b64encode(data).decode(),
    "hexadecimal": bytes.hex,
}


@pytest.mark.parametrize("written", WRITTEN)
async def test_sound_in_json_is_unwrapped_however_it_is_written(server: StandInOpenAI, services: Services, written: str) -> None:
    """Sample by sample the same: a wrong reading of it is noise."""
    data = b"\xfb\xff" + SOUND  # has both letters that the alphabets differ in
    server.fail("speak", RequestFault(body=data), RequestFault(body=json.dumps({"audio": WRITTEN[written](data)}).encode()))
    assert await services.speak() == await services.speak()


NO_SOUND = {
    "text": b"RateConverter limit exceeded, please try again later.",
    "base64 without JSON": base64.b64encode(SOUND),
    "Wave64": b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00" + SOUND,
    "big-endian WAV": b"RIFX\x00\x00\x00\x24WAVEfmt " + SOUND,
    "gzip": b"\x1f\x8b\x08\x00" + SOUND,
    "VOC": b"Creative Voice File\x1a\x1a\0" + SOUND,
    "SILK": b"\x02#!SILK_V3" + SOUND,
}


@pytest.mark.parametrize("kind", NO_SOUND)
@pytest.mark.parametrize("content_type", ["audio/pcm", "audio/mpeg", "text/plain"])
async def test_what_is_no_sound_is_not_played(server: StandInOpenAI, services: Services, kind: str, content_type: str) -> None:
    """Played as samples it would be a roar in everybody's speech_input."""
    server.fail("speak", RequestFault(body=NO_SOUND[kind], content_type=content_type))
    with pytest.raises(ServiceError, match=r"sends .*, which is not played here") as caught:
        await services.speak()
    assert caught.value.cause == "unplayable sound"
    assert kind.partition(" without")[0].partition(" of")[0].replace("base64", "text") in str(caught.value)


@pytest.mark.parametrize("field", ["audio", "audioContent", "data", "nested"])
@pytest.mark.parametrize("kind", ["pcm", "wav", "mp3"])
async def test_sound_in_json_is_unwrapped(server: StandInOpenAI, services: Services, field: str, kind: str) -> None:
    """Base64 in one of the usual fields, whatever is in it."""
    text = base64.b64encode(encoded(SOUND, kind)).decode()
    body = {"audio": {"data": text}} if field == "nested" else {field: text}
    server.fail("speak", RequestFault(body=json.dumps(body).encode(), content_type="application/json"))
    assert ENGINE.duration_ms(len(await services.speak())) == pytest.approx(MODEL.duration_ms(len(SOUND)), abs=100)


async def test_sound_in_events_is_unwrapped(server: StandInOpenAI, services: Services) -> None:
    """As `stream_format = "sse"` sends it."""
    pieces = [SOUND[start : start + 3001] for start in range(0, len(SOUND), 3001)]
    events = [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces]
    server.fail("speak", RequestFault(body=sse(*events, {"type": "speech.audio.done"}, done=False), content_type="text/event-stream"))
    assert ENGINE.duration_ms(len(await services.speak())) == pytest.approx(MODEL.duration_ms(len(SOUND)), abs=10)


async def test_headerless_sound_at_a_set_rate_keeps_its_pitch(server: StandInOpenAI, services: Services) -> None:
    """`cascade.speak.rate_hz` is obeyed, also where the server names another."""
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(11_025) / 22_050)).astype("<i2").tobytes()
    services.speaker._rate_hz = 22_050
    server.fail("speak", RequestFault(body=tone), RequestFault(body=tone, content_type="audio/pcm;rate=24000"))
    for _ in range(2):
        heard = np.frombuffer(await services.speak(), "<i2").astype(float)
        peak_hz = np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) * ENGINE.rate_hz / len(heard)
        assert peak_hz == pytest.approx(440, abs=4)


@pytest.mark.parametrize("begin", [b"<\0", b"{\0", b" \0", b"\n\0", b"\xef\xbb", b": ", b"\xff\xff", b"\xff\x00"])
async def test_quiet_samples_are_sound_whatever_they_look_like(server: StandInOpenAI, services: Services, begin: bytes) -> None:
    """The first sample of PCM may be the first character of a page, of JSON or of an event."""
    server.fail("speak", RequestFault(body=begin + SOUND))
    heard = np.frombuffer(await services.speak(), "<i2")
    assert len(heard) == pytest.approx(2 * (len(SOUND) // 2 + 1) + 160, abs=2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", [b"<html>", b"\n<!DOCTYPE html><html>", b'<?xml version="1.0"?>'])
async def test_a_page_under_any_name_is_no_answer(server: StandInOpenAI, services: Services, name: ServiceName, page: bytes) -> None:
    """Some proxies name their pages as what was asked for."""
    server.fail(name, RequestFault(body=page + b"<body>" * 50))
    with pytest.raises(ServiceError, match="not an OpenAI-compatible server"):
        await services.use(name)()


URLS = {
    "https://host/v1": "https://host/v1/chat/completions",
    "https://host/v1/": "https://host/v1/chat/completions",
    "https://host": "https://host/chat/completions",
    "https://host/openai/deployments/gpt-4o?api-version=X": "https://host/openai/deployments/gpt-4o/chat/completions?api-version=X",
    "https://host/v1/?a=1&a=2&b=%2F#part": "https://host/v1/chat/completions?a=1&a=2&b=%2F",
    "http://[::1]:8000/v1?x": "http://[::1]:8000/v1/chat/completions?x",
}


@pytest.mark.parametrize("base_url", URLS)
def test_a_request_s_url_is_joined_by_its_parts(base_url: str) -> None:
    """The path goes before the base URL's query."""
    assert Service("think", base_url, "m").url_of("/chat/completions") == URLS[base_url]


@pytest.mark.parametrize("name", NAMES)
async def test_a_base_url_with_a_query_reaches_the_server(server: StandInOpenAI, name: ServiceName) -> None:
    """Every service asks at the right path, with the query, as Azure wants it."""
    service = Service(name, f"{server.base_url}?api-version=2024-06-01", "gpt-6-luna", api_key=server.api_key)
    clients = Clients([service])
    assert await Services(clients, service, service, service, clock=SystemClock()).use(name)()
    await clients.close()


def test_events_are_bounded_before_they_are_whole() -> None:
    """An endless line is given up at the budget, not when memory is full."""
    reader, block = EventReader(), b"x" * 1024
    for _ in range(LONGEST_EVENT_BYTES // len(block)):
        assert list(reader.feed(block)) == []
    with pytest.raises(EventTooLongError):
        list(reader.feed(block))


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
async def test_much_sound_may_come_in_one_event(server: StandInOpenAI, services: Services, content_type: str) -> None:
    """Twelve seconds of PCM as base64; another service's events stay short."""
    message = json.dumps({"audio": base64.b64encode(bytes(12 * 48_000)).decode()}).encode()
    body = b"data: " + message + b"\n\n" if "stream" in content_type else message
    server.fail("speak", RequestFault(body=body, content_type=content_type))
    assert await services.speak()
    server.fail("think", RequestFault(body=b"data: " + message + b"\n\n", content_type="text/event-stream"))
    with pytest.raises(ServiceError, match="one line without an end"):
        await services.think()


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_may_be_cut_anywhere(end: bytes, size: int) -> None:
    """Also between CR and LF."""
    text = b": hi\nevent: x\ndata: one\n\ndata: two\ndata: lines\n\ndata: {}\n\n".replace(b"\n", end)
    reader = EventReader()
    found = [data for start in range(0, len(text), size) for data in reader.feed(text[start : start + size])] + [*reader.finish()]
    assert [data for data in found if data] == [b"one", b"two\nlines", b"{}"]


@pytest.mark.parametrize("message", [None, 5, "x", [], {}, {"choices": 5}, {"choices": [5]}, {"choices": [{"delta": 5}]}])
def test_strange_messages_have_no_text(message: Any) -> None:
    """Any JSON is a message without text, or one with it."""
    assert text_of(OneReply().delta_of(message)) == ""


@pytest.mark.parametrize(("key", "told"), [(NO_KEY, "no unused hunter2-secret"), ("hunter2-secret", "no unused ***")])
def test_a_key_that_a_server_repeats_is_masked(key: str, told: str) -> None:
    """Whatever it looks like; the word that is sent where no key is set is none."""
    assert server_words({"error": "no unused hunter2-secret."}, Service("think", "http://x", "m", api_key=key)) == told


@pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\u202e", "\0", "\ud800"])
def test_a_key_with_something_hidden_in_it_is_masked(hidden: str) -> None:
    """It is looked for in what people would see."""
    words = f"no hunter2{hidden}-secret"
    assert server_words({"error": words}, Service("think", "http://x", "m", api_key="hunter2-secret")) == "no ***"


def test_a_key_at_the_end_of_what_is_read_is_not_shown_in_part() -> None:
    """White space is folded after the cut, and brings what lies far behind to the front."""
    words = " " * (READ_LIMIT - 10) + "hunter2-secret"
    assert "hunter" not in server_words({"error": f"no{words}"}, Service("think", "http://x", "m", api_key="hunter2-secret"))
