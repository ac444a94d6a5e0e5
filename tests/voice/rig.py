"""A voice server that misbehaves as it is told, and the session that talks with it."""

import asyncio
import contextlib
import json
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus

import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.tasks import cancel_and_wait
from discordplex.token_bucket import TokenBucket
from discordplex.voice.gateway.protocol import Credentials
from discordplex.voice.rtp.encryption import MODES
from discordplex.voice.rtp.receiver import DISCOVERY, KEEPALIVE
from discordplex.voice.rtp.sender import Sender
from discordplex.voice.session import DiscordVoiceSession, VoiceServices
from tests.voice.booth import Ear, Mouth

HELLO = json.dumps({"op": 8, "d": {"heartbeat_interval": 1000}})
DESCRIPTION = json.dumps({"op": 4, "d": {"mode": MODES[0], "secret_key": [7] * 32, "dave_protocol_version": 0}})
Behaviour = Callable[[ServerConnection], Awaitable[None]]


def ready(port: int, host: str = "127.0.0.1", modes: Iterable[str] = MODES) -> str:
    return json.dumps({"op": 2, "d": {"ssrc": 5, "ip": host, "port": port, "modes": list(modes)}})


class Owner:
    """Hears what happens on the session."""

    def __init__(self) -> None:
        self.live = asyncio.Event()
        self.lives = 0

    def session_live(self) -> None:
        self.lives += 1
        self.live.set()

    def people_joined(self, user_ids: Iterable[int], /) -> None:
        pass

    def person_left(self, user_id: int, /) -> None:
        pass

    def people_listed(self) -> None:
        pass


class Datagrams(asyncio.DatagramProtocol):
    """The voice server's datagram port: answers IP discovery, if it is in the mood."""

    def __init__(self) -> None:
        self.requests = 0
        self.mute = False
        self.echoes = True
        self.client: tuple[str, int] | None = None
        self.keepalives: list[bytes] = []
        self._changes = Changes()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # narrowed as asyncio documents
        self.transport = transport

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds; looked at after each datagram."""
        await self._changes.until(condition, 5)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) == KEEPALIVE.size:
            self.keepalives.append(data)
            if self.echoes:
                self.transport.sendto(data, addr)
        self._changes.tell()
        if len(data) == DISCOVERY.size:
            self.requests += 1
            self.client = addr
            if not self.mute:
                self.transport.sendto(DISCOVERY.pack(2, 70, 5, b"203.0.113.7", 4711), addr)


class Rig:
    """A session and the server that it talks with."""

    def __init__(self, session: DiscordVoiceSession, *, owner: Owner, ear: Ear, clock: FakeClock, metrics: Metrics, udp: Datagrams) -> None:
        self.session = session
        self.ear = ear
        self.owner = owner
        self.clock = clock
        self.metrics = metrics
        self.udp = udp
        self.behaviour: Behaviour = silence

    @property
    def port(self) -> int:
        return int(self.udp.transport.get_extra_info("sockname")[1])

    def lift_budget(self) -> None:
        """Let the server send without a limit, for tests of what each message does."""
        self.session._frames = self.session._bytes = self.session._group_events = TokenBucket(per_second=0, burst=math.inf)

    async def establish(self, connection: ServerConnection, *, hello: str = HELLO) -> None:
        """Everything that a good server does until the session is live; what the client said on the way."""
        await connection.send(hello)
        assert json.loads(await connection.recv())["op"] == 0
        await connection.send(ready(self.port))
        selected = json.loads(await connection.recv())
        assert selected == {"op": 1, "d": {"protocol": "udp", "data": {"address": "203.0.113.7", "port": 4711, "mode": MODES[0]}}}
        await connection.send(DESCRIPTION)
        assert json.loads(await connection.recv())["op"] == 5


async def silence(connection: ServerConnection) -> None:
    await connection.wait_closed()


@asynccontextmanager
async def open_rig(authority: trustme.CA) -> AsyncIterator[Rig]:
    server_tls, client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    clock, metrics, owner, ear = FakeClock(), Metrics(), Owner(), Ear()
    made: list[Rig] = []

    async def behave(connection: ServerConnection) -> None:
        """As told, until the connection is over."""
        behaving = asyncio.ensure_future(made[0].behaviour(connection))
        await asyncio.wait({behaving, asyncio.ensure_future(connection.wait_closed())}, return_when=asyncio.FIRST_COMPLETED)
        await cancel_and_wait(behaving)

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        del request
        return connection.respond(HTTPStatus.BAD_GATEWAY, "no") if made[0].behaviour is refused else None

    transport, udp = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    try:
        async with serve(behave, "127.0.0.1", 0, ssl=server_tls, process_request=refuse, compression=None, ping_interval=None) as server:
            sender = Sender(source=Mouth(), clock=clock, metrics=metrics, on_speaking=lambda _: None, alone=bool)
            port = next(iter(server.sockets)).getsockname()[1]
            session = DiscordVoiceSession(
                credentials=Credentials(1, 2, "session", "token"),
                endpoint=f"127.0.0.1:{port}",
                channel_id=lambda: 7,
                owner=owner,
                shared=VoiceServices(ear, sender, metrics, clock, client_tls),
            )
            made.append(Rig(session, owner=owner, ear=ear, clock=clock, metrics=metrics, udp=udp))
            yield made[0]
            session.close()
    finally:
        transport.close()


async def refused(connection: ServerConnection) -> None:
    del connection


async def read_all(connection: ServerConnection) -> None:
    """Throw away whatever the bot says."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
