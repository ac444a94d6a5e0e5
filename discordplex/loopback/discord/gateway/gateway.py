"""The main gateway, version 10: identify, resume, heartbeats, members, voice states. JSON only, plain or as one zlib stream.

Measured with py-cord 2.8.1 (asks for `compress=zlib-stream` and takes binary messages, each ended by a sync flush) and discord.js 14
(asks for no compression and takes text).
"""

import asyncio
import secrets

from aiohttp import web

from discordplex.loopback.discord.gateway import dispatches
from discordplex.loopback.discord.gateway.connection import Connection
from discordplex.loopback.discord.gateway.sessions import GatewaySession, Login
from discordplex.loopback.discord.world.model import Fact
from discordplex.loopback.discord.world.world import World

HEARTBEAT_MS = 41_250
"""What Discord asks for."""

RESUME_WINDOW_S = 60.0
"""How long a lost connection's session waits to be resumed; its user stays shown in voice as long. Discord's own is not documented."""


class Gateway:
    """Every session of every login, and the connections that carry them."""

    def __init__(self, world: World, *, heartbeat_ms: int = HEARTBEAT_MS, privileged_intents: bool = True) -> None:
        self.world = world
        self.heartbeat_ms = heartbeat_ms
        self.privileged_intents = privileged_intents
        self.url = ""
        self.refuse_connections = False
        self.sessions: dict[str, GatewaySession] = {}
        self._connections: set[Connection] = set()
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._unsubscribe = world.subscribe(self._pass_on)

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket until it closes."""
        if self.refuse_connections:
            return web.Response(status=503, text="the gateway takes no connections")
        socket = web.WebSocketResponse(compress=False, autoclose=False, timeout=1.0, max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = Connection(self, socket, request, compressed=request.query.get("compress") == "zlib-stream")
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._detach(connection)
            self.world.note("gateway closed")
        return socket

    def online(self, user_id: str) -> bool:
        """Whether a connection of this user is identified now."""
        return any(connection.session and connection.session.login.user.id == user_id for connection in self._connections)

    async def drop(self, user_id: str | None = None, *, code: int | None = None) -> int:
        """Close a user's connections (all without one) with a close code, or by a TCP reset without; returns how many."""
        dropped = [each for each in self._connections if user_id is None or (each.session and each.session.login.user.id == user_id)]
        for connection in dropped:
            await connection.drop(code)
        return len(dropped)

    def forget_sessions(self) -> None:
        """Make every session impossible to resume (op 9 answers), as after a long outage."""
        for session in list(self.sessions.values()):
            self.end(session)

    async def close(self) -> None:
        """Close every connection and forget every session."""
        self._unsubscribe()
        for connection in list(self._connections):
            await connection.drop(1001)
        for handle in self._expiries.values():
            handle.cancel()
        self._expiries.clear()

    def log_in(self, login: Login, asked_shard: list[int] | None) -> GatewaySession:
        """A new session with READY and every guild in it."""
        session = GatewaySession(secrets.token_hex(16), login)
        self.sessions[session.id] = session
        guilds = [guild for guild in self.world.guilds_of(login.user.id) if login.covers(guild.id)]
        session.add(
            "READY",
            dispatches.ready(self.world, login.user, session_id=session.id, resume_url=self.url, guilds=guilds, shard=asked_shard),
        )
        for guild in guilds if login.intents & dispatches.GUILDS else ():
            session.add("GUILD_CREATE", dispatches.guild_create(self.world, guild, user_id=login.user.id, intents=login.intents))
        return session

    def take_up(self, session: GatewaySession) -> None:
        """Keep a session that is resumed from expiring."""
        handle = self._expiries.pop(session.id, None)
        if handle:
            handle.cancel()

    def end(self, session: GatewaySession) -> None:
        """Forget a session; its user leaves the voice channels that it had entered."""
        self.sessions.pop(session.id, None)
        self.take_up(session)
        for (guild_id, user_id), state in list(self.world.voice_states.items()):
            if state.session_id == session.id:
                self.world.voice_leave(user_id, guild_id)

    def _detach(self, connection: Connection) -> None:
        session = connection.session
        if session is None or session.id not in self.sessions or session.on_event != connection.wake:
            return
        session.on_event = lambda: None
        if connection.ended_cleanly:
            self.end(session)
        else:
            self._expiries[session.id] = asyncio.get_running_loop().call_later(RESUME_WINDOW_S, self.end, session)

    def _pass_on(self, fact: Fact) -> None:
        for dispatch in dispatches.dispatches(fact, self.world):
            guild = self.world.guilds[dispatch.guild_id] if dispatch.guild_id else None
            for session in list(self.sessions.values()):
                session.offer(dispatch, guild)
