"""GatewaySession: one login's stream of numbered events, which a connection sends and a later one may replay. Pure."""

import itertools
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from discordplex.loopback.discord.gateway.dispatches import MESSAGE_CONTENT, Dispatch
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import Guild, User

BACKLOG_EVENTS = 2000
"""Newest events kept for a resume; who asks for an older one must identify again (op 9), as with Discord."""


@dataclass(frozen=True, slots=True)
class Login:
    """What an identify said, checked."""

    user: User
    intents: int
    shard: tuple[int, int] = (0, 1)

    def covers(self, guild_id: str) -> bool:
        """Whether this shard is the one that serves a guild (documented: `(guild_id >> 22) % shards`)."""
        return (int(guild_id) >> 22) % self.shard[1] == self.shard[0]


class GatewaySession:
    """Events since the login, numbered from 1. `on_event` is called after each; who sends keeps count by `after(seq)`."""

    def __init__(self, session_id: str, login: Login) -> None:
        self.id = session_id
        self.login = login
        self.seq = 0
        self.on_event: Callable[[], None] = lambda: None
        self._backlog: deque[tuple[int, str]] = deque(maxlen=BACKLOG_EVENTS)

    def add(self, name: str, payload: dict[str, Any]) -> None:
        """Number one event and keep it."""
        self.seq += 1
        self._backlog.append((self.seq, json.dumps({"op": 0, "s": self.seq, "t": name, "d": payload})))
        self.on_event()

    def offer(self, dispatch: Dispatch, guild: Guild | None) -> None:
        """Keep an event if this login may see it, without what it may not read."""
        login = self.login
        if dispatch.session_id not in (None, self.id) or dispatch.intent & ~login.intents:
            return
        if dispatch.viewers is not None and login.user.id not in dispatch.viewers:
            return
        if guild and (login.user.id not in guild.members or not login.covers(guild.id)):
            return
        payload = dispatch.payload
        if dispatch.blind and not login.intents & MESSAGE_CONTENT and not payloads.may_read(payload, login.user.id):
            payload = payload | dispatch.blind
        self.add(dispatch.name, payload)

    def after(self, seq: int) -> list[tuple[int, str]]:
        """The kept events with a higher number, as (number, JSON)."""
        skipped = len(self._backlog) - min(len(self._backlog), self.seq - seq)
        return list(itertools.islice(self._backlog, skipped, None))

    def can_replay(self, seq: int) -> bool:
        """Whether everything after `seq` is still there."""
        return 0 <= self.seq - seq <= len(self._backlog)
