"""The main gateway, version 10: identify, resume, heartbeats, members, voice states. JSON only, plain or as one zlib stream.

Measured with py-cord 2.8.1 (asks for `compress=zlib-stream` and takes binary messages, each ended by a sync flush) and discord.js 14
(asks for no compression and takes text).
"""

from aiohttp import web

from discordplex.loopback.discord.gateway.connection import GatewayConnection
from discordplex.loopback.discord.gateway.sessions import Sessions
from discordplex.loopback.discord.world.world import World

HEARTBEAT_MS = 41_250
"""Discord's heartbeat interval."""


class Gateway:
    """The sessions of all logins, and their connections."""

    def __init__(
        self, world: World, *, heartbeat_ms: int = HEARTBEAT_MS, privileged_intents: bool = True, shards: int = 1, max_concurrency: int = 1
    ) -> None:
        """`shards` is what is recommended, `max_concurrency` how many of them may log in within `IDENTIFY_S`."""
        self.world = world
        self.sessions = Sessions(
            world, heartbeat_ms=heartbeat_ms, privileged_intents=privileged_intents, shards=shards, max_concurrency=max_concurrency
        )
        self.refuse_connections = False
        self._connections: set[GatewayConnection] = set()
        self._unsubscribe = world.subscribe(self.sessions.offer)

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket until it closes."""
        if self.refuse_connections:
            return web.Response(status=503, text="the gateway takes no connections")
        socket = web.WebSocketResponse(compress=False, autoclose=False, timeout=1.0, max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = GatewayConnection(
            self.world, self.sessions, socket, request, compressed=request.query.get("compress") == "zlib-stream"
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            if connection.session:
                self.sessions.connection_ended(connection.session, connection.wake, ended=connection.ended_cleanly)
            self.world.note("gateway closed")
        return socket

    def online(self, user_id: str) -> bool:
        """Whether a connection of this user is identified now."""
        return any(connection.session and connection.session.login.user.id == user_id for connection in self._connections)

    async def drop(self, user_id: str | None = None, *, code: int | None = None, shard: int | None = None) -> int:
        """Close a user's connections (all users' without one) with a close code, or by a TCP reset without; returns how many.

        With `shard`, only those of this shard.
        """
        dropped = [
            each
            for each in self._connections
            if (user_id is None or (each.session and each.session.login.user.id == user_id))
            and (shard is None or (each.session and each.session.login.shard[0] == shard))
        ]
        for connection in dropped:
            await connection.drop(code)
        return len(dropped)

    def forget_sessions(self) -> None:
        """Make every session impossible to resume (op 9), as after a long outage."""
        self.sessions.end_all()

    async def close(self) -> None:
        """Close every connection and drop every session."""
        self._unsubscribe()
        for connection in list(self._connections):
            await connection.drop(1001)
        self.sessions.close()
