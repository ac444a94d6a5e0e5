"""Whatever a server sends, and for however long, a service ends with one sentence and holds little of it: over real sockets."""

import asyncio
import contextlib
import gzip
import json
import math
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from discordplex.audio.format import MODEL
from discordplex.cascade.sound import RateConverter, SpeechSound, TooMuchSoundError, UnknownSoundError
from discordplex.cascade.speak import longest_ms
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.hearing.transcriber import BRACKETS, has_words
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services.clients import READ_BYTES, Clients
from discordplex.services.faults import ServiceError
from discordplex.services.response import MOST_JSON_VALUES, MOST_LINES, NoJsonError, ServiceResponse, parsed
from discordplex.services.service import Service, ServiceName
from tests.cascade.services import Services

NAMES: tuple[ServiceName, ...] = ("transcribe", "think", "speak")
GZIP = {"Content-Encoding": "gzip"}


def event(delta: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def wav_head(rate_hz: int, channels: int = 1, bits: int = 16) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, 0, 0, bits)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + fmt + b"data\xff\xff\xff\xff"


OVER_BUDGET: list[tuple[ServiceName, str, RequestFault]] = [
    *[(name, "compressed", RequestFault(body=gzip.compress(bytes(1 << 20)), headers=GZIP)) for name in NAMES],
    *[(name, "HTTP 500", RequestFault(status=500, body=gzip.compress(bytes(1 << 20)), headers=GZIP)) for name in NAMES],
    *[(name, "HTTP 500", RequestFault(status=500, body=b"{", endless=b"[" * 9999)) for name in NAMES],
    ("transcribe", "too much data", RequestFault(body=b'{"text": [', endless=b"[]," * 3000)),
    ("transcribe", "too much data", RequestFault(body=b'{"text": "', endless=b"a" * 9999)),
    ("transcribe", "too much text", RequestFault(body=json.dumps({"text": "word " * 9999}).encode())),
    ("transcribe", "not an API", RequestFault(body=b"[" * 20_000)),
    ("think", "too much data", RequestFault(body=b"{", endless=b'"a": [],' * 999)),
    ("think", "too much data", RequestFault(body=b"{} {}" + b"\n" * (MOST_LINES + 1))),
    ("think", "too much data", RequestFault(body=b"data: 1\n" + b"\n" * (MOST_LINES + 1))),
    ("think", "endless line", RequestFault(body=b"data: {", endless=b"a" * 9999)),
    ("think", "endless line", RequestFault(body=b"", endless=b"data: some more of it\n" * 999)),
    ("think", "too much data", RequestFault(body=b"", endless=b": here I am\n\n" * 999)),
    ("think", "too much data", RequestFault(body=b"", endless=b"data: {}\n\n" * 999)),
    ("think", "too much data", RequestFault(body=b":\n" * (MOST_LINES + 1))),
    ("think", "not an API", RequestFault(body=b"data: " + b"[" * 50_000 + b"\n\n")),
    ("think", "not an API", RequestFault(body=b"data: [" + b"1," * MOST_JSON_VALUES + b"1]\n\n")),
    ("think", "too much text", RequestFault(body=b"", endless=event({"content": "word " * 999}))),
    ("think", "too much data", RequestFault(body=b"", endless=event({"reasoning_content": "hm " * 9999}))),
    ("speak", "too much sound", RequestFault(body=b"", endless=bytes(9999))),
    ("speak", "too much sound", RequestFault(body=wav_head(8000, bits=8), endless=bytes(9999))),
    ("speak", "unplayable sound", RequestFault(body=b"RIFF\0\0\0\0WAVE", endless=b"JUNK\0\0\0\0" * 999)),
    ("speak", "unplayable sound", RequestFault(body=b"", endless=b"OggS" * 999)),
    ("speak", "unplayable sound", RequestFault(body=wav_head(48) + bytes(999))),
    ("speak", "unplayable sound", RequestFault(body=wav_head(4_000_000_000) + bytes(999))),
    ("speak", "unplayable sound", RequestFault(body=wav_head(24_000, channels=65_535) + bytes(999))),
    ("speak", "unplayable sound", RequestFault(body=bytes(999), content_type="audio/pcm;rate=48")),
    ("speak", "unplayable sound", RequestFault(body=bytes(999), content_type="audio/L16; rate=48000000000")),
    ("speak", "too much data", RequestFault(body=b'{"audio": "', endless=b"A" * 9999, content_type="application/json")),
    ("speak", "too much sound", RequestFault(body=b"fLaC", endless=bytes(9999), content_type="audio/flac")),
]


@pytest.mark.parametrize(
    ("name", "cause", "fault"), OVER_BUDGET, ids=[f"{name}-{cause}-{n}" for n, (name, cause, _) in enumerate(OVER_BUDGET)]
)
async def test_over_budget_is_one_sentence(server: StandInOpenAI, name: ServiceName, cause: str, fault: RequestFault) -> None:
    """The service says what happened, hangs up, and its next request is served."""
    clients, services = slow_stages(server, FakeClock())
    server.fail(name, fault)
    with pytest.raises(ServiceError) as caught:
        await services.use(name)()
    assert caught.value.cause == cause
    assert str(caught.value).endswith(".")
    if fault.endless:
        await server.log.wait_for(lambda log: log.of(ClientHungUp))
    assert len(server.log.of(RequestReceived)) == 1
    assert await services.use(name)()
    await clients.close()


class LongAnswer:
    """As the HTTP library gives it: 100 MiB."""

    headers: dict[str, str] = {}  # noqa: RUF012 -- nothing is written into it

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 20)


async def test_no_answer_is_longer_than_the_longest_sound() -> None:
    """Whatever kind it is of, reading ends at 64 MiB."""
    response = ServiceResponse(LongAnswer(), Service("speak", "http://a/v1", "m"), FakeClock(), math.inf)
    blocks, count = response.blocks(), 0
    while count < 64 << 20:
        count += len(await anext(blocks))
    with pytest.raises(ServiceError) as caught:
        await anext(blocks)
    assert caught.value.cause == "too much data"


def slow_stages(server: StandInOpenAI, clock: FakeClock, **settings: float) -> tuple[Clients, Services]:
    given = {"timeout_s": 100, "total_timeout_s": 40, **settings}
    config = CascadeConfig.model_validate({"base_url": server.base_url, "api_key": server.api_key, **dict.fromkeys(NAMES, given)})
    found = [Service.of(config, name) for name in NAMES]
    clients = Clients(found)
    return clients, Services(clients, *found, clock=clock)


DRIPS: dict[ServiceName, bytes] = {"transcribe": b" ", "think": b'data: {"a":1}\n', "speak": b"\0"}


@pytest.mark.parametrize("name", NAMES)
async def test_a_drip_ends_at_the_total_deadline(server: StandInOpenAI, name: ServiceName) -> None:
    """A server that sends a byte now and then, for ever, has as long as the setting says."""
    clock = FakeClock()
    clients, services = slow_stages(server, clock)
    server.fail(name, RequestFault(body=b"", endless=DRIPS[name], drip_ms=1))
    asking = asyncio.create_task(services.use(name)())
    await server.log.wait_for(lambda log: log.of(RequestReceived))
    await clock.advance(41)
    with pytest.raises(ServiceError, match=rf"had not finished after 40 s\..* cascade\.{name}\.total_timeout_s") as caught:
        await asking
    assert caught.value.cause == "too late"
    await server.log.wait_for(lambda log: log.of(ClientHungUp))
    await clients.close()


async def test_headers_that_drip_end_at_the_total_deadline(server: StandInOpenAI) -> None:
    """The deadline counts before the answer begins, too."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        await reader.read(-1)
        writer.close()

    asked, clock = asyncio.Event(), FakeClock()
    dripping = await asyncio.start_server(drip, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{dripping.sockets[0].getsockname()[1]}/v1", "m", timeout_s=30, total_timeout_s=40)
    clients = Clients([service])
    asking = asyncio.create_task(Services(clients, service, service, service, clock=clock).think())
    await asked.wait()
    await clock.advance(41)
    with pytest.raises(ServiceError, match="had not finished after 40 s"):
        await asking
    await clients.close()
    dripping.close()
    del server


async def test_comments_alone_are_silence(server: StandInOpenAI) -> None:
    """A server that keeps the connection open and writes nothing is given up after the service's patience, not after its total time."""
    clock = FakeClock()
    clients, services = slow_stages(server, clock, timeout_s=30, total_timeout_s=400)
    server.fail("think", RequestFault(body=b"", endless=b": still here\n\n", drip_ms=1))
    asking = asyncio.create_task(services.think())
    await server.log.wait_for(lambda log: log.of(RequestReceived))
    await clock.advance(31)
    with pytest.raises(ServiceError, match="sent nothing for 30 s") as caught:
        await asking
    assert caught.value.cause == "timeout"
    await clients.close()


class HastyClock(FakeClock):
    """A tenth of a second passes whenever somebody looks."""

    def now(self) -> float:
        self._now += 0.1
        return self._now


@pytest.mark.parametrize("ends", [True, False])
async def test_a_model_that_only_thinks_is_told_of(server: StandInOpenAI, *, ends: bool) -> None:
    """Thoughts without an answer have a sentence of their own, whether the stream ends or not, and are never spoken."""
    clients, services = slow_stages(server, FakeClock() if ends else HastyClock())
    thought = event({"reasoning_content": "hm", "content": None})
    server.fail("think", RequestFault(body=thought, endless=b"" if ends else thought))
    with pytest.raises(ServiceError, match=r"only thought, and wrote no answer\. Let it think less with cascade\.think\.extra") as caught:
        await services.think()
    assert caught.value.cause == ("only thoughts" if ends else "too late")
    await clients.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_refused(server: StandInOpenAI, services: Services, name: ServiceName, status: int) -> None:
    """The sentence names the setting, and nothing at all is sent to the other host."""
    met: list[bytes] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.read(1))
        writer.close()

    other = await asyncio.start_server(meet, "127.0.0.1", 0)
    place = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/v1"
    server.fail(name, RequestFault(status=status, body=b"", headers={"Location": place}))
    with pytest.raises(ServiceError, match=rf"another address \(redirect {status}\).* Set cascade\.base_url") as caught:
        await services.use(name)()
    assert caught.value.cause == f"HTTP {status}"
    assert place not in str(caught.value)
    other.close()
    await other.wait_closed()
    assert met == []
    assert len(server.log.of(RequestReceived)) == 1


HEADS = {
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 5_000 + b"\r\n{}", b""),
    "long header": (b"HTTP/1.1 200 OK\r\na: " + b"a" * 20_000 + b"\r\n\r\n{}", b""),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 999),
    "trailers without end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"a: b\r\n" * 999),
    "chunk's head without end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"b" * 9999),
}


@pytest.mark.parametrize("head", HEADS)
async def test_headers_have_a_budget(head: str) -> None:
    """They are parsed at once, so that many of them would keep the loop from everybody else."""
    begin, endless = HEADS[head]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            while endless:
                writer.write(endless)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "m")
    clients = Clients([service])
    with pytest.raises(ServiceError) as caught:
        await Services(clients, service, service, service, clock=SystemClock()).think()
    assert caught.value.cause == "hung up"
    await clients.close()
    server.close()


async def test_others_have_their_turn_between_interim_answers() -> None:
    """Of a hundred kilobytes of them no more is parsed at once than was read at once."""
    interim, clock, steps = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 4_000, SystemClock(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"choices": [{"text": "Hello there."}]}'
        writer.write(interim + b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        writer.close()

    async def count() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "m")
    clients = Clients([service])
    counting = asyncio.create_task(count())
    assert await Services(clients, service, service, service, clock=clock).think() == "Hello there."
    counting.cancel()
    assert steps >= len(interim) // READ_BYTES
    await clients.close()
    server.close()


async def test_a_stray_answer_answers_nobody() -> None:
    """A server that answers twice is not asked again over that connection: the second answer may be to somebody else."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                asked += 1
                for word in (f"Answer {asked}.", "Stray."):
                    body = json.dumps({"choices": [{"text": word}]}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                await reader.readexactly(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "m")
    clients = Clients([service])
    services = Services(clients, service, service, service, clock=SystemClock())
    assert [await services.think() for _ in range(3)] == ["Answer 1.", "Answer 2.", "Answer 3."]
    await clients.close()
    server.close()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_stream_ends_with_its_last_event(*, ends: bool) -> None:
    """Nothing behind it is said, and a connection that stays open keeps nobody waiting; one that ended well is used again."""
    serving: list[asyncio.Future[None]] = []
    said = event({"content": "Hello there."}) + b"data: [DONE]\n\n" + event({"content": "More."})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        serving.append(ended)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(said) + said + b"\r\n")
                writer.write(b"0\r\n\r\n" if ends else b"")
        writer.close()
        ended.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "m", timeout_s=5)
    clients = Clients([service])
    services = Services(clients, service, service, service, clock=SystemClock())
    assert [await services.think() for _ in range(2)] == ["Hello there."] * 2
    assert len(serving) == (1 if ends else 2)
    await clients.close()
    await asyncio.gather(*serving)
    server.close()


async def test_no_server_gets_what_the_environment_has_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would send these variables to every service's server, and one of them instead of its key."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer secret-1\nX-Key: secret-2")
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", f"secret-{name}")
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b'{"choices": [{"text": "Hello there."}]}')
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    for address in (f"http://{place}", f"http://anna:word@{place}"):
        service = Service("think", address, "m", api_key="mine")
        clients = Clients([service])
        assert await Services(clients, service, service, service, clock=SystemClock()).think() == "Hello there."
        await clients.close()
    assert b"secret" not in b"".join(heads)
    assert [head.lower().partition(b"authorization: ")[2].split(b"\r\n")[0] for head in heads] == [b"bearer mine", b"basic yw5uytp3b3jk"]
    server.close()


async def test_cookies_are_not_kept() -> None:
    """A server could fill the memory and every later request with them."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"choices": [{"text": "Hello there."}]}'
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nSet-Cookie: a=b; Path=/\r\n\r\n" + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service = Service("think", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "m")
    clients = Clients([service])
    for _ in range(2):
        assert await Services(clients, service, service, service, clock=SystemClock()).think() == "Hello there."
    assert len(heads) == 2
    assert b"cookie" not in b"".join(heads).lower()
    await clients.close()
    server.close()


@pytest.mark.parametrize("name", NAMES)
async def test_no_descriptor_left_is_a_sentence(server: StandInOpenAI, config: CascadeConfig, name: ServiceName) -> None:
    """It is this machine's limit, not the server."""
    resource = pytest.importorskip("resource")
    found = [Service.of(config, service) for service in NAMES]
    clients = Clients(found)
    services = Services(clients, *found, clock=SystemClock())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as lowest:  # noqa: ASYNC230, PTH123 -- the lowest free descriptor
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
        try:
            with pytest.raises(ServiceError, match="limit of open files") as caught:
                await services.use(name)()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.cause == "out of descriptors"
    assert await services.use(name)()
    await clients.close()
    del server


@pytest.mark.parametrize(
    "rate_hz", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000]
)
def test_usual_rates_are_played(rate_hz: int) -> None:
    """From 8 to 192 kHz."""
    assert RateConverter(rate_hz).rate_hz == rate_hz


@pytest.mark.parametrize("rate_hz", [-1, 0, 1, 48, 7_999, 8_001, 47_999, 191_952, 192_001, 48_000_000_000])
def test_no_filter_is_made_for_a_rate_that_nobody_has(rate_hz: int) -> None:
    """Beyond the usual rates, and for rates whose filter would be large."""
    with pytest.raises(UnknownSoundError, match=f"sound at {rate_hz} Hz"):
        RateConverter(rate_hz)


def test_a_text_has_so_much_sound() -> None:
    """The bound is generous for any voice, and there is one for the longest text, too."""
    assert longest_ms("Oh.") == 18_000
    assert longest_ms("x" * 220) == 90_000
    sound = SpeechSound(longest_ms=1000)
    list(sound.feed(bytes(MODEL.bytes_of_ms(990))))
    with pytest.raises(TooMuchSoundError):
        list(sound.feed(bytes(MODEL.bytes_of_ms(20))))


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{" * 10, b"\xff", b"[" + b"1," * MOST_JSON_VALUES + b"1]", b""])
def test_json_has_a_budget(data: bytes) -> None:
    """Neither depth nor a number of values gets far."""
    with pytest.raises(NoJsonError):
        parsed(data)


def test_digits_take_time_in_proportion() -> None:
    """A whole number of any length is read as a float: making an integer of it takes time with the square of its digits."""
    assert parsed(b'{"code": ' + b"9" * 100_000 + b"}") == {"code": float("inf")}


HOSTILE: list[Callable[[int], str]] = [
    lambda n: "(" * n,
    lambda n: "[" * n,
    lambda n: "[(" * n,
    lambda n: "(a" * n,
    lambda n: "(a)" * n,
    lambda n: "]" * n,
    lambda n: "()[" * n,
]


@pytest.mark.parametrize("made", HOSTILE)
def test_brackets_take_time_in_proportion(made: Callable[[int], str]) -> None:
    """The expression for brackets tries each character a few times, however many there are: it never runs past the next bracket."""
    text = made(1000)
    assert max((len(found[0]) for found in BRACKETS.finditer(text)), default=0) <= 3
    assert not has_words(made(50_000)) or "a" in text
