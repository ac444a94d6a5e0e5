"""A server that means harm: whatever it sends, the conversation is ended with one sentence, and neither memory nor time are spent on it."""

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from discordplex.audio.ogg import PageWriter
from discordplex.audio.oggheaders import head_packet, tags_packet
from discordplex.audio.oggopus import OggOpusWriter
from discordplex.engine import OVER_BUDGET, Audio, Closed, EngineEvent, Text
from discordplex.errors import EngineError
from discordplex.loopback import timeouts
from discordplex.personaplex.budget import MOST_SOUND_AT_ONCE_MS, SOUND_BURST_MS
from discordplex.personaplex.mailbox import CAPACITY_BYTES, Mailbox
from tests.personaplex.test_engine import Call

DTX_120_MS = bytes((0xFB, 0x86))
"""A packet of two bytes that stands for six silent frames of 20 ms."""

ENOUGH_MESSAGES = 3000

MEMORY_MB = 50


def memory_mb() -> float:
    """The most that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def page(packets: list[bytes], *, serial: int = 1, bos: bool = False) -> bytes:
    return PageWriter(serial).page(packets, granule=0, bos=bos)


def filled(unit: bytes, size: int = 60_000) -> bytes:
    """As many whole units as fit."""
    return unit * (size // len(unit))


def restarts() -> Iterator[bytes]:
    for serial in range(ENOUGH_MESSAGES):
        yield b"\x01" + page([head_packet(rate_hz=24_000, pre_skip=0)], serial=serial, bos=True) + page([tags_packet()], serial=serial)


def endless_packet() -> Iterator[bytes]:
    """A packet that goes on from page to page."""
    writer = PageWriter(1)
    for _ in range(ENOUGH_MESSAGES):
        begun = bytearray(writer.page([bytes(254 * 255)], granule=0))
        yield b"\x01" + bytes(begun)


def real_time_times_hundred() -> Iterator[bytes]:
    voice = OggOpusWriter()
    for _ in range(1800):
        yield b"\x01" + voice.write(bytes(48_000 // 25))


ATTACKS: dict[str, Iterator[bytes | str]] = {
    "packets of 120 ms in two bytes": iter([b"\x01" + filled(page([DTX_120_MS] * 80))] * 100),
    "one of them in each message": iter([b"\x01" + page([DTX_120_MS])] * ENOUGH_MESSAGES),
    "packets of 2.5 ms": iter([b"\x01" + page([b"\x80\x00"] * 50)] * ENOUGH_MESSAGES),
    "packets without bytes": iter([b"\x01" + filled(page([b""] * 255))] * 100),
    "pages without packets": iter([b"\x01" + filled(page([]))] * 100),
    "a packet without an end": endless_packet(),
    "streams that begin again": restarts(),
    "captures that are none": iter([b"\x01" + filled(b"OggS")] * 100),
    "headers that lie": iter([b"\x01" + filled(b"OggS" + bytes(22) + b"\xff" + b"\xff" * 30)] * 100),
    "noise": iter([b"\x01" + bytes(range(256)) * 200] * 1000),
    "sound a hundred times too fast": real_time_times_hundred(),
    "a flood of text": iter([b"\x02 word"] * ENOUGH_MESSAGES),
    "a text of 60 kB": iter([b"\x02" + b"a" * 60_000] * 30),
    "marks of bytes": iter([b"\x02" + b"<0xC3>" * 10_000] * 30),
    "complaints": iter([b"\x05Oh"] * ENOUGH_MESSAGES),
    "metadata": iter([b"\x04{}"] * ENOUGH_MESSAGES),
    "unknown kinds": iter([bytes((200,))] * ENOUGH_MESSAGES),
    "long unknown kinds": iter([bytes((200,)) + bytes(60_000)] * 1000),
    "empty messages": iter([b""] * ENOUGH_MESSAGES),
    "handshakes": iter([b"\x00"] * ENOUGH_MESSAGES),
    "WebSocket text": iter(["hello"] * ENOUGH_MESSAGES),
    "text that is no UTF-8": iter([b"\x02\xff"] * ENOUGH_MESSAGES),
    "pings": iter(["raw", b"\x89\x00" * 500_000]),
    "pongs": iter(["raw", b"\x8a\x00" * 500_000]),
    "fragments": iter(["raw", b"\x02\x00" + b"\x00\x00" * 500_000]),
    "a message of 250 kB": iter([b"\x01" + filled(page([DTX_120_MS] * 80), 250_000)] * 10),
}


@asynccontextmanager
async def attacking(name: str, *, handshake: bool) -> AsyncIterator[str]:
    """The address of a server that attacks each client, with or without having shaken hands."""
    messages = list(ATTACKS[name]) if name not in ATTACKED else ATTACKED[name]
    ATTACKED[name] = messages

    async def attack(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            if handshake:
                await connection.send(b"\x00")
            if messages[0] == "raw" and isinstance(messages[1], bytes):
                connection.transport.write(messages[1])
            else:
                for message in messages:
                    await connection.send(message)
            await connection.wait_closed()

    async with serve(attack, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.1) as server:
        yield f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


ATTACKED: dict[str, list[bytes | str]] = {}


async def ending(call: Call) -> tuple[str, str]:
    """Cause and sentence with which a call ends, whether it had been opened when that was found out or not."""
    try:
        async with call.engine:
            await call.listen()
    except EngineError as refused:
        return refused.cause, str(refused)
    closed = call.events[-1]
    assert isinstance(closed, Closed)
    return closed.cause, closed.reason


@pytest.mark.parametrize("handshake", [True, False])
@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_ends_the_conversation(name: str, handshake: bool) -> None:  # noqa: FBT001 -- a table's column
    """A sentence and a cause name what there was too much of; what was let through is bounded, and so is the memory."""
    async with attacking(name, handshake=handshake) as address:
        before_mb = memory_mb()
        call = Call(address)
        cause, reason = await timeouts.wait_for(ending(call), 30)
    assert cause.startswith((OVER_BUDGET, "oversized"))
    assert "personaplex.urls" in reason
    assert memory_mb() - before_mb < MEMORY_MB
    assert sum(len(event.pcm) for event in call.events if isinstance(event, Audio)) <= SOUND_BURST_MS * 96 * 1.5
    assert sum(len(event.text) for event in call.events if isinstance(event, Text)) <= 5000


async def test_a_consumer_that_stands_still_keeps_little() -> None:
    """What waits to be taken is bounded in events and in bytes, whatever the events hold."""
    mailbox = Mailbox()
    for _ in range(50):
        mailbox.put(Audio(bytes(MOST_SOUND_AT_ONCE_MS * 96)))
        mailbox.put(Text("x"))
    mailbox.put(Closed("over"))
    events: list[EngineEvent] = []
    while not events or not isinstance(events[-1], Closed):
        events.append(await mailbox.take())
    assert sum(len(event.pcm) for event in events if isinstance(event, Audio)) <= CAPACITY_BYTES
    assert mailbox.dropped == 49


async def test_answers_that_are_not_read_do_not_pile_up() -> None:
    """Pings within the budget of messages, from a server that never reads: what it is answered is bounded, and it is left."""
    pings = (b"\x89\x7d" + bytes(125)) * 900

    opened = asyncio.Event()

    async def attack(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.send(b"\x00")
        await opened.wait()
        connection.transport.write(pings)
        await connection.wait_closed()

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a large one takes minutes to fill
    async with serve(attack, sock=listening, compression=None, ping_interval=None, close_timeout=0.1):
        call = Call(f"127.0.0.1:{listening.getsockname()[1]}")
        async with call.engine:
            opened.set()
            await call.listen()
    assert isinstance(call.events[-1], Closed)
    assert call.events[-1].cause == f"{OVER_BUDGET}: pings"
