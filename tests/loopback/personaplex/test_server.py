"""The stand-in server as a bare WebSocket client meets it: what was measured on the real one."""

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import WSMsgType
from websockets.asyncio.client import connect

from discordplex.audio.format import ENGINE
from discordplex.audio.oggopus import OggOpusReader, OggOpusWriter
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.log import Log, Record
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import (
    AudioReceived,
    AudioSent,
    Connected,
    ConversationClosed,
    Crashed,
    HandshakeSent,
    MessageDiscarded,
    MessageIgnored,
    Pinged,
    PromptsLoading,
    Refused,
)
from discordplex.loopback.personaplex.ogg import BOS, write_page
from discordplex.loopback.personaplex.server import StandInServer

Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[Any]"

GOOD = {"voice_prompt": "NATF0.pt", "text_prompt": "hello"}
HANDSHAKE, AUDIO = b"\x00", b"\x01"
ABNORMAL = 1006


@asynccontextmanager
async def socket_to(server: StandInServer, query: dict[str, str] | None = None) -> AsyncIterator[Socket]:
    # A server that is busy never answers a goodbye.
    timeout = aiohttp.ClientWSTimeout(ws_close=0.1)
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(server.url, params=query or GOOD, autoping=False, timeout=timeout)
        try:
            yield socket
        finally:
            await socket.close()


async def data_of(socket: Socket) -> bytes:
    message = await socket.receive(20)
    assert message.type is WSMsgType.BINARY, message
    data: bytes = message.data
    return data


async def handshake(socket: Socket) -> list[bytes]:
    """Up to the header pages."""
    return [await data_of(socket) for _ in range(3)]


async def end_of(socket: Socket) -> int | None:
    """The close code, after everything else was read."""
    while (await socket.receive(20)).type not in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        pass
    return socket.close_code


def pages(frames: int) -> list[bytes]:
    writer = OggOpusWriter(ENGINE.rate_hz)
    return [AUDIO + writer.write(ENGINE.silence) for _ in range(frames)]


async def say(socket: aiohttp.ClientWebSocketResponse, frames: int) -> None:
    for page in pages(frames):
        await socket.send_bytes(page)


def has_heard(log: Log, count: int) -> bool:
    return len(log.of(AudioReceived)) >= count


async def test_a_conversation_from_handshake_to_close() -> None:
    """Handshake, two header pages, then one block for each 80 ms of input, strictly, and nothing without input."""
    async with StandInServer("echo", step_ms=0) as server:
        async with socket_to(server) as socket:
            first, head, tags = await handshake(socket)
            assert (first, head[29:37], tags[29:37]) == (HANDSHAKE, b"OpusHead", b"OpusTags")
            await say(socket, 43)
            reader = OggOpusReader(ENGINE.rate_hz)
            blocks = [reader.read((await data_of(socket))[1:]) for _ in range(10)]
            assert [len(block) for block in blocks] == [ENGINE.bytes_of_ms(80)] * 10
            await server.log.wait_for(lambda log: len(log.of(AudioReceived)) == 43)
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert len(server.log.of(AudioSent)) == 10
        assert [type(record) for record in server.log][:3] == [Connected, PromptsLoading, HandshakeSent]
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed)] == [(1000, "client")]


async def test_two_pages_a_message_as_moshi_does() -> None:
    """No header pages by themselves: the first message carries them before its two pages of 40 ms."""
    async with StandInServer("echo", step_ms=0, packets_per_step=2) as server, socket_to(server) as socket:
        assert await data_of(socket) == HANDSHAKE
        await say(socket, 8)
        assert [(await data_of(socket)).count(b"OggS") for _ in range(2)] == [4, 2]


async def test_prompts_take_a_step_for_each_token() -> None:
    """A long role keeps its client waiting longer, by one step for each token."""
    waits = []
    async with StandInServer("echo", prompt_step_ms=1) as server:
        for text in ("hi", "x" * 2000):
            async with socket_to(server, {**GOOD, "text_prompt": text}) as socket:
                await handshake(socket)
            prompting, ready = server.log.of(PromptsLoading)[-1], server.log.of(HandshakeSent)[-1]
            waits.append(ready.at - prompting.at)
    assert waits[0] >= 0.063
    assert waits[1] >= 0.563


async def test_what_comes_before_the_handshake_is_lost_and_its_first_page_is_missed() -> None:
    """A stream begun during the prompts dies of its next page: close 1000, no audio. A stream begun afterwards does not."""
    async with StandInServer("echo", step_ms=0) as server:
        async with socket_to(server) as socket:
            begun = pages(2)
            await socket.send_bytes(begun[0])
            await handshake(socket)
            await socket.send_bytes(begun[1])
            assert await end_of(socket) == 1000
        assert [record.size for record in server.log.of(MessageDiscarded)] == [len(begun[0])]
        assert server.log.of(Crashed)
        assert not server.log.of(AudioReceived)


async def test_the_second_client_hears_nothing_until_the_first_leaves() -> None:
    """Upgraded, then silence: no message, no close, no pong; then prompts, and then the handshake."""
    async with StandInServer("echo") as server, socket_to(server) as first:
        await handshake(first)
        async with socket_to(server) as second:
            await second.ping()
            # The first one's pong comes at once, so the second one's would have, too.
            await first.ping()
            assert (await first.receive(20)).type is WSMsgType.PONG
            assert len(server.log.of(Pinged)) == 1
            assert len(server.log.of(HandshakeSent)) == 1
            await first.close()
            assert (await second.receive(20)).type is WSMsgType.PONG
            assert await data_of(second) == HANDSHAKE


async def test_a_mere_connect_hijacks_a_session_that_is_being_set_up() -> None:
    """The persona lies on the one model before the lock is taken: the waiting client's is what the first one gets."""
    async with StandInServer("echo", prompt_step_ms=5) as server, socket_to(server) as first:
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        async with socket_to(server, {"voice_prompt": "VARM4.pt", "text_prompt": "somebody else"}):
            await handshake(first)
        assert [(record.client, record.text_prompt) for record in server.log.of(HandshakeSent)] == [(1, "somebody else")]


@pytest.mark.parametrize(
    "query",
    [
        {"text_prompt": "hello"},
        {"voice_prompt": "NATF0.pt"},
        {"voice_prompt": "NATF0", "text_prompt": "hello"},
        {"voice_prompt": "../x.pt", "text_prompt": "hello"},
        {**GOOD, "seed": "1"},
        {**GOOD, "text_prompt": ""},
    ],
)
async def test_a_bad_query_is_dropped_without_a_word(query: dict[str, str]) -> None:
    """101, and then the end of the connection, 1006; the next client is served."""
    async with StandInServer("echo") as server:
        async with socket_to(server, query) as socket:
            assert await end_of(socket) == ABNORMAL
        assert server.log.of(Refused)
        async with socket_to(server) as socket:
            await handshake(socket)


async def test_other_query_keys_are_ignored() -> None:
    """The web client sends a dozen more."""
    async with StandInServer("echo") as server, socket_to(server, {**GOOD, "text_temperature": "0.7", "audio_topk": "250"}) as socket:
        await handshake(socket)


@pytest.mark.parametrize(("length", "status"), [(8000, 101), (8300, 400)])
async def test_the_request_line_has_a_limit(length: int, status: int) -> None:
    """Beyond 8190 bytes aiohttp answers 400."""
    async with StandInServer("echo", prompt_step_ms=0) as server, aiohttp.ClientSession() as session:
        query = {**GOOD, "text_prompt": "a" * length}
        try:
            async with session.ws_connect(server.url, params=query) as socket:
                await handshake(socket)
                found = 101
        except aiohttp.WSServerHandshakeError as refusal:
            found = refusal.status
    assert found == status


async def test_odd_messages_change_nothing() -> None:
    """Text, an empty one, other kinds: noted, ignored, and the conversation goes on."""
    async with StandInServer("echo", step_ms=0) as server, socket_to(server) as socket:
        await handshake(socket)
        await socket.send_str("hello")
        for message in (b"", b"\x02text", b"\x03\x01", b"\x06", b"\xff"):
            await socket.send_bytes(message)
        await say(socket, 4)
        assert (await data_of(socket))[:1] == AUDIO
        assert [record.kind for record in server.log.of(MessageIgnored)] == [None, None, 2, 3, 6, 255]


async def test_a_huge_message_is_closed_with_1009() -> None:
    """Beyond four MiB."""
    async with StandInServer("echo") as server:
        async with socket_to(server) as socket:
            await handshake(socket)
            # It closes on the first bytes of the frame; whether its code or the reset behind it arrives first is chance.
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(bytes((4 << 20) + 1))
            await end_of(socket)
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed)] == [(1009, "server")]


@pytest.mark.parametrize("how", ["checksum", "packet"])
async def test_damage_kills_the_audio_loop(how: str) -> None:
    """A wrong checksum or a corrupt packet: a clean close with 1000, and the next client is served."""
    async with StandInServer("echo") as server:
        async with socket_to(server) as socket:
            await handshake(socket)
            bad = write_page([b"\xff\xff"], flags=BOS, granule=0, serial=1, number=0)
            await socket.send_bytes(AUDIO + (bad[:-1] + b"!" if how == "checksum" else bad))
            assert await end_of(socket) == 1000
        async with socket_to(server) as socket:
            await handshake(socket)
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed, client=1)] == [(1000, "server")]


async def test_a_burst_is_answered_in_full() -> None:
    """Two seconds at once: every block is answered, one model step after the other; nothing is dropped and nothing paced."""
    async with StandInServer("echo", step_ms=5) as server, socket_to(server) as socket:
        await handshake(socket)
        await say(socket, 100)
        for _ in range(25):
            assert (await data_of(socket))[:1] == AUDIO
        # 25 steps of 5 ms, and not one block sooner.
        assert server.log.of(AudioSent)[-1].at - server.log.of(HandshakeSent)[0].at >= 25 * 0.005


async def test_blocks_come_late_but_in_order() -> None:
    """With jitter each block is held back at random; none is lost or overtaken."""
    faults = Faults(late_ms=30, seed=5)
    async with StandInServer("talker", step_ms=0, faults=faults) as server, socket_to(server) as socket:
        await handshake(socket)
        await say(socket, 80)
        numbers: list[int] = []
        while len(numbers) < 20:
            data = await data_of(socket)
            if data[:1] == AUDIO:
                numbers.append(int.from_bytes(data[19:23], "little"))
        assert numbers == list(range(2, 22))


async def test_a_machine_that_keeps_up_spaces_its_blocks_naturally() -> None:
    """71 to 98 ms apart, 80 in the middle, as measured: on a clock of our own, so that nothing else moves them."""
    clock, steps = FakeClock(), 100
    async with StandInServer("echo", faults=Faults(natural_spacing=True, seed=2), clock=clock) as server, socket_to(server) as socket:
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        await clock.advance(1)
        await handshake(socket)
        for number, page in enumerate(pages(4 * steps), start=1):
            await socket.send_bytes(page)
            await server.log.wait_for(functools.partial(has_heard, count=number))
            await clock.advance(0.02)
    times = [record.at for record in server.log.of(AudioSent)]
    spacing_ms = sorted((later - earlier) * 1000 for earlier, later in pairwise(times))
    assert len(times) >= steps - 1
    assert 62 <= spacing_ms[0] <= 78
    assert 79 <= spacing_ms[len(spacing_ms) // 2] <= 81
    assert 82 <= spacing_ms[-1] <= 98


async def test_after_a_slow_start_the_blocks_are_on_time() -> None:
    """The first blocks are late by up to 60 ms, those after them by nothing: what was late stays in the past."""
    clock, steps = FakeClock(), 12
    async with StandInServer("echo", faults=Faults(slow_start_ms=60), clock=clock) as server, socket_to(server) as socket:
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        await clock.advance(1)
        await handshake(socket)
        start = clock.now()
        for number, page in enumerate(pages(4 * steps + 4), start=1):
            await socket.send_bytes(page)
            await server.log.wait_for(functools.partial(has_heard, count=number))
            await clock.advance(0.02)
    late_ms = [(record.at - start - 0.08 * number) * 1000 for number, record in enumerate(server.log.of(AudioSent)[:steps], start=1)]
    assert max(late_ms[:6]) > min(late_ms) + 10
    assert max(late_ms[6:]) <= min(late_ms) + 1


async def test_a_slow_machine_falls_behind_for_good() -> None:
    """Steps of 100 ms for 80 ms of input: the answer to each second comes a quarter of a second later than the last one's."""
    clock = FakeClock()
    async with StandInServer("echo", step_ms=100, clock=clock) as server, socket_to(server) as socket:
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        await clock.advance(1)
        await handshake(socket)
        start = clock.now()
        for number, page in enumerate(pages(200), start=1):
            await socket.send_bytes(page)
            await server.log.wait_for(functools.partial(has_heard, count=number))
            await clock.advance(0.02)
    lags = [record.at - start - 0.08 * number for number, record in enumerate(server.log.of(AudioSent), start=1)]
    assert lags[0] == pytest.approx(0.1, abs=0.03)
    assert lags[-1] == pytest.approx(0.1 + 0.02 * (len(lags) - 1), abs=0.03)


async def test_sigterm_leaves_a_silent_connection() -> None:
    """No close, no audio, and new clients are refused at once."""
    async with StandInServer("echo", step_ms=0) as server, socket_to(server) as socket:
        await handshake(socket)
        await server.go_silent()
        await say(socket, 50)
        await server.log.wait_for(lambda log: len(log.of(AudioReceived)) == 50)
        await socket.ping()
        assert (await socket.receive(20)).type is WSMsgType.PONG
        assert not server.log.of(AudioSent)
        with pytest.raises(aiohttp.ClientConnectorError):
            async with socket_to(server):
                pass


async def test_a_stalled_reader_catches_up() -> None:
    """What came meanwhile is answered in one go."""
    async with StandInServer("echo", step_ms=0) as server, socket_to(server) as socket:
        await handshake(socket)
        server.stop_reading()
        await say(socket, 40)
        server.read_again()
        for _ in range(10):
            assert (await data_of(socket))[:1] == AUDIO


async def test_a_killed_process_is_a_reset() -> None:
    """The client sees 1006; the server counts it as the network's doing and serves the next."""
    async with StandInServer("echo", step_ms=0, faults=Faults(reset_after_steps=2)) as server:
        async with socket_to(server) as socket:
            await handshake(socket)
            await say(socket, 8)
            assert await end_of(socket) == ABNORMAL
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed)] == [(ABNORMAL, "network")]
        server.faults = Faults()
        async with socket_to(server) as socket:
            await handshake(socket)


async def test_a_restarted_process_listens_at_the_same_address() -> None:
    """Nobody is let in while it is away; afterwards the next client is served as ever."""
    async with StandInServer("echo") as server:
        address = server.url
        await server.stop_listening()
        with pytest.raises(aiohttp.ClientConnectorError):
            async with socket_to(server):
                pass
        await server.listen_again()
        assert server.url == address
        async with socket_to(server) as socket:
            await handshake(socket)


@pytest.mark.parametrize("fault", [Faults(crash_after_steps=2), Faults(silent_after_steps=2)])
async def test_faults_by_step(fault: Faults) -> None:
    """At that step the loop raises, or falls silent."""
    async with StandInServer("echo", step_ms=0, faults=fault) as server, socket_to(server) as socket:
        await handshake(socket)
        await say(socket, 20)
        if fault.crash_after_steps:
            assert await end_of(socket) == 1000
        await server.log.wait_for(lambda log: log.of(ConversationClosed) or len(log.of(AudioReceived)) == 20)
        assert len(server.log.of(AudioSent)) <= 1


async def test_leaving_takes_everybody_along() -> None:
    """The end of the server ends its conversations and leaves no task behind."""
    async with StandInServer("echo") as server:
        connection = socket_to(server)
        socket = await connection.__aenter__()
        await handshake(socket)
    assert await end_of(socket) == ABNORMAL
    await connection.__aexit__(None, None, None)


@pytest.mark.parametrize("moment", [PromptsLoading, HandshakeSent])
async def test_a_client_that_vanishes_frees_the_lock(moment: type[Record]) -> None:
    """A connection that breaks during the prompts, or in the conversation, lets the next one in."""
    async with StandInServer("echo") as server:
        vanishing = await connect(f"{server.url}?voice_prompt=NATF0.pt&text_prompt=x")
        await server.log.wait_for(lambda log: log.of(moment))
        vanishing.transport.abort()
        await vanishing.wait_closed()
        async with socket_to(server) as socket:
            await handshake(socket)
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed, client=1)] == [(ABNORMAL, "network")]


async def test_no_socket_left_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process may open no more, asyncio listens on nothing and raises nothing; the server says why it cannot begin."""

    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        async with StandInServer():
            pass


async def test_a_server_that_does_not_read_stops_all_the_same() -> None:
    """Its conversation ends before the server is gone, and leaves no task to whoever runs the loop."""
    async with StandInServer("echo", step_ms=0) as server, aiohttp.ClientSession() as session:
        timeout = aiohttp.ClientWSTimeout(ws_close=0.1)
        socket: Socket = await session.ws_connect(server.url, params=GOOD, autoping=False, timeout=timeout)
        await handshake(socket)
        server.stop_reading()
        await say(socket, 40)
        await socket.close()
    assert server.log.of(ConversationClosed)
    assert not [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())]
