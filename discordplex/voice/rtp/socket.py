"""MediaSocket: one voice session's UDP socket, from IP discovery over its key and keep-alives to its end.

What arrives is handled on the loop, which also gives it to the engine: a thread of its own would wake for each packet into cold caches,
which costs several times what is done there. What we send has a thread (`threads.py`).
"""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from discordplex.clock import Clock, Timer
from discordplex.descriptors import NO_DESCRIPTORS, says_no_descriptors
from discordplex.errors import RemoteProtocolError, VoiceError
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.gateway.events import GatewayReady, SessionDescription
from discordplex.voice.rtp.encryption import Transport
from discordplex.voice.rtp.receiver import DISCOVERY, DISCOVERY_LENGTH, DISCOVERY_REQUEST, KEEPALIVE, PcmSink, Receiver
from discordplex.voice.rtp.sender import Sender, SendPath

RECEIVE_BUFFER_BYTES = 1 << 20
"""What the kernel may keep for us while the loop is busy."""

DISCOVERY_TRIES = 6
DISCOVERY_PATIENCE_S = 0.5
"""Datagrams get lost: the question is asked again after this long."""

KEEPALIVE_STARTS = 1 << 31
"""The first keep-alive's number is one of these, by chance: whoever forges datagrams cannot answer for the voice server."""

log = structlog.get_logger()


class DatagramReceiver(Protocol):
    """Takes the datagrams of one socket. Thread: loop."""

    @property
    def due(self) -> float | None:
        """When `tick` has to be called without a datagram; None for never."""
        ...

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram."""
        ...

    def tick(self, now: float) -> None:
        """Handle what is due."""
        ...

    def failed(self, error: Exception) -> None:
        """Called once, after `receive` or `tick` has raised."""
        ...


class DatagramReader(asyncio.DatagramProtocol):
    """Hands the datagrams of one socket to a receiver, and calls it when it is due. Thread: loop.

    The loop takes one datagram of each socket in turn, so that a flood of one call delays no other.
    """

    def __init__(self, receiver: DatagramReceiver, *, clock: Clock, metrics: Metrics) -> None:
        self._receiver = receiver
        self._clock = clock
        self._metrics = metrics
        self._timer: Timer | None = None
        self._complained = False

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take one datagram."""
        del addr
        self._guard(self._receiver.receive, data)

    def error_received(self, exc: Exception) -> None:
        """Count an ICMP answer to what we sent."""
        del exc
        self._metrics.counter("voice.rx.socket_errors").add()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        del exc
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        self._guard(self._receiver.tick)

    def _guard(self, work: Callable[..., None], *datagram: bytes) -> None:
        """Do it and catch whatever it raises: a bug must not make the call deaf. Then wait for what is due."""
        try:
            work(*datagram, self._clock.now())
        except Exception as error:
            self._metrics.counter("voice.faults").add()
            if not self._complained:
                self._complained = True
                log.exception("taking a datagram failed")
                self._receiver.failed(error)
        if self._timer is None and (due := self._receiver.due) is not None:
            self._timer = self._clock.call_at(due, self._tick)


class MediaSocket:
    """The UDP side of one session. For the loop only; the send thread uses the sender."""

    def __init__(self, *, sink: PcmSink, sender: Sender, clock: Clock, metrics: Metrics, e2ee: DaveSession) -> None:
        self.receiver = Receiver(e2ee=e2ee, sink=sink, metrics=metrics, on_discovery=self._discovered)
        self.ssrc: int | None = None
        self._loop = asyncio.get_running_loop()
        self._address: asyncio.Future[tuple[str, int]] = self._loop.create_future()
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._e2ee = e2ee
        self._opening = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._key = b""
        self._keepalive = self._first_keepalive = secrets.randbelow(KEEPALIVE_STARTS)
        self._asked_at = self._asked_last_at = float("-inf")

    async def open(self, ready: GatewayReady) -> tuple[str, int]:
        """Open the socket and discover its public address and port. Raises VoiceError if that fails, after 3 s at most."""
        async with self._opening:
            self.close()
            sock = connected_socket(ready.host, ready.port)
            reader = DatagramReader(self.receiver, clock=self._clock, metrics=self._metrics)
            self._transport, _ = await self._loop.create_datagram_endpoint(lambda: reader, sock=sock)
            self._socket = sock
        self.ssrc = ready.ssrc
        self._address = self._loop.create_future()
        request = DISCOVERY.pack(DISCOVERY_REQUEST, DISCOVERY_LENGTH, ready.ssrc, b"", 0)
        for _ in range(DISCOVERY_TRIES):
            self._send(request)
            done, _ = await asyncio.wait({self._address}, timeout=DISCOVERY_PATIENCE_S)
            if done:
                return self._address.result()
        raise VoiceError("Discord's voice server does not answer over UDP; a firewall may block it.")

    def start(self, description: SessionDescription) -> bool:
        """Use the session's key from now on, both ways. Returns False if it is in use already.

        Raises VoiceError for a description that is invalid.
        """
        if self._socket is None or self.ssrc is None:
            raise VoiceError("Discord's voice server described a session before it had our address.")
        if description.key == self._key:
            return False
        try:
            transport = Transport.for_mode(description.mode, description.key)
        except RemoteProtocolError as fault:
            raise VoiceError("Discord's voice server described an impossible session.") from fault
        self._key = description.key
        self.receiver.transport = transport
        self._sender.attach(SendPath(self.ssrc, transport, self._e2ee, self._socket))
        return True

    def keep_alive(self, now: float) -> None:
        """Send one keep-alive. It keeps the address open in routers, and its answer proves that the path is alive."""
        if self._asked_at <= self.receiver.alive_at:
            self._asked_at = now
        self._asked_last_at = now
        self.receiver.keepalives = range(self._first_keepalive, self._keepalive + 1)
        self._send(KEEPALIVE.pack(self._keepalive))
        self._keepalive += 1

    @property
    def path_owes_answer(self) -> bool:
        """Whether nothing has arrived since the last keep-alive, from a server that has answered one before."""
        return self.receiver.echoes > 0 and self._asked_at > self.receiver.alive_at

    @property
    def path_silent_s(self) -> float:
        """For how long keep-alives have had no answer; 0.0 for a single one, since this process may have been suspended."""
        return self._asked_last_at - self._asked_at if self.path_owes_answer else 0.0

    def close(self) -> None:
        """Stop sending and close the socket. Idempotent."""
        if self._transport is not None:
            self._sender.detach()
            self._transport.close()
            self._socket = self._transport = None

    def _send(self, datagram: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the network is away: asked again later
                self._socket.send(datagram)

    def _discovered(self, address: str, port: int) -> None:
        """Take our public address from the voice server."""
        if not self._address.done():
            self._address.set_result((address, port))


def connected_socket(host: str, port: int) -> socket.socket:
    """A non-blocking datagram socket. Raises VoiceError where the server's address is none: looking a name up would stall the loop."""
    try:
        address = ipaddress.ip_address(host.replace("%", " "))  # no zone, which could be any text
    except ValueError:
        raise VoiceError("Discord named a voice server by something that is no address.") from None
    family = socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        limited = says_no_descriptors(error)
        sentence = NO_DESCRIPTORS if limited else f"this computer lets the bot open no datagram socket: {error.strerror}"
        raise VoiceError(f"{sentence[:1].upper()}{sentence[1:]}.") from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.connect((str(address), port))
    except OSError as error:
        sock.close()
        raise VoiceError(f"Discord's voice server at {address} port {port} cannot be reached: {error}.") from error
    return sock
