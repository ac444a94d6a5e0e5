"""One rule for every client: which proxy, whose certificates, and a sentence for each variable that cannot be obeyed."""

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from discordplex import network
from discordplex.clock import SystemClock
from discordplex.errors import ConfigError
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.network import Connector, NetworkSettingError, ProxyFailedError, RedirectedError, open_websocket, proxy_for, tls_context
from discordplex.services.clients import Clients, Request
from discordplex.services.faults import ServiceError
from discordplex.services.service import Service
from tests.proxies import Seen, http_proxy, socks_proxy

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY", "NO_PROXY", *network.TRUST_VARIABLES)
ELSEWHERE = "elsewhere.test"


def unbounded(size: int, frames: int) -> bool:
    """Let a server send what it likes."""
    return size >= 0 and frames >= 0


"""A name that only our proxies know; they lead it here."""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own environment decides."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# The rule

EVERY_PROXY = {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://p:1", "SOCKS_PROXY": "http://p:1"}


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1",
        "127.8.9.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "127.1",
        "me.localhost",
    ],
)
def test_this_machine_is_reached_directly(scheme: str, host: str) -> None:
    """No variable puts a proxy in front of a server on the same machine."""
    assert proxy_for(f"{scheme}://{host}:8998/x", EVERY_PROXY) is None
    broken = dict.fromkeys(EVERY_PROXY, "socks://nowhere:x")
    assert proxy_for(f"{scheme}://user:pw@{host}/x", broken) is None


CHOICES: list[tuple[str, dict[str, str], str | None]] = [
    ("https://h", {"HTTPS_PROXY": "http://a"}, "HTTPS_PROXY http://a:80"),
    ("wss://h", {"https_proxy": "http://a:1"}, "https_proxy http://a:1"),
    ("http://h", {"HTTPS_PROXY": "http://a"}, None),
    ("ws://h", {"http_proxy": "a:3128"}, "http_proxy http://a:3128"),
    ("https://h", {"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, "https_proxy http://b:80"),
    ("https://h", {"HTTPS_PROXY": "http://a", "https_proxy": ""}, None),
    ("https://h", {"HTTPS_PROXY": "http://a", "ALL_PROXY": "http://b"}, "HTTPS_PROXY http://a:80"),
    ("ws://h", {"ALL_PROXY": "socks5://b", "HTTPS_PROXY": "http://a"}, "ALL_PROXY socks5://b:1080"),
    ("https://h", {"all_proxy": "socks://u:p@b:9"}, "all_proxy socks5://b:9"),
    ("https://h", {"SOCKS_PROXY": "b"}, "SOCKS_PROXY socks5://b:1080"),
    ("https://h", {"HTTPS_PROXY": "https://[fd00::1]/"}, "HTTPS_PROXY https://[fd00::1]:443"),
    ("https://h", {}, None),
    ("ftp://h", {"ALL_PROXY": "http://a"}, None),
    ("nonsense", {"ALL_PROXY": "http://a"}, None),
    ("http://[", {"ALL_PROXY": "http://a"}, None),
]


@pytest.mark.parametrize(("url", "environ", "chosen"), CHOICES)
def test_the_variables_decide_in_order(url: str, environ: dict[str, str], chosen: str | None) -> None:
    """The scheme's own variable first, lower case first, an empty one not at all."""
    proxy = proxy_for(url, environ)
    assert (proxy and f"{proxy.variable} {proxy.place}") == chosen


EXEMPT = [
    ("*", "https://a.b", True),
    ("b", "https://a.b", True),
    (".b", "https://a.b", True),
    (".b", "https://b", True),
    ("*.b", "https://a.b", True),
    ("b", "https://ab", False),
    ("A.B.", "https://a.b.", True),
    ("b:443", "https://b", True),
    ("b:8443", "https://b", False),
    ("http://b/", "https://b", True),
    ("x, b ,y", "https://b", True),
    ("x b", "https://b", True),
    ("10.0.0.0/8", "https://10.1.2.3", True),
    ("10.0.0.0/8", "https://11.1.2.3", False),
    ("10.*", "https://10.1.2.3", True),
    ("10.1.2.3:443", "https://10.1.2.3", True),
    ("10.0.0.5/8", "https://10.1.2.3", True),
    ("3", "https://10.1.2.3", False),
    ("fd00::/8", "https://[fd12::3]", True),
    ("[fd00::]/8", "https://[fd12::3]", True),
    ("fe80::1", "https://[fe80::1]", True),
    ("[fe80::1]:443", "https://[fe80::1]", True),
    ("[fe80::1]:80", "https://[fe80::1]", False),
    ("fe80::/10", "https://10.1.2.3", False),
    ("10.0.0.0/8", "https://[::ffff:10.1.2.3]", True),
    ("gpu*.lan", "https://gpu7.lan", True),
    ("a?b[", "https://b", False),
]


@pytest.mark.parametrize(("no_proxy", "url", "direct"), EXEMPT)
def test_no_proxy_lists_names_addresses_networks_and_ports(no_proxy: str, url: str, direct: bool) -> None:  # noqa: FBT001 -- the expected value
    """As curl, Go and Python read it; entries that mean nothing match nothing."""
    assert (proxy_for(url, {"ALL_PROXY": "http://p:1", "no_proxy": no_proxy}) is None) is direct


@given(st.text(), st.text(), st.sampled_from(["https://elsewhere.test/x", "ws://10.1.2.3:9/", "http://[fd00::1]/", "http://localhost"]))
def test_any_value_gives_a_proxy_or_a_sentence(value: str, no_proxy: str, url: str) -> None:
    """No value of a variable raises anything but the sentence that names it, and the sentence never repeats a password."""
    for variable in ("ALL_PROXY", "SOCKS_PROXY"):
        try:
            proxy_for(url, {variable: value, "NO_PROXY": no_proxy})
        except NetworkSettingError as fault:
            assert variable in str(fault)  # noqa: PT017 -- most values raise nothing


@pytest.mark.parametrize(
    "value", ["http://", "http://h:port", "http://h:99999", "ftp://u:s3cret@h", "http://h/path", "h h", "http://%ff:s3cret@h"]
)
def test_a_value_that_names_no_proxy_is_a_sentence(value: str) -> None:
    """The variable is named, its value is not repeated: it may hold a password."""
    with pytest.raises(NetworkSettingError, match="HTTPS_PROXY") as caught:
        proxy_for("https://h", {"HTTPS_PROXY": value})
    assert "s3cret" not in str(caught.value)
    assert "unset HTTPS_PROXY" in str(caught.value)


@pytest.mark.parametrize("value", ["socks5://h:1", "socks://h", "socks5h://u:pw@h"])
def test_socks_without_its_packages_says_what_to_install(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the variable, the command, and the other way out."""
    monkeypatch.setattr(network, "can_socks", lambda: False)
    with pytest.raises(NetworkSettingError) as caught:
        proxy_for("https://h", {"ALL_PROXY": value})
    assert all(words in str(caught.value) for words in ("ALL_PROXY", "discordplex[socks]", "unset ALL_PROXY"))


# The clients


@asynccontextmanager
async def web_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """An HTTP server that says hello, with a WebSocket at /ws."""

    async def hello(_: web.Request) -> web.Response:
        return web.json_response({"hello": True})

    async def greet(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    application = web.Application()
    application.add_routes([web.get("/", hello), web.get("/ws", greet)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS for the name that only proxies know; clients trust it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ELSEWHERE, "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return context


PROXIES = pytest.mark.parametrize(
    ("proxy", "scheme"), [(http_proxy, "http"), (socks_proxy, "socks5"), (socks_proxy, "socks")], ids=["http", "socks5", "socks"]
)


def spoken(proxy: Seen, scheme: str) -> str:
    return f"{scheme}://user:pa%40ss@127.0.0.1:{proxy.port}"


@PROXIES
async def test_the_rest_api_and_the_gateway_use_the_proxy(
    proxy: Callable[[], "asyncio.Future[Seen]"], scheme: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain and TLS, requests and WebSockets of one session: each goes to the proxy, with the name unresolved and the password."""
    async with proxy() as seen, web_server() as plain, web_server(tls) as secure:  # type: ignore[attr-defined] # a context manager
        monkeypatch.setenv("ALL_PROXY", spoken(seen, scheme))
        async with aiohttp.ClientSession(connector=Connector()) as session:
            for url in (f"http://{ELSEWHERE}:{plain}/", f"https://{ELSEWHERE}:{secure}/"):
                async with session.get(url) as response:
                    assert await response.json() == {"hello": True}
            async with session.ws_connect(f"https://{ELSEWHERE}:{secure}/ws") as socket:
                assert await socket.receive_str() == "hello"
            before = len(seen.targets)
            async with session.get(f"http://127.0.0.1:{plain}/") as response:
                assert response.status == 200
        assert len(seen.targets) == before
    assert set(seen.targets) == {(ELSEWHERE, plain), (ELSEWHERE, secure)}
    assert seen.credentials


@PROXIES
async def test_websocket_engines_use_the_proxy(
    proxy: Callable[[], "asyncio.Future[Seen]"], scheme: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ws:// and wss:// alike; a server on this machine is met directly."""

    async def hello(socket: ServerConnection) -> None:
        await socket.send("hello")

    async with proxy() as seen, serve(hello, "127.0.0.1", 0) as plain, serve(hello, "127.0.0.1", 0, ssl=tls) as secure:  # type: ignore[attr-defined]
        ports = [next(iter(server.sockets)).getsockname()[1] for server in (plain, secure)]
        monkeypatch.setenv("ALL_PROXY", spoken(seen, scheme))
        async with await open_websocket(f"ws://{ELSEWHERE}:{ports[0]}/", guard=unbounded) as socket:
            assert await socket.recv() == "hello"
        async with await open_websocket(f"wss://{ELSEWHERE}:{ports[1]}/", guard=unbounded, ssl=tls_context()) as socket:
            assert await socket.recv() == "hello"
        before = list(seen.targets)
        async with await open_websocket(f"ws://127.0.0.1:{ports[0]}/", guard=unbounded) as socket:
            assert await socket.recv() == "hello"
    assert seen.targets == before == [(ELSEWHERE, port) for port in ports]
    assert seen.credentials


def service_at(base_url: str) -> Service:
    return Service(name="think", base_url=base_url, model="gpt-4o-mini", api_key="sk-loopback")


@PROXIES
async def test_the_cascade_uses_the_proxy(
    proxy: Callable[[], "asyncio.Future[Seen]"], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own reading of the environment is off: the same rule decides."""
    async with proxy() as seen, StandInOpenAI() as server:  # type: ignore[attr-defined]
        monkeypatch.setenv("ALL_PROXY", spoken(seen, scheme))
        port = int(server.base_url.split(":")[2].split("/")[0])
        for host in (ELSEWHERE, "127.0.0.1", "localhost"):
            service = service_at(server.base_url.replace("127.0.0.1", host))
            clients = await asyncio.to_thread(Clients, [service])
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(server, "api_key", "sk-loopback")
                    async with clients.ask(service, Request("/models"), SystemClock()) as answer:
                        assert b"whisper-1" in await answer.whole()
            finally:
                await clients.close()
    assert seen.targets == [(ELSEWHERE, port)]
    assert seen.credentials


async def dead_port() -> int:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_dead_proxy_is_named_without_its_password(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiohttp and websockets give the same sentence."""
    port = await dead_port()
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:s3cret@127.0.0.1:{port}")
    said = []
    async with aiohttp.ClientSession(connector=Connector()) as session:
        with pytest.raises(ProxyFailedError) as caught:
            await session.get(f"https://{ELSEWHERE}/")
        said.append(str(caught.value))
    with pytest.raises(ProxyFailedError) as caught:
        await open_websocket(f"wss://{ELSEWHERE}/", guard=unbounded, ssl=tls_context())
    said.append(str(caught.value))
    for sentence in said:
        assert f"{scheme}://127.0.0.1:{port}" in sentence
        assert "unset HTTPS_PROXY" in sentence
        assert "s3cret" not in sentence


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_what_is_written_goes_nowhere_else(status: int) -> None:
    """Py-cord's session follows redirects, and with 307 and 308 it sends the body again."""
    met: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: 0\r\nLocation: http://%s/\r\n\r\n" % (status, place.encode()))
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    here, elsewhere = [await asyncio.start_server(serve, "127.0.0.1", 0) for serve in (redirect, meet)]
    url, place = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in (here, elsewhere)]
    async with aiohttp.ClientSession(connector=Connector(writes_to=f"http://{url}/v10")) as session:
        with contextlib.ExitStack() as refused:
            if status >= 307:
                refused.enter_context(pytest.raises(RedirectedError))
            await session.post(f"http://{url}/v10/messages", json={"content": "words"}, headers={"Authorization": "Bot token"})
    assert not any(b"words" in one or b"token" in one for one in met)
    assert bool(met) == (status < 307)
    here.close()
    elsewhere.close()


@pytest.mark.parametrize("refused_at", [1, 2, 3])
async def test_a_request_passes_right_before_it_is_sent(refused_at: int) -> None:
    """Before it waits for a connection and when it has one: the first of two requests needs a new one, the second one is refused."""
    met, passed, ended = [], itertools.count(1), asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                met.append(request)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        ended.set()

    async def passes() -> None:
        if next(passed) == refused_at:
            raise aiohttp.ClientConnectionError

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession(connector=Connector(passes=passes)) as session:
        if refused_at == 3:
            await session.get(url)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
    assert len(met) == (1 if refused_at == 3 else 0)
    server.close()
    if refused_at > 1:
        await ended.wait()


FRAMES_AHEAD = 16
"""So many frames the library keeps before it pauses reading."""


async def test_frames_that_came_before_the_end_are_read(tls: ssl.SSLContext) -> None:
    """Also in the round of the loop in which the socket is lost while reading is paused: the library resumes it then."""

    async def flood(socket: ServerConnection) -> None:
        for _ in range(2 * FRAMES_AHEAD):
            await socket.send("hello")
        await socket.wait_closed()

    frames, full = itertools.count(1), asyncio.Event()

    def guard(_size: int, frame: int) -> bool:
        if frame and next(frames) == 2 * FRAMES_AHEAD:
            full.set()
        return True

    async with serve(flood, "127.0.0.1", 0, ssl=tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with await open_websocket(f"wss://127.0.0.1:{port}/", guard=guard, ssl=tls_context()) as socket:
            await full.wait()
            socket.transport.abort()
            await asyncio.sleep(0)
            for _ in range(2 * FRAMES_AHEAD):
                assert await socket.recv() == "hello"


async def both_say(words: str) -> None:
    """HTTP and WebSockets fail with these words."""
    async with aiohttp.ClientSession(connector=Connector()) as session:
        with pytest.raises(ProxyFailedError, match=words):
            await session.get(f"https://{ELSEWHERE}/")
    with pytest.raises(ProxyFailedError, match=words):
        await open_websocket(f"wss://{ELSEWHERE}/", guard=unbounded, ssl=tls_context())


async def test_a_proxy_that_refuses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is passed on: 407 wants a password."""
    async with http_proxy(refuse=407) as seen:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{seen.port}")
        await both_say("407")


async def test_a_socks_proxy_that_refuses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its companions' own errors do not get through."""
    async with socks_proxy(reply=5) as seen:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{seen.port}")
        await both_say("ALL_PROXY")


def test_a_variable_that_cannot_be_obeyed_is_the_cascade_s_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client is made, and nothing is called an internal error."""
    monkeypatch.setenv("ALL_PROXY", "gopher://h")
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        Clients([service_at("http://elsewhere.test/v1")])
    monkeypatch.setenv("NO_PROXY", "fd00::/8,[::1],10.0.0.0/8,:,/,[")
    Clients([service_at("http://127.0.0.1:9/v1")])


# Certificates


def no_such_file(folder: Path) -> str:
    return str(folder / "nowhere.pem")


def no_certificates(folder: Path) -> str:
    (folder / "empty.pem").write_text(json.dumps({}))
    return str(folder / "empty.pem")


@pytest.mark.parametrize("variable", network.TRUST_VARIABLES)
@pytest.mark.parametrize("place", [no_such_file, no_certificates])
def test_certificates_that_are_not_there_are_a_sentence(
    variable: str, place: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named, with what to do; without verification nobody asks for it."""
    monkeypatch.setenv(variable, place(tmp_path))
    with pytest.raises(NetworkSettingError, match=f"correct or unset {variable}"):
        tls_context()
    assert tls_context(verify=False).verify_mode is ssl.CERT_NONE


def trusted(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


def test_a_bundle_is_trusted_beside_the_machine_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUESTS_CA_BUNDLE adds to the usual trust, SSL_CERT_FILE replaces it."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    before = trusted(tls_context())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert trusted(tls_context()) == before + 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert trusted(tls_context()) == 1


@pytest.mark.parametrize("environ", [{"SSL_CERT_FILE": ""}, {"SSL_CERT_DIR": ""}, {"REQUESTS_CA_BUNDLE": ""}])
def test_an_empty_variable_counts_as_not_set(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass empty ones; OpenSSL alone would trust nobody then."""
    before = trusted(tls_context())
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert trusted(tls_context()) == before


# Of a SOCKS proxy that refuses the HTTP library forgets to close its connection.
@pytest.mark.parametrize(("scheme", "way"), [("http", "dead"), ("http", "refusing"), ("socks5", "dead")])
async def test_a_proxy_that_fails_is_the_cascade_s_sentence(scheme: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable instead of blaming the server, and no password is in it."""
    async with http_proxy(refuse=502) as seen:
        port = await dead_port() if way == "dead" else seen.port
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:s3cret@127.0.0.1:{port}")
        service = service_at(f"https://{ELSEWHERE}/v1")
        clients = await asyncio.to_thread(Clients, [service])
        try:
            with pytest.raises(ServiceError) as caught:
                async with clients.ask(service, Request("/models"), SystemClock()):
                    pass
        finally:
            await clients.close()
    assert caught.value.cause == "proxy"
    assert "ALL_PROXY" in str(caught.value)
    assert "s3cret" not in str(caught.value)
