"""The socket's owner, against a stand-in server over real WebSockets: the good way, and every way to fail."""

import asyncio
import functools
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from discordplex.descriptors import NO_DESCRIPTORS
from discordplex.engine import Persona
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.log import Log
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, ConversationClosed, HandshakeSent, MessageDiscarded, Pinged, PromptsLoading
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.personaplex import dialing
from discordplex.personaplex.client import KEEP_ALIVE_S, handshake_deadline_s
from discordplex.personaplex.connection import AudioCame, Complained, Event, Opened, TextCame
from discordplex.personaplex.endpoint import Endpoint
from tests.descriptors import descriptors
from tests.personaplex.harness import PERSONA, Events, client_of, opened, plain_server


async def refusal(url: str, *, persona: Persona = PERSONA, verify_tls: bool = True) -> EngineError:
    """What `open` raises, with everything closed behind it."""
    client = client_of(url, persona=persona, verify_tls=verify_tls)
    with pytest.raises(EngineError) as caught:
        await client.open(20.0)
    assert not client.live
    return caught.value


async def test_open_returns_at_the_handshake_and_close_says_goodbye() -> None:
    """One connection with the persona in its query, nothing sent before the handshake, and a clean close at the end."""
    events = Events()
    async with StandInServer("echo") as server:
        async with opened(server.url, events) as client:
            assert client.live
            assert events[0] == Opened()
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert [record.query for record in server.log.of(Connected)] == [
            {"text_prompt": PERSONA.text_prompt, "voice_prompt": PERSONA.voice},
        ]
        assert not server.log.of(MessageDiscarded)
        assert [(record.code, record.by) for record in server.log.of(ConversationClosed)] == [(1000, "client")]
    assert (await events.ending()).cause == "left"


async def test_messages_of_all_kinds_become_events() -> None:
    """Text, audio and complaints come through; rubbish is counted and nothing stops."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events) as client:
        for message in (b"", b"\x06", b"\x02\xff", "WebSocket text", b"\x09?", b"\x02 Hi", b"\x05Oh", b"\x01OggS"):
            server.inject(message)
        await events.until(lambda events: AudioCame(b"OggS") in events)
        assert [event for event in events if isinstance(event, (TextCame, Complained))] == [TextCame(" Hi"), Complained("Oh")]
        assert client.bad_messages == 2
        assert client.live


async def test_pings_begin_after_the_handshake() -> None:
    """None while prompts are loaded, one each dozen of seconds from then on: a server that is busy answers none, and would be given up."""
    clock = FakeClock()
    async with StandInServer("echo") as server:
        client = client_of(server.url, clock=clock)
        opening = asyncio.create_task(client.open(60.0))
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        await clock.advance(3 * KEEP_ALIVE_S)
        await opening
        await clock.advance(KEEP_ALIVE_S)
        await server.log.wait_for(lambda log: len(log.of(Pinged)) == 1)
        await clock.advance(KEEP_ALIVE_S)
        await server.log.wait_for(lambda log: len(log.of(Pinged)) == 2)
        assert min(record.at for record in server.log.of(Pinged)) > server.log.of(HandshakeSent)[0].at
        assert {record.size for record in server.log.of(Pinged)} == {0}
        await client.close()


async def test_a_machine_that_slept_makes_up_for_no_ping() -> None:
    """After an hour in which nothing ran one ping leaves, and the next one a dozen of seconds later."""
    clock = FakeClock()
    async with StandInServer("echo") as server:
        client = client_of(server.url, clock=clock)
        await client.open(60.0)
        await clock.jump(3600.0)
        await clock.jump(KEEP_ALIVE_S - 1)
        await clock.jump(1.0)
        assert client.live
        await client.close()
        await server.log.wait_for(lambda log: log.of(ConversationClosed))
        assert len(server.log.of(Pinged)) == 2


def has_pinged(log: Log, count: int) -> bool:
    return len(log.of(Pinged)) == count


async def test_pings_do_not_end_a_call_with_kyutai_s_rust_server() -> None:
    """It reads a ping's payload as a message, so ours is empty; and it answers none, which is no reason to stop sending them."""
    clock = FakeClock()
    async with StandInServer("echo", prompt_step_ms=0, versions=bytes(8)) as server:
        client = client_of(server.url, clock=clock)
        await client.open(60.0)
        for count in range(1, 5):
            await clock.advance(KEEP_ALIVE_S)
            await server.log.wait_for(functools.partial(has_pinged, count=count))
        assert client.live
        await client.close()


REDIRECTS = [
    (301, "https://127.0.0.1/api/chat?text_prompt=x", "use wss://127.0.0.1/api/chat in personaplex.urls"),
    (302, "http://user:word@elsewhere.example:9000/api/chat#top", "use ws://elsewhere.example:9000/api/chat in personaplex.urls"),
    (307, "/chat", "use ws://127.0.0.1:"),
    (308, "wss://[::1]:9/", "use wss://[::1]:9/api/chat in personaplex.urls"),
    (301, "ftp://elsewhere.example/", "correct personaplex.urls"),
    (302, "https://evil.example/\u202ereversed" + "x" * 5000, "in personaplex.urls"),
    (303, "", "correct personaplex.urls"),
    (304, None, "correct personaplex.urls"),
]


@pytest.mark.parametrize(("status", "location", "words"), REDIRECTS)
async def test_a_redirect_is_refused(status: int, location: str | None, words: str) -> None:
    """Whatever it points to: nobody else is asked, no second try is made, and the sentence says what to configure."""
    asked: list[str] = []

    def elsewhere(writer: asyncio.StreamWriter) -> None:
        asked.append("elsewhere")
        writer.close()

    async with plain_server(elsewhere) as other:
        target = None if location is None else location.replace("elsewhere.example:9000", other)
        header = b"" if target is None else b"Location: " + target.encode("latin-1", "replace") + b"\r\n"

        def redirect(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 %d Moved\r\n" % status + header + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        async with plain_server(redirect) as address:
            error = await refusal(address)
        assert words.replace("elsewhere.example:9000", other) in str(error)
    assert not error.retry
    assert error.cause == f"redirect {status}"
    assert "user" not in str(error)
    assert "text_prompt" not in str(error)
    assert len(str(error)) < 450
    assert str(error).isprintable()
    assert asked == []


FLOODS = {
    "a status line": b"HTTP/1.1 " + b"1" * (2 << 20),
    "one header": b"HTTP/1.1 101 Go\r\nX: " + b"x" * (2 << 20),
    "long headers": b"HTTP/1.1 101 Go\r\n" + b"X: %s\r\n" % (b"x" * 8000) * 300,
    "many headers": b"HTTP/1.1 101 Go\r\n" + b"X: y\r\n" * (1 << 19),
    "a page": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20),
    "rubbish": b"x\n" * (1 << 20),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_instead_of_an_answer_is_told_as_one(flood: str) -> None:
    """Whoever is cut off by us has not hung up on us: that is not taken for a server that wants TLS."""

    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(FLOODS[flood])

    async with plain_server(answer) as address:
        error = await refusal(address)
    assert error.cause in ("over budget: data", "no WebSocket")
    assert "wss://" not in str(error).replace(address, "")
    assert "personaplex.urls" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
async def test_no_descriptor_is_left_for_a_socket(host: str) -> None:
    """A process that may open no more files says so, and does not blame the server or the name."""
    with descriptors():
        error = await refusal(f"ws://{host}:1")
    assert NO_DESCRIPTORS in str(error)
    assert error.cause == "out of descriptors"
    assert error.retry


async def test_nobody_listens(closed_port: int) -> None:
    """A refused connection says which address, and how to mend it."""
    error = await refusal(f"ws://127.0.0.1:{closed_port}")
    assert str(error) == f"No PersonaPlex server answers at ws://127.0.0.1:{closed_port}/api/chat: start it or set personaplex.urls."
    assert error.retry


async def test_the_name_is_unknown() -> None:
    """A host that does not resolve is named."""
    error = await refusal("ws://no-such-host.invalid:8998")
    assert "the host name no-such-host.invalid is unknown" in str(error)
    assert error.retry


async def test_nothing_answers_the_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that accepts and stays silent is given up after a while."""
    monkeypatch.setattr(dialing, "UPGRADE_TIMEOUT_S", 0.05)
    async with plain_server(lambda _: None) as address:
        error = await refusal(address)
    assert "did not answer within" in str(error)
    assert error.retry


async def test_something_else_answers() -> None:
    """What speaks no HTTP is not a PersonaPlex server; what merely closes may want TLS, or be a tunnel without a far end."""

    def mail_server(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n\r\n")
        writer.close()

    async with plain_server(mail_server) as address:
        error = await refusal(address)
    assert "is not a PersonaPlex server" in str(error)
    assert not error.retry
    async with plain_server(lambda writer: writer.close()) as address:
        error = await refusal(address)
    assert "closed the connection without an answer" in str(error)
    assert error.retry


@pytest.mark.parametrize(("status", "words"), [(404, "/api/chat"), (403, "refuses access"), (503, "reports an error")])
async def test_http_says_no(status: int, words: str) -> None:
    """An HTTP answer other than 101 is told with its status."""
    async with StandInServer("echo", faults=Faults(http_status=status)) as server:
        error = await refusal(server.url)
    assert words in str(error)
    assert f"HTTP {status}" in str(error)
    assert error.retry == (status >= 500)


async def test_another_path_is_not_found() -> None:
    """The server has its chat at one path, and the sentence names it."""
    async with StandInServer("echo") as server:
        error = await refusal(server.url.replace("/api/chat", "/chat"))
    assert "/api/chat" in str(error)
    assert not error.retry


async def test_a_role_too_long_for_the_server() -> None:
    """The server answers 400 to a request line beyond its limit, and the sentence says what to shorten."""
    async with StandInServer("echo") as server:
        error = await refusal(server.url, persona=Persona("NATF0.pt", "a" * 8300))
    assert "the text prompt is too long" in str(error)
    assert not error.retry


async def test_the_longest_role_that_we_let_through_passes() -> None:
    """Just below our own limit the server still upgrades and shakes hands."""
    async with StandInServer("echo", prompt_step_ms=0.1) as server:
        client = client_of(server.url, persona=Persona("NATF0.pt", "a" * 7899))
        await client.open(20.0)
        await client.close()


@pytest.mark.parametrize("persona", [Persona("NATF2", "hi"), Persona("", "hi"), Persona("NATF2.pt", "")])
async def test_a_bad_query_is_dropped_at_once(persona: Persona) -> None:
    """Upgrade, then 1006 within milliseconds: a voice or a role that the server cannot use, and no second try can."""
    async with StandInServer("echo") as server:
        error = await refusal(server.url, persona=persona)
    assert "choose another voice" in str(error)
    assert not error.retry


async def test_a_busy_server_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second client is connected and hears nothing; at the deadline it is told that the server is busy, and leaves at once."""
    monkeypatch.setattr(dialing, "CLOSE_TIMEOUT_S", 0.05)
    async with StandInServer("echo") as server, opened(server.url, Events()):
        client = client_of(server.url)
        with pytest.raises(EngineError, match="busy with another call, or very slow") as caught:
            await client.open(0.2)
        assert caught.value.retry
        assert len(server.log.of(Connected)) == 2
        assert len(server.log.of(HandshakeSent)) == 1
        assert not server.log.of(Pinged)


async def test_a_second_client_is_served_when_the_first_leaves() -> None:
    """The lock is handed on as soon as the holder has closed."""
    async with StandInServer("echo") as server:
        async with opened(server.url, Events()):
            second = client_of(server.url)
            opening = asyncio.create_task(second.open(20.0))
            await server.log.wait_for(lambda log: len(log.of(Connected)) == 2)
            assert not opening.done()
        await opening
        assert second.live
        await second.close()


async def test_an_opening_that_is_cancelled_leaves_nothing_behind() -> None:
    """Whoever gives up during the prompts frees the server for the next."""
    async with StandInServer("echo", prompt_step_ms=100) as server:
        client = client_of(server.url)
        opening = asyncio.create_task(client.open(20.0))
        await server.log.wait_for(lambda log: log.of(PromptsLoading))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await server.log.wait_for(lambda log: log.of(ConversationClosed))


async def test_a_certificate_nobody_vouches_for(tls: ssl.SSLContext) -> None:
    """A self-signed server is refused with the name of the setting that accepts it."""
    async with StandInServer("echo", tls=tls) as server:
        error = await refusal(server.url)
        assert "personaplex.verify_tls" in str(error)
        assert not error.retry
        client = client_of(server.url, verify_tls=False)
        await client.open(20.0)
        assert client.live
        await client.close()


async def test_a_certificate_from_the_trust_store(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE makes an own authority trusted, as everywhere."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with StandInServer("echo", tls=tls) as server:
        client = client_of(server.url)
        await client.open(20.0)
        assert client.live
        await client.close()


async def test_plain_to_a_tls_port(tls: ssl.SSLContext) -> None:
    """`ws://` to a server that wants TLS: the sentence names the other scheme."""
    async with StandInServer("echo", tls=tls) as server:
        error = await refusal(server.url.replace("wss", "ws"))
    assert "write wss://" in str(error)


@pytest.mark.usefixtures("forgotten_tls")
async def test_tls_to_a_plain_port() -> None:
    """`wss://` to a server without TLS: the sentence names the other scheme, and no second try helps."""
    async with StandInServer("echo") as server:
        error = await refusal(server.url.replace("ws", "wss"))
    assert "write ws://" in str(error)
    assert not error.retry


async def test_the_audio_loop_crashes() -> None:
    """A close with 1000 that nobody asked for is the server's crash, and may be tried again."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events):
        server.crash()
        ending = await events.ending()
    assert (ending.cause, ending.retry) == ("close 1000", True)
    assert "audio loop crashed" in ending.reason


async def test_the_process_dies() -> None:
    """A TCP reset in the middle of a call is told as a broken connection."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events) as client:
        server.reset()
        ending = await events.ending()
        client.send_audio(b"too late")
    assert (ending.cause, ending.retry) == ("broken off", True)


@pytest.mark.parametrize(("code", "retry"), [(1001, True), (1009, False), (1011, True), (1013, True)])
async def test_other_close_codes(code: int, retry: bool) -> None:  # noqa: FBT001 -- a table's column
    """Whatever code a server or a proxy closes with is named, and sorted into worth another try or not."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events):
        await server.close_with(code)
        ending = await events.ending()
    assert (ending.cause, ending.retry) == (f"close {code}", retry)


async def test_a_flood_is_cut_off() -> None:
    """A message that no PersonaPlex server would send ends the call on our side."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events):
        server.inject(bytes(2 << 20))
        ending = await events.ending()
    assert (ending.cause, ending.retry) == ("oversized", False)


async def test_what_a_server_does_not_read_is_seen_soon() -> None:
    """The kernel takes little of it, the rest shows as backlog, and sending never waits."""
    async with StandInServer("echo") as server, opened(server.url, Events()) as client:
        assert client.backlog_bytes == 0
        server.stop_reading()
        for _ in range(1000):  # how much the kernel takes depends on how fast it was filled
            client.send_audio(bytes(10_000))
            await asyncio.sleep(0)
            if client.backlog_bytes:
                break
        assert client.backlog_bytes > 0
    assert client.backlog_bytes == 0


async def test_the_kernel_buffers_seconds_and_not_minutes() -> None:
    """The socket's send buffer is small, so that a stall is noticed while it can still be mended."""
    async with StandInServer("echo") as server:
        endpoint = Endpoint.parse(server.url)
        connection = await dialing.dial(endpoint, endpoint.url(PERSONA), verify_tls=True, guard=lambda _size, _frames: True)
        # Linux doubles what is asked for, for its own bookkeeping.
        assert (
            connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 4 * dialing.SEND_BUFFER_BYTES
        )
        await connection.close()


async def test_giving_up_on_a_silent_server() -> None:
    """A stall ends the conversation with its own reason, whatever the socket says afterwards."""
    events = Events()
    async with StandInServer("echo") as server, opened(server.url, events) as client:
        client.stalled(3.2)
        client.stalled(3.3)
        assert (await events.ending()).cause == "stalled"
        assert not client.live


class Clumsy(Events):
    """A listener with a bug."""

    def add(self, event: Event) -> None:
        super().add(event)
        if isinstance(event, TextCame):
            raise ZeroDivisionError


async def test_a_bug_of_ours_ends_the_call() -> None:
    """Whatever breaks while a message is read, the call is told that it is over instead of going deaf."""
    events = Clumsy()
    async with StandInServer("echo") as server, opened(server.url, events):
        server.inject(b"\x02 Hi")
        ending = await events.ending()
    assert ending.cause == "broken off"


async def test_a_goodbye_that_is_cancelled_still_closes() -> None:
    """Who cannot wait for the server's goodbye leaves a closed socket all the same."""
    async with StandInServer("echo") as server:
        client = client_of(server.url)
        await client.open(20.0)
        server.stop_reading()
        client.send_audio(b"?")
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        server.read_again()
        await server.log.wait_for(lambda log: log.of(ConversationClosed))


async def test_closing_twice_is_closing_once() -> None:
    """Close is idempotent, also before open."""
    client = client_of("ws://localhost:1")
    await client.close()
    await client.close()


@pytest.mark.parametrize(
    ("text", "configured_s", "deadline_s"), [("x", 60, 60), ("x", 3, 3), ("x" * 1000, 0.5, 0.5), ("x" * 1300, 3, 13), ("x" * 4000, 60, 160)]
)
def test_prompts_get_the_time_they_need(text: str, configured_s: float, deadline_s: float) -> None:
    """The deadline is exactly the configured one, and a very long role adds its own time."""
    assert handshake_deadline_s(text, configured_s) == pytest.approx(deadline_s)
