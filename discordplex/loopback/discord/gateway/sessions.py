"""Sessions: each login's numbered events, which a connection sends and a later one may replay."""

import asyncio
import itertools
import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from discordplex.loopback.discord.gateway import dispatches
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import Fact, Guild, User
from discordplex.loopback.discord.world.world import World

BACKLOG_EVENTS = 2000
"""Newest events kept for a resume; a client that asks for an older one must identify again (op 9), as with Discord."""

RESUME_WINDOW_S = 60.0
"""How long a lost connection's session can be resumed; its user stays in voice as long. Discord's own time is not documented."""

IDENTIFY_S = 5.0
"""The time in which `max_concurrency` shards may log in (documented)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The checked contents of an identify."""

    user: User
    intents: int
    shard: tuple[int, int] = (0, 1)

    def covers(self, guild_id: str) -> bool:
        """Whether this shard serves a guild (documented: `(guild_id >> 22) % shards`)."""
        return (int(guild_id) >> 22) % self.shard[1] == self.shard[0]


class GatewaySession:
    """Events since the login, numbered from 1. `on_event` is called after each; the sender reads them with `after(seq)`."""

    def __init__(self, session_id: str, login: Identity) -> None:
        self.id = session_id
        self.login = login
        self.seq = 0
        self.on_event: Callable[[], None] = lambda: None
        self._backlog: deque[tuple[int, str]] = deque(maxlen=BACKLOG_EVENTS)

    def add(self, name: str, payload: dict[str, Any]) -> None:
        """Number an event and keep it."""
        self.seq += 1
        self._backlog.append((self.seq, json.dumps({"op": 0, "s": self.seq, "t": name, "d": payload})))
        self.on_event()

    def offer(self, dispatch: dispatches.Dispatch, guild: Guild | None) -> None:
        """Keep an event if this login may see it, without what it may not read."""
        login = self.login
        if dispatch.session_id not in (None, self.id) or dispatch.intent & ~login.intents:
            return
        if dispatch.viewers is not None and login.user.id not in dispatch.viewers:
            return
        if guild and (login.user.id not in guild.members or not login.covers(guild.id)):
            return
        payload = dispatch.payload
        if dispatch.blind and not login.intents & dispatches.MESSAGE_CONTENT and not payloads.may_read(payload, login.user.id):
            payload = payload | dispatch.blind
        self.add(dispatch.name, payload)

    def after(self, seq: int) -> list[tuple[int, str]]:
        """The kept events with a higher number, as (number, JSON)."""
        skipped = len(self._backlog) - min(len(self._backlog), self.seq - seq)
        return list(itertools.islice(self._backlog, skipped, None))

    def can_replay(self, seq: int) -> bool:
        """Whether everything after `seq` is still kept."""
        return 0 <= self.seq - seq <= len(self._backlog)


class Sessions:
    """The sessions of all logins. `url` is where they are told to resume."""

    def __init__(self, world: World, *, heartbeat_ms: int, privileged_intents: bool, shards: int, max_concurrency: int) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.privileged_intents = privileged_intents
        self.shards = shards
        self.required_shards = 1
        """With fewer shards a login is refused (4011), as where one would serve too many guilds."""
        self.max_concurrency = max_concurrency
        self.logins: list[tuple[int, int]] = []
        """The shard of every login that was let in, in order."""
        self.url = ""
        self._world = world
        self._sessions: dict[str, GatewaySession] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._identified_at: dict[tuple[str, int], float] = {}

    def advice(self) -> dict[str, Any]:
        """What `/gateway/bot` says beside the address (documented)."""
        limit = {"total": 1000, "remaining": max(0, 1000 - len(self.logins)), "reset_after": 86_400_000}
        return {"shards": self.shards, "session_start_limit": limit | {"max_concurrency": self.max_concurrency}}

    def may_log_in(self, login: Identity) -> bool:
        """Whether this identify comes late enough after the last one of its group (documented); counts it.

        A group is the shards with the same remainder by `max_concurrency`. One unsharded connection is never too early: the many logins of
        a test would wait for nothing.
        """
        if login.shard[1] == 1:
            return True
        group, now = (login.user.id, login.shard[0] % self.max_concurrency), self._world.clock.now()
        early = now - self._identified_at.get(group, float("-inf")) < IDENTIFY_S
        if not early:
            self._identified_at[group] = now
        return not early

    def __iter__(self) -> Iterator[GatewaySession]:
        return iter(list(self._sessions.values()))

    def get(self, session_id: str) -> GatewaySession | None:
        """The session with this id, if it can still be resumed."""
        return self._sessions.get(session_id)

    def log_in(self, login: Identity, asked_shard: list[int] | None) -> GatewaySession:
        """A new session with READY and every guild in it."""
        self.logins.append(login.shard)
        session = GatewaySession(secrets.token_hex(16), login)
        self._sessions[session.id] = session
        guilds = [guild for guild in self._world.guilds_of(login.user.id) if login.covers(guild.id)]
        session.add(
            "READY",
            dispatches.ready(self._world, login.user, session_id=session.id, resume_url=self.url, guilds=guilds, shard=asked_shard),
        )
        for guild in guilds if login.intents & dispatches.GUILDS else ():
            session.add("GUILD_CREATE", dispatches.guild_create(self._world, guild, user_id=login.user.id, intents=login.intents))
        return session

    def keep_from_expiring(self, session: GatewaySession) -> None:
        """Stop a resumed session from expiring."""
        handle = self._expiries.pop(session.id, None)
        if handle:
            handle.cancel()

    def end(self, session: GatewaySession) -> None:
        """Drop a session; its user leaves the voice channels that it had joined."""
        self._sessions.pop(session.id, None)
        self.keep_from_expiring(session)
        for (guild_id, user_id), state in list(self._world.voice_states.items()):
            if state.session_id == session.id:
                self._world.voice_leave(user_id, guild_id)

    def end_all(self, shard: int | None = None) -> None:
        """Make every session impossible to resume, or those of one shard."""
        for session in self:
            if shard is None or session.login.shard[0] == shard:
                self.end(session)

    def connection_ended(self, session: GatewaySession, wake: Callable[[], None], *, ended: bool) -> None:
        """The connection of `wake` no longer serves this session; unless its client ended it, the session can be resumed."""
        if session.id not in self._sessions or session.on_event != wake:
            return
        session.on_event = lambda: None
        if ended:
            self.end(session)
        else:
            self._expiries[session.id] = asyncio.get_running_loop().call_later(RESUME_WINDOW_S, self.end, session)

    def offer(self, fact: Fact) -> None:
        """Give every session the events that this fact has for it."""
        for dispatch in dispatches.dispatches(fact, self._world):
            guild = self._world.guilds[dispatch.guild_id] if dispatch.guild_id else None
            for session in self:
                session.offer(dispatch, guild)

    def close(self) -> None:
        """Stop all expiry timers."""
        for handle in self._expiries.values():
            handle.cancel()
        self._expiries.clear()
