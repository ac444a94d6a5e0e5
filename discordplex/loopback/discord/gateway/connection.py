"""GatewayConnection: a WebSocket that handles opcodes and sends the events of its session."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import structlog
from aiohttp import WSMsgType, web

from discordplex.loopback.discord.gateway import dispatches
from discordplex.loopback.discord.gateway.sessions import GatewaySession, Identity, Sessions
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.world import World
from discordplex.loopback.sockets import close_websocket, reset_connection

log = structlog.get_logger()

UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, INVALID_SHARD, SHARDING_REQUIRED, DISALLOWED_INTENTS = 4005, 4010, 4011, 4014
CLEAN = (1000, 1001)
"""A client that closes with one of these codes ends its session (documented)."""


class GatewayConnection:
    """One WebSocket: handles opcodes, sends the events of its session."""

    def __init__(self, world: World, sessions: Sessions, socket: web.WebSocketResponse, request: web.Request, *, compressed: bool) -> None:
        self.session: GatewaySession | None = None
        self.ended_cleanly = False
        self._world = world
        self._sessions = sessions
        self._socket = socket
        self._request = request
        self._deflate = zlib.compressobj() if compressed else None
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._sent_seq = 0
        self._closed_by_us = False
        self._opcodes: Mapping[int, Callable[[Any], Awaitable[None]]] = {
            1: self._heartbeat,
            2: self._identify,
            3: self._presence,
            4: self._voice_state,
            6: self._resume,
            8: self._request_members,
            31: self._request_sounds,
        }

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Send hello, then receive and send until either side closes."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_events, name="gateway events")
            try:
                await self._send({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": self._sessions.heartbeat_ms, "_trace": []}})
                await self._read()
            except ConnectionError:
                log.debug("gateway connection lost")
            tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._receive(message.data)
                continue
            if message.type is WSMsgType.CLOSE:
                # Kept here: a client that closes TCP right after its close frame leaves only 1006 with aiohttp.
                self.ended_cleanly = not self._closed_by_us and message.data in CLEAN
                await close_websocket(self._socket, 1000)
            return

    async def drop(self, code: int | None) -> None:
        """Close with a code, or reset the TCP connection where there is none."""
        self._closed_by_us = True
        if code is None:
            reset_connection(self._request.transport)
        else:
            await close_websocket(self._socket, code)

    async def _receive(self, data: str | bytes) -> None:
        try:
            message = json.loads(data)
            opcode, body = message["op"], message.get("d")
        except (ValueError, KeyError, TypeError, AttributeError):
            await self.drop(DECODE_ERROR)
            return
        act = self._opcodes.get(opcode)
        if act is None:
            await self.drop(UNKNOWN_OPCODE)
        elif self.session is None and opcode not in (1, 2, 6):
            await self.drop(NOT_AUTHENTICATED)
        elif self.session is not None and opcode in (2, 6):
            await self.drop(ALREADY_AUTHENTICATED)
        else:
            try:
                await act(body)
            except (KeyError, TypeError, ValueError) as fault:
                log.warning("gateway message of the wrong shape", opcode=opcode, cause=type(fault).__name__)
                await self.drop(DECODE_ERROR)

    # One method per opcode

    async def _heartbeat(self, _body: Any) -> None:
        await self._send({"op": 11, "s": None, "t": None, "d": None})

    async def _presence(self, _body: Any) -> None:
        self._world.note("presence")

    async def _identify(self, body: dict[str, Any]) -> None:
        user = self._world.user_of_token(str(body["token"]))
        if user is None:
            await self.drop(AUTHENTICATION_FAILED)
            return
        shard = body.get("shard")
        login = Identity(user, int(body.get("intents", dispatches.ALL_INTENTS)), tuple(shard or (0, 1)))
        if not 0 <= login.shard[0] < login.shard[1]:
            await self.drop(INVALID_SHARD)
        elif login.shard[1] < self._sessions.required_shards:
            await self.drop(SHARDING_REQUIRED)
        elif login.intents & dispatches.PRIVILEGED and user.bot and not self._sessions.privileged_intents:
            await self.drop(DISALLOWED_INTENTS)
        elif not self._sessions.may_log_in(login):
            await self._send({"op": 9, "s": None, "t": None, "d": False})
        else:
            self._carry(self._sessions.log_in(login, shard), sent_seq=0)

    async def _resume(self, body: dict[str, Any]) -> None:
        session = self._sessions.get(str(body["session_id"]))
        user = self._world.user_of_token(str(body["token"]))
        seq = int(body.get("seq") or 0)
        if session is None or user is not session.login.user or not session.can_replay(seq):
            await self._send({"op": 9, "s": None, "t": None, "d": False})
            return
        self._sessions.keep_from_expiring(session)
        self._carry(session, sent_seq=seq)
        session.add("RESUMED", {"_trace": ["loopback"]})  # after everything that is replayed

    def _carry(self, session: GatewaySession, *, sent_seq: int) -> None:
        self.session = session
        self._sent_seq = sent_seq
        session.on_event = self.wake
        self.wake()
        self._world.note("gateway online")

    async def _voice_state(self, body: dict[str, Any]) -> None:
        session = self.session
        if session is None:
            return
        guild_id, channel_id, user_id = str(body["guild_id"]), body.get("channel_id"), session.login.user.id
        if channel_id is None:
            self._world.voice_leave(user_id, guild_id)
            return
        muted, deafened = bool(body.get("self_mute")), bool(body.get("self_deaf"))
        self._world.voice_join(user_id, guild_id, str(channel_id), session_id=session.id, self_mute=muted, self_deaf=deafened)

    async def _request_members(self, body: dict[str, Any]) -> None:
        session = self.session
        guild = self._world.guilds.get(str(body["guild_id"]))
        if session is None or guild is None or session.login.user.id not in guild.members:
            return
        asked = body.get("user_ids")
        wanted = {str(each) for each in (asked if isinstance(asked, list) else [asked])} if asked else None
        start = str(body.get("query") or "").lower()
        found = [
            member
            for member in guild.members.values()
            if (member.user_id in wanted if wanted else self._world.users[member.user_id].name.lower().startswith(start))
        ]
        members = [payloads.member(self._world, member) for member in found[: int(body.get("limit") or 0) or None]]
        missing = sorted((wanted or set()) - guild.members.keys())
        chunk = {"guild_id": guild.id, "members": members, "chunk_index": 0, "chunk_count": 1, "not_found": missing, "presences": []}
        session.add("GUILD_MEMBERS_CHUNK", chunk | ({"nonce": body["nonce"]} if body.get("nonce") else {}))

    async def _request_sounds(self, body: dict[str, Any]) -> None:
        for guild_id in body.get("guild_ids", ()):
            if self.session:
                self.session.add("SOUNDBOARD_SOUNDS", {"guild_id": str(guild_id), "soundboard_sounds": []})

    # Sending

    async def _send_events(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for seq, text in self.session.after(self._sent_seq) if self.session else ():
                    self._sent_seq = seq
                    await self._send(text)
        except ConnectionError:
            log.debug("gateway connection lost")

    async def _send(self, message: dict[str, Any] | str) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        async with self._sending:  # the zlib stream belongs to the connection: data must be sent in the order in which it was compressed
            if self._deflate is None:
                await self._socket.send_str(text)
            else:
                await self._socket.send_bytes(self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH))
