"""An opt-out, `/stop` and `/reset` reach every holder of sound and words. One test for each holder, over a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

from discordplex.cascade import outbox
from discordplex.cascade.provider import CascadeProvider
from discordplex.config import CascadeConfig
from discordplex.engine import Audio, Interrupted, PlaybackHeld, PlaybackResumed, Problem, Text
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.openai.faults import RequestFault, Service
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived, ResponseSent
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from tests.audio.signals import samples
from tests.cascade.conftest import config_of
from tests.cascade.harness import ANNA, BEN, PERSONA, Call, calling
from tests.hearing.speech import frames_of, sentences, windows_16k

LONG_REPLY = "Well, let me tell you a long story. " + " ".join(f"This is sentence number {n} of it." for n in "abcdefgh")


def asked(server: StandInOpenAI, service: Service) -> int:
    return sum(one.service == service for one in server.log.of(RequestReceived))


def dropped(server: StandInOpenAI) -> list[Service]:
    return [one.service for one in server.log.of(ClientHungUp)]


def chats(server: StandInOpenAI) -> list[list[str]]:
    """What each request for a reply carried, without the persona."""
    return [
        [message["content"] for message in one.body["messages"][1:]] for one in server.log.of(RequestReceived) if one.service == "think"
    ]


@pytest.fixture
def patient(server: StandInOpenAI) -> CascadeConfig:
    """Who stalls is not given up before the test is over."""
    return config_of(server)


async def half_a_sentence(call: Call, speaker: int) -> None:
    pcm = sentences()[1]
    await call.say(pcm[: len(pcm) // 2 // 1920 * 1920], speaker)


async def asks(call: Call, server: StandInOpenAI, service: Service, sentence: int, speaker: int) -> None:
    """Say a sentence and return when another request of that service has come."""
    before = asked(server, service)
    await call.ask(sentence, speaker)
    await server.log.wait_for(lambda _: asked(server, service) > before)


class Wire:
    """A port in front of the server that keeps every byte of every request."""

    def __init__(self, server: StandInOpenAI) -> None:
        self._server = server
        self.sent = bytearray()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The base URL of it."""
        pipes: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", urlsplit(self._server.base_url).port)
            pipes.add(asyncio.create_task(pipe(reader, behind_writer, self.sent)))
            pipes.add(asyncio.create_task(pipe(behind_reader, writer, bytearray())))

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        listener.close()
        await asyncio.gather(*pipes)  # both sides have hung up

    def carries_sound_of(self, pcm: bytes) -> bool:
        """Whether a stretch of what was sent is like this ENGINE PCM, wherever it stands: the correlation is near 1 where it does."""
        sought = samples(b"".join(windows_16k(pcm)))[4000:12000]
        return any(peak_of(samples(bytes(self.sent[odd : odd + (len(self.sent) - odd) // 2 * 2])), sought) > 0.8 for odd in (0, 1))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    """Hand on what comes, and keep it."""
    try:
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def peak_of(sent: NDArray[np.float64], sought: NDArray[np.float64]) -> float:
    """The greatest normalised correlation of `sought` with a stretch of `sent`."""
    if len(sent) < len(sought):
        return 0.0
    size = len(sent) + len(sought)
    product = np.fft.irfft(np.fft.rfft(sent, size) * np.fft.rfft(sought[::-1], size), size)[len(sought) - 1 : len(sent)]
    sums = np.concatenate([[0.0], np.cumsum(sent**2)])
    power = np.sqrt(sums[len(sought) :] - sums[: -len(sought)]) * np.sqrt((sought**2).sum())
    return float(np.max(np.abs(product) / np.maximum(power, 1.0)))


def test_the_wire_knows_a_sound_again() -> None:
    """Whole, or in the midst of other bytes; another sentence is not taken for it."""
    wire = Wire.__new__(Wire)
    for sentence, found in ((0, True), (1, False)):
        wire.sent = bytearray(b"odd" + b"".join(windows_16k(sentences()[sentence])))
        assert wire.carries_sound_of(sentences()[0]) is found


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
@pytest.mark.parametrize("stage", ["hearing", "thinking", "speaking", "between"])
async def test_no_later_request_carries_what_was_dropped(server: StandInOpenAI, wish: str, stage: str) -> None:
    """Every byte to the server, from the wish on: nothing of Anna's sound or words, and after a reset nothing of what came before it.

    After `/stop` words that the model was asked about already stay in the history (docs/cascade.md).
    """
    server.hears = in_turn(["Quodlibet.", "Xanthippe."])
    server.replies = in_turn(["Ad libitum.", f"Xanthippe it is. {LONG_REPLY}"])
    wire = Wire(server)
    async with wire.listening() as url, calling(config_of(server).model_copy(update={"base_url": url})) as call:
        await call.ask(2, BEN)
        await call.hear_out()
        match stage:
            case "hearing":
                server.fail("transcribe", RequestFault(stall_after=0))
                await asks(call, server, "transcribe", 0, ANNA)
            case "thinking":
                server.fail("think", RequestFault(stall_after=1))
                await asks(call, server, "think", 0, ANNA)
            case "speaking":
                await call.ask(0, ANNA)
                await call.until(lambda call: any("Xanthippe" in text.text for text in call.spoken))
            case _:
                await call.ask(0, ANNA)
                await call.hear_out(2)
        assert wire.carries_sound_of(sentences()[0])
        await obey(call, wish)
        await settle()
        wire.sent.clear()
        server.hears, server.replies = in_turn(["Later."]), in_turn(["Indeed."])
        await call.ask(1, BEN)
        await call.until(lambda call: any("Indeed" in text.text for text in call.spoken))
    assert b"Later." in wire.sent
    assert not wire.carries_sound_of(sentences()[0])
    if wish != "pause" or stage == "hearing":
        assert b"Xanthippe" not in wire.sent
    assert (b"Quodlibet" in wire.sent, b"Ad libitum" in wire.sent) == ((False, False) if wish == "reset" else (True, True))


@pytest.mark.parametrize("wish", ["forget", "pause", "reset"])
async def test_an_utterance_that_has_begun_is_never_sent(server: StandInOpenAI, config: CascadeConfig, wish: str) -> None:
    """What was said before the wish reaches no server; what is said afterwards does."""
    async with calling(config) as call:
        await half_a_sentence(call, ANNA)
        await obey(call, wish)
        await call.rest(1000)
        assert asked(server, "transcribe") == 0
        await call.ask(0)
        await call.hear_out()
    (only,) = [one for one in server.log.of(RequestReceived) if one.service == "transcribe"]
    assert only.body["file_ms"] < len(frames_of(sentences()[0])) * 20 + 600


async def obey(call: Call, wish: str, speaker: int = ANNA) -> None:
    match wish:
        case "forget":
            await call.engine.forget(speaker)
        case "pause":
            await call.engine.pause()
        case "reset":
            call.lease.reset()
        case "lease":
            call.lease.forget(speaker)


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
async def test_a_queued_utterance_is_never_sent(server: StandInOpenAI, patient: CascadeConfig, wish: str) -> None:
    """What waits behind somebody else's transcription is dropped."""
    server.fail("transcribe", RequestFault(stall_after=0))
    server.hears = in_turn(["Later."])
    async with calling(patient) as call:
        await asks(call, server, "transcribe", 1, BEN)
        await call.ask(0, ANNA)
        await obey(call, wish)
        await obey(call, wish, BEN)
        await server.log.wait_for(lambda _: dropped(server) == ["transcribe"])
        await call.ask(2, BEN)
        await call.hear_out()
    assert [text.speaker for text in call.said] == [BEN]
    assert asked(server, "transcribe") == 2


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
async def test_a_transcription_in_flight_is_cancelled(server: StandInOpenAI, patient: CascadeConfig, wish: str) -> None:
    """The server sees the connection drop, nothing follows, and the next utterance is heard."""
    server.fail("transcribe", RequestFault(stall_after=0))
    async with calling(patient) as call:
        await asks(call, server, "transcribe", 0, ANNA)
        before = len(call.events)
        await obey(call, wish)
        await server.log.wait_for(lambda _: dropped(server) == ["transcribe"])
        await settle()
        assert call.events[before:] == []
        await call.ask(1)
        await call.hear_out()
        assert len(call.said) == 1


async def test_somebody_else_s_transcription_goes_on(server: StandInOpenAI, config: CascadeConfig) -> None:
    """An opt-out concerns one person."""
    async with calling(config) as call:
        await asks(call, server, "transcribe", 0, BEN)
        await call.engine.forget(ANNA)
        await call.hear_out()
    assert [text.speaker for text in call.said] == [BEN]


@pytest.mark.parametrize("wish", ["forget", "lease"])
async def test_words_that_wait_for_an_answer_are_dropped(server: StandInOpenAI, config: CascadeConfig, wish: str) -> None:
    """While Ben is answered Anna's question waits; forgotten, it is never asked, and Ben's answer goes on to its end."""
    server.replies = in_turn([LONG_REPLY])
    async with calling(config) as call:
        await call.ask(0, BEN)
        await call.until(lambda call: call.of(Audio))
        call.engine._dialogue._barge_in.began = lambda *_, **__: False  # type: ignore[union-attr, method-assign]
        await call.ask(1, ANNA)
        await call.until(lambda call: len(call.said) == 2)
        await obey(call, wish)
        await call.hear_out()
        await settle()
    assert len(chats(server)) == 1
    assert call.interrupted() == []
    assert call.words(call.spoken[0].item) == LONG_REPLY


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
@pytest.mark.parametrize("service", ["think", "speak"])
async def test_a_reply_in_the_making_is_cancelled(server: StandInOpenAI, patient: CascadeConfig, wish: str, service: Service) -> None:
    """The chat request and the speech requests are dropped at the server, people's side is told to stop, and nothing of it follows."""
    server.hears, server.replies = in_turn(["My secret."]), in_turn([LONG_REPLY])
    server.fail(service, *[RequestFault(stall_after=1)] * (1 if service == "think" else 2))
    async with calling(patient) as call:
        await call.ask(0, ANNA)
        await server.log.wait_for(lambda _: asked(server, service) == (1 if service == "think" else 2))
        await obey(call, wish)
        await server.log.wait_for(lambda _: dropped(server).count(service) == (1 if service == "think" else 2))
        await settle()
        assert isinstance(call.events[-1], Interrupted)
        requests = len(server.log.of(RequestReceived))
        await call.clock.advance(5)
        assert len(server.log.of(RequestReceived)) == requests
        server.hears, server.replies = in_turn(["Mine."]), in_turn(["Yours."])
        await call.ask(1, BEN)
        await call.hear_out()
    assert chats(server)[-1] == (["Anna: My secret.\nBen: Mine."] if wish == "pause" else ["Ben: Mine."])


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
async def test_a_reply_that_is_heard_is_stopped(server: StandInOpenAI, config: CascadeConfig, wish: str) -> None:
    """All of it was handed over, and it still sounds."""
    server.replies = in_turn([LONG_REPLY])
    async with calling(config) as call:
        await call.ask(0, ANNA)
        await call.until(lambda call: any(text.final for text in call.spoken))
        await call.clock.advance(2)
        await obey(call, wish)
        await settle()
        assert call.events[-1] == Interrupted(call.spoken[0].item)
        if wish != "pause":
            await call.engine.interrupt(call.spoken[0].item, 2000)
        await call.ask(1, BEN)
        await server.log.wait_for(lambda _: len(chats(server)) == 2)
    assert len(chats(server)[1]) == (3 if wish == "pause" else 1)


@pytest.mark.parametrize("wish", ["forget", "lease"])
async def test_history_holds_nothing_of_them(server: StandInOpenAI, config: CascadeConfig, wish: str) -> None:
    """Their words go, and each answer whose request carried their words, because it may quote them; what others said stays."""
    server.hears = in_turn(["Hello.", "My secret.", "What did she say?", "And now?"])
    server.replies = in_turn(["Hello Ben.", "Your secret.", "Her secret.", "Well."])
    async with calling(config) as call:
        for turn, speaker in enumerate((BEN, ANNA, BEN), 1):
            await call.ask(turn % 3, speaker)
            await call.hear_out(turn)
        await obey(call, wish)
        await call.ask(0, BEN)
        await call.hear_out(4)
    assert chats(server)[2] == ["Ben: Hello.", "Hello Ben.", "Anna: My secret.", "Your secret.", "Ben: What did she say?"]
    assert chats(server)[3] == ["Ben: Hello.", "Hello Ben.", "Ben: What did she say?\nBen: And now?"]


async def test_an_answer_to_somebody_else_is_made_anew_without_them(server: StandInOpenAI, patient: CascadeConfig) -> None:
    """A request in flight that carries Anna's words in its history is dropped, and Ben's question is asked again without them."""
    server.hears = in_turn(["My secret.", "What did she say?"])
    server.replies = in_turn(["Aha.", "Her secret.", "I do not know."])
    server.fail("think", RequestFault(), RequestFault(stall_after=1))
    async with calling(patient) as call:
        await call.ask(0, ANNA)
        await call.hear_out()
        await asks(call, server, "think", 1, BEN)
        await call.engine.forget(ANNA)
        await call.hear_out(2)
    assert dropped(server) == ["think"]
    assert chats(server)[2] == ["Ben: What did she say?"]
    assert call.words(call.spoken[-1].item) == "I do not know."


async def test_nobody_is_answered_anew_who_is_forgotten_too(server: StandInOpenAI, patient: CascadeConfig) -> None:
    """Two opt-outs at the same moment leave nothing to answer."""
    server.fail("think", RequestFault(), RequestFault(stall_after=1))
    async with calling(patient) as call:
        await call.ask(0, ANNA)
        await call.hear_out()
        await asks(call, server, "think", 1, BEN)
        await asyncio.gather(call.engine.forget(ANNA), call.engine.forget(BEN))
        await server.log.wait_for(lambda _: dropped(server) == ["think"])
        await settle()
    assert len(chats(server)) == 2


@pytest.mark.parametrize("wish", ["forget", "pause", "reset", "lease"])
async def test_captions_that_nobody_has_read_are_dropped(server: StandInOpenAI, patient: CascadeConfig, wish: str) -> None:
    """Words and sound that wait in the outbox never reach the call."""
    server.replies = in_turn(["I heard you. All of it."])
    async with calling(patient, reading=False) as call:
        await call.ask(0, ANNA)
        await server.log.wait_for(lambda _: asked(server, "speak") == 2)
        await settle()
        await obey(call, wish)
        collecting = asyncio.create_task(call.collect())
        await settle()
        collecting.cancel()
    assert not call.of(Text)
    assert not call.of(Audio)
    assert not call.of(Problem)


@pytest.mark.parametrize("capacity", range(2, 8))
async def test_who_waited_for_room_says_nothing_afterwards(
    server: StandInOpenAI, patient: CascadeConfig, monkeypatch: pytest.MonkeyPatch, capacity: int
) -> None:
    """A piece of the reply that stood before a full outbox when its asker was forgotten does not slip in."""
    monkeypatch.setattr(outbox, "CAPACITY", capacity)
    server.replies = in_turn([LONG_REPLY])
    async with calling(patient, reading=False) as call:
        await call.ask(0, ANNA)
        await server.log.wait_for(lambda log: len([one for one in log.of(ResponseSent) if one.service == "speak"]) >= 2)
        for _ in range(20):
            await settle()
        await call.engine.forget(ANNA)
        collecting = asyncio.create_task(call.collect())
        await settle()
        collecting.cancel()
    assert not call.of(Text)
    assert not call.of(Audio)


async def test_a_hold_ends_with_who_caused_it(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Ben's answer, held because Anna began to speak, goes on once she is not listened to any more."""
    server.replies = in_turn([LONG_REPLY])
    async with calling(config) as call:
        await call.ask(0, BEN)
        await call.until(lambda call: any(text.final for text in call.spoken))
        await call.say(sentences()[1], ANNA, until=lambda call: call.of(PlaybackHeld))
        await call.engine.forget(ANNA)
        await settle()
        assert isinstance(call.events[-1], PlaybackResumed)
        await call.rest(1000)
    assert call.interrupted() == []


async def test_the_memory_forgets_while_no_engine_is_open(server: StandInOpenAI, config: CascadeConfig) -> None:
    """The lease outlives its engines, and an opt-out between two of them holds."""
    server.hears = in_turn(["My secret.", "And mine."])
    clock = FakeClock()
    provider = CascadeProvider(config, clock=clock)
    async with calling(config, provider, clock) as call:
        await call.ask(0, ANNA)
        await call.hear_out()
        await call.ask(1, BEN)
        await call.hear_out(2)
        lease = call.lease
    assert lease.number_of(ANNA) == "Person 1"
    lease.open(PERSONA, call.metrics)  # and not entered, as where its server is away
    lease.forget(ANNA)
    assert [message["content"] for message in lease._history.as_chat("")[1:]] == ["Ben: And mine."]
    assert lease.number_of(ANNA) == "Person 2"
    lease.reset()
    assert len(lease._history) == 0


async def test_a_pause_keeps_what_was_answered(server: StandInOpenAI, config: CascadeConfig) -> None:
    """After `/stop` the conversation goes on where it was."""
    server.hears, server.replies = in_turn(["One.", "Two."]), in_turn(["First.", "Second."])
    async with calling(config) as call:
        await call.ask(0, ANNA)
        await call.hear_out()
        await call.engine.pause()
        await call.ask(1, ANNA)
        await call.hear_out(2)
    assert chats(server)[1] == ["Anna: One.", "First.", "Anna: Two."]
    assert call.interrupted() == []


async def test_forgetting_a_closed_engine_is_no_error(config: CascadeConfig) -> None:
    """An opt-out may come at any moment, before an engine is open and after it was left."""
    async with calling(config) as call:
        pass
    await call.engine.forget(ANNA)
    await call.engine.pause()
    call.lease.reset()
    call.lease.forget(ANNA)
    fresh = call.lease.open(call.engine._persona, call.metrics)
    await fresh.forget(ANNA)
    await fresh.pause()
