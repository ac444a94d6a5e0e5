"""PersonSocket: a person's UDP socket on the media thread: IP discovery, keep-alive, datagrams with the time of arrival."""

import asyncio
import struct
import time
from collections.abc import Callable

from discordplex.errors import VoiceError

Address = tuple[str, int]

DISCOVERY = struct.Struct("!HHI64sH")
REQUEST, REPLY, LENGTH = 1, 2, 70
TRIES = 5
TRY_S = 1.0
KEEPALIVE_S = 5.0
KEEPALIVE = struct.Struct("<Q")


class PersonSocket(asyncio.DatagramProtocol):
    """One UDP socket. Thread: media, throughout."""

    def __init__(self, on_datagram: Callable[[bytes, float], None]) -> None:
        """`on_datagram(datagram, at)` gets everything that is neither discovery nor keep-alive; `at` is `time.perf_counter`."""
        self._on_datagram = on_datagram
        self._socket: asyncio.DatagramTransport | None = None
        self._discovered: asyncio.Future[Address] | None = None
        self._keepalives = 0
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, relay: Address) -> None:
        """Bind, and send everything to the relay from now on."""
        loop = asyncio.get_running_loop()
        self._socket, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=relay)
        self._keep_alive()

    async def discover(self, ssrc: int) -> Address:
        """Return our address as the relay sees it. Raises VoiceError if it does not answer."""
        self._discovered = asyncio.get_running_loop().create_future()
        for _ in range(TRIES):
            self.send(DISCOVERY.pack(REQUEST, LENGTH, ssrc, b"", 0))
            done, _ = await asyncio.wait([self._discovered], timeout=TRY_S)
            if done:
                return self._discovered.result()
        raise VoiceError("the relay does not answer IP discovery")

    def send(self, datagram: bytes) -> None:
        """Send one datagram, or nothing where the socket is closed."""
        if self._socket is not None and not self._socket.is_closing():
            self._socket.sendto(datagram)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.abort()

    def datagram_received(self, datagram: bytes, address: Address) -> None:  # noqa: ARG002  # the socket is connected
        """Handle one datagram from the relay; an echoed keep-alive needs nothing."""
        at = time.perf_counter()
        if len(datagram) == KEEPALIVE.size:
            return
        if len(datagram) == DISCOVERY.size and datagram[:4] == struct.pack("!HH", REPLY, LENGTH):
            self._found(datagram)
        else:
            self._on_datagram(datagram, at)

    def error_received(self, fault: Exception) -> None:
        """Ignore a closed port of the relay; the voice gateway reports the reason."""

    def _found(self, reply: bytes) -> None:
        _, _, _, address, port = DISCOVERY.unpack(reply)
        if self._discovered is not None and not self._discovered.done():
            self._discovered.set_result((address.rstrip(b"\x00").decode(), port))

    def _keep_alive(self) -> None:
        self.send(KEEPALIVE.pack(self._keepalives))
        self._keepalives += 1
        self._timer = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._keep_alive)
