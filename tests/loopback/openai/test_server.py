"""The stand-in, as the official SDK sees it."""

import io
import itertools
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from discordplex.audio.format import MODEL
from discordplex.audio.wav import wav_of
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.faults import Delays, RequestFault
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived, ResponseSent
from discordplex.loopback.openai.server import BLOCK_BYTES, StandInOpenAI, in_turn
from discordplex.loopback.openai.voice import FORMATS, hum, length_ms

HELLO: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi."}]


@pytest.fixture
async def server() -> AsyncIterator[StandInOpenAI]:
    async with StandInOpenAI() as server:
        yield server


@pytest.fixture
async def client(server: StandInOpenAI) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0, timeout=10) as client:
        yield client


async def chat(client: openai.AsyncOpenAI, model: str = "gpt-4o-mini") -> list[str]:
    """The contents of a streamed reply, as the SDK reads them."""
    stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
    async with stream:
        return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices and chunk.choices[0].delta.content]


async def speech(client: openai.AsyncOpenAI, kind: Any = "pcm") -> tuple[bytes, str]:
    create = client.audio.speech.with_streaming_response.create
    async with create(model="tts-1", voice="shimmer", input="Hello there", response_format=kind) as response:
        return b"".join([chunk async for chunk in response.iter_bytes()]), response.headers["content-type"]


async def test_chat_streams_word_by_word(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """A reply comes in pieces whose sum it is, and the request is written down as it was sent."""
    server.replies = in_turn(["One two three."])
    assert await chat(client) == ["One", " two", " three."]
    (asked,) = server.log.of(RequestReceived)
    assert asked.body["messages"] == HELLO
    assert asked.key == server.api_key
    assert server.log.of(ResponseSent)[0].service == "think"


async def test_chat_without_streaming(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Whoever does not stream gets the reply whole."""
    del server
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.choices[0].message.content == "Oh, hello! You said: Hi. How lovely, tell me more."


async def test_transcription_says_what_it_heard(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Sound comes back as text: a script's, or its length."""
    file = ("speech.wav", wav_of(bytes(MODEL.bytes_of_ms(1500)), MODEL.rate_hz), "audio/wav")
    create = client.audio.transcriptions.create
    assert (await create(file=file, model="whisper-1")).text == "I spoke for 1.5 seconds."
    server.hears = in_turn(["first", "second"])
    assert [(await create(file=file, model="whisper-1", extra_body={"language": "de"})).text for _ in range(3)] == [
        "first",
        "second",
        "second",
    ]
    assert server.log.of(RequestReceived)[-1].body == {"model": "whisper-1", "language": "de", "file_ms": 1500}
    with pytest.raises(openai.BadRequestError):
        await create(file=("speech.wav", b"no sound", "audio/wav"), model="whisper-1")


@pytest.mark.parametrize("kind", FORMATS)
async def test_speech_in_every_format(client: openai.AsyncOpenAI, kind: str) -> None:
    """Sound comes as the kind that was asked for, with its content type."""
    data, content_type = await speech(client, kind)
    assert content_type == FORMATS[kind]
    assert data.startswith({"pcm": hum("Hello there")[:100], "wav": b"RIFF", "opus": b"OggS", "mp3": b"\xff\xf3"}.get(kind, b""))
    if kind == "wav":
        assert length_ms(io.BytesIO(data).read()) == MODEL.duration_ms(len(hum("Hello there")))


async def test_sound_comes_in_odd_blocks(client: openai.AsyncOpenAI) -> None:
    """The first block ends within a sample."""
    create = client.audio.speech.with_streaming_response.create
    async with create(model="tts-1", voice="shimmer", input="Hello there", response_format="pcm") as response:
        sizes = [len(chunk) async for chunk in response.iter_bytes()]
    assert BLOCK_BYTES in itertools.accumulate(sizes)  # a read may end earlier, where the network cut it
    assert BLOCK_BYTES % 2


async def test_models_have_their_shutdown_dates(client: openai.AsyncOpenAI) -> None:
    """The list and each model tell when they end, where they do."""
    dates = {model.id: getattr(model, "shutdown_date", None) async for model in client.models.list()}
    assert dates["tts-1"] == "2027-01-06"
    assert dates["gpt-transcribe"] is None
    assert (await client.models.retrieve("whisper-1")).id == "whisper-1"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


FAULTS = [
    (RequestFault(status=401), openai.AuthenticationError, "invalid_api_key"),
    (RequestFault(status=404), openai.NotFoundError, "model_not_found"),
    (RequestFault(status=404, code="model_shut_down"), openai.NotFoundError, "model_not_found"),
    (RequestFault(status=429, retry_after_s=2), openai.RateLimitError, "rate_limit_exceeded"),
    (RequestFault(status=429, code="insufficient_quota"), openai.RateLimitError, "insufficient_quota"),
    (RequestFault(status=500), openai.InternalServerError, None),
    (RequestFault(status=502, html=True), openai.InternalServerError, None),
]


@pytest.mark.parametrize(("fault", "kind", "code"), FAULTS)
async def test_errors_have_the_api_s_shape(
    server: StandInOpenAI, client: openai.AsyncOpenAI, fault: RequestFault, kind: type[openai.APIStatusError], code: str | None
) -> None:
    """The SDK understands each error as what it is, and the next request is served."""
    server.fail("think", fault)
    with pytest.raises(kind) as caught:
        await chat(client)
    assert caught.value.code == code
    if fault.retry_after_s:
        assert caught.value.response.headers["retry-after"] == "2"
    assert await chat(client)


async def test_a_wrong_key_and_an_unknown_model_are_refused(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Without being told to fail: keys and models are checked."""
    with pytest.raises(openai.AuthenticationError):
        await chat(client.with_options(api_key="sk-wrong"))
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        await chat(client, "gpt-9")
    assert [record.status for record in server.log.of(ResponseSent)] == [401, 404]


async def test_a_cut_stream_is_a_dropped_connection(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """A connection that dies within a reply is an error, in sound too."""
    server.fail("think", RequestFault(cut_after=2))
    with pytest.raises(Exception, match=r"Connection error|peer closed|incomplete"):
        await chat(client)
    server.fail("speak", RequestFault(cut_after=1))
    with pytest.raises(Exception, match=r"Connection error|peer closed|incomplete"):
        await speech(client)


async def test_a_client_that_hangs_up_is_noticed(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Leaving a stalled stream ends the request at the server, which writes it down."""
    server.fail("think", RequestFault(stall_after=1))
    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    async with stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    await server.log.wait_for(lambda log: log.of(ClientHungUp))
    assert not server.log.of(ResponseSent)


async def test_odd_streams_are_legal(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Comments, chunks without choices, nulls and CRLF change nothing for a good client; an empty reply is one."""
    server.replies = in_turn(["One two."])
    server.fail("think", RequestFault(odd=True), RequestFault(empty=True))
    assert await chat(client) == ["One", " two."]
    assert await chat(client) == []


async def test_it_takes_its_time() -> None:
    """Delays are on the clock that it was given."""
    clock = FakeClock()
    async with (
        StandInOpenAI(clock=clock, delays=Delays(first_token_ms=400, token_ms=18), replies=in_turn(["One two three."])) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
        for milliseconds in (400, 18, 18):
            await clock.advance(milliseconds / 1000)
        async with stream:
            assert len([chunk async for chunk in stream]) == 5
        asked, answered = server.log
        assert answered.at - asked.at == pytest.approx(0.436)


async def test_requests_that_are_none_are_refused(server: StandInOpenAI, client: openai.AsyncOpenAI) -> None:
    """Missing fields are an error of the client's, in the API's shape."""
    del server
    for path, body in (("/chat/completions", {"model": "gpt-4o-mini"}), ("/audio/speech", {"model": "tts-1", "input": 3})):
        with pytest.raises(openai.BadRequestError):
            await client.post(path, body=body, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        await client.post("/audio/transcriptions", body={}, cast_to=object)
