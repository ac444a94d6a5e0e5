"""The base of the REST API: a call, its answer, Discord's errors, and the table of routes. Pure; `server.py` does the IO."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from discordplex.loopback.discord.rest.errors import ApiError, missing_access, missing_permissions, unauthorized, unknown
from discordplex.loopback.discord.rest.interactions import Interactions
from discordplex.loopback.discord.world.model import Channel, ChatMessage, Guild, User
from discordplex.loopback.discord.world.world import World


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request: the caller, the names in the path, the body."""

    world: World
    interactions: Interactions
    caller: User | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    gateway_url: str
    advise: Callable[[], Mapping[str, Any]]
    """Gives what `/gateway/bot` says beside the address."""

    @property
    def user(self) -> User:
        """The caller; raises the 401 where nobody is logged in."""
        if self.caller is None:
            raise unauthorized()
        return self.caller

    def guild(self) -> Guild:
        """The guild of the path, if the user is in it."""
        guild = self.world.guilds.get(self.path["guild"])
        if guild is None:
            raise unknown("Guild", 10004)
        if self.user.id not in guild.members:
            raise missing_access()
        return guild

    def channel(self) -> Channel:
        """The channel of the path, if the user may see it."""
        channel = self.world.channel(self.path["channel"])
        if channel is None:
            raise unknown("Channel", 10003)
        if not self.world.may(self.user.id, channel, "view_channel"):
            raise missing_access()
        return channel

    def open_channel(self) -> Channel:
        """The channel of the path, if the user may read it.

        The chat of a voice channel also needs the permission to connect: without it Discord answers Missing Access (discord-api-docs
        #5111).
        """
        channel = self.channel()
        if channel.is_voice and not self.world.may(self.user.id, channel, "connect"):
            raise missing_access()
        return channel

    def need(self, channel: Channel, permission: str) -> None:
        """Raise Missing Permissions unless the user has this permission in a channel."""
        if not self.world.may(self.user.id, channel, permission):
            raise missing_permissions()

    def message(self) -> ChatMessage:
        """The message of the path in the channel of the path."""
        found = self.world.chat.find(self.open_channel().id, self.path["message"])
        if found is None:
            raise unknown("ChatMessage", 10008)
        return found

    def application_id(self) -> str:
        """The application of the path, which must be the caller's own."""
        if self.path["application"] != self.user.id:
            raise ApiError(403, 20012, "You are not authorized to perform this action on this application")
        return self.user.id


Answer = Any
"""What a route returns: JSON for 200, None for 204."""


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table: method and path pattern, and the function that answers."""

    method: str
    pattern: re.Pattern[str]
    name: str
    answer: Callable[[ApiCall], Answer]
    needs_token: bool
    bucket: str | None
    """Routes with the same bucket share a limit per channel; None has only the common, high limit."""


@dataclass(slots=True)
class Table:
    """Routes in order; the first that matches answers."""

    routes: list[Route] = field(default_factory=list)

    def route(
        self, method: str, path: str, *, needs_token: bool = True, bucket: str | None = None
    ) -> Callable[[Callable[[ApiCall], Answer]], Callable[[ApiCall], Answer]]:
        """Decorate the function that answers `method` on `path`; `{name}` in the path takes one segment."""

        def keep(answer: Callable[[ApiCall], Answer]) -> Callable[[ApiCall], Answer]:
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$")
            self.routes.append(Route(method, pattern, path, answer, needs_token, bucket))
            return answer

        return keep

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The matching route of a request, and the names in its path."""
        for route in self.routes:
            found = route.pattern.match(path) if route.method == method else None
            if found:
                return route, found.groupdict()
        return None
