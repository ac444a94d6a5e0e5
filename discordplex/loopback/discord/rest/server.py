"""Rest: the REST API on aiohttp: login, limits, faults and JSON around the routes."""

import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web

from discordplex.loopback.discord.rest import channels, guilds, interaction_routes
from discordplex.loopback.discord.rest.api import ApiCall, Route, Table
from discordplex.loopback.discord.rest.errors import ApiError, unauthorized
from discordplex.loopback.discord.rest.interactions import Interactions
from discordplex.loopback.discord.rest.rate_limits import COMMON, WRITES, BucketLimit, RateLimiter, Verdict
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.discord.world.model import User
from discordplex.loopback.discord.world.world import World
from discordplex.loopback.sockets import reset_connection

log = structlog.get_logger()

TOO_MANY = 429

RETRY_AFTER_S = 0.3
"""The wait in an injected 429."""

VERSION = re.compile(r"^/api(?:/v\d+)?")


@dataclass(slots=True)
class RestFaults:
    """Faults on demand, until reset; only for paths that match `only` (a regular expression)."""

    status: int | None = None
    """Answer with this status (500, 502, 503) and do nothing; 429 comes with Discord's headers."""
    times: int | None = None
    """The fault ends after this many calls; None: never."""
    delay_s: float = 0.0
    """Delay of the answer."""
    resets: bool = False
    """Reset the connection instead of answering."""
    told: dict[str, Any] = field(default_factory=dict)
    """Fields of the body of such a 429, replacing or besides the usual ones: `retry_after`, `global`."""
    only: str = ""

    def hit(self, path: str) -> bool:
        """Whether the fault applies to a path. Each time counts."""
        if not (self.status or self.delay_s or self.resets) or self.times == 0 or not re.search(self.only, path):
            return False
        self.times = None if self.times is None else self.times - 1
        return True


class Rest:
    """All routes under /api, with and without a version. `calls` counts requests, `unknown_routes` lists those without a route."""

    def __init__(self, world: World, interactions: Interactions, *, writes: BucketLimit = WRITES) -> None:
        self.faults = RestFaults()
        self.gateway_url = ""
        self.advise: Callable[[], Mapping[str, Any]] = dict
        """Gives what `/gateway/bot` says beside the address."""
        self.calls: Counter[tuple[str, str]] = Counter()
        self.unknown_routes: list[tuple[str, str]] = []
        self.refusals: list[str] = []
        """The buckets that were answered with 429, in order."""
        self._world = world
        self._interactions = interactions
        self._writes = writes
        self._limiter = RateLimiter(world.clock)
        self._table = Table([*channels.table.routes, *guilds.table.routes, *interaction_routes.table.routes])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        path = VERSION.sub("", request.path)
        self.calls[request.method, path] += 1
        if self.faults.hit(path):
            spoiled = await self._spoil(request)
            if spoiled:
                return spoiled
        found = self._table.find(request.method, path)
        if found is None:
            self.unknown_routes.append((request.method, path))
            log.info("unknown route", method=request.method, path=path)
            return _json(404, {"message": "404: Not Found", "code": 0})
        return await self._limited(request, *found)

    async def _limited(self, request: web.Request, route: Route, named: dict[str, str]) -> web.Response:
        caller = self._world.user_of_token(request.headers.get("Authorization", ""))
        if caller is None and route.needs_token:
            return _refuse(unauthorized(), {})
        verdict = self._count(route, named, caller)
        headers = verdict.headers(self._world.unix_now_s())
        if not verdict.allowed:
            self.refusals.append(verdict.bucket)
            return _json(429, verdict.body(), headers)
        try:
            body = await self._body(request)
            call = ApiCall(self._world, self._interactions, caller, named, request.query, body, self.gateway_url, self.advise)
            answer = route.answer(call)
        except ApiError as refusal:
            return _refuse(refusal, headers)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            log.warning("REST body of the wrong shape", method=route.method, route=route.name, cause=type(fault).__name__)
            return _refuse(ApiError(400, 50035, "Invalid Form Body"), headers)
        return web.Response(status=204, headers=headers) if answer is None else _json(200, answer, headers)

    def _count(self, route: Route, named: dict[str, str], caller: User | None) -> Verdict:
        place = named.get("channel") or named.get("guild") or named.get("token") or named.get("application") or ""
        bucket = route.bucket or f"{route.method} {route.name}"
        limit = self._writes if route.bucket else COMMON
        return self._limiter.take((caller.id if caller else "", bucket, place), limit, f"{zlib.crc32(bucket.encode()):08x}")

    async def _body(self, request: web.Request) -> Any:
        if request.content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
            form = await request.post()
            body = json.loads(str(form["payload_json"])) if "payload_json" in form else {}
            uploads = [Upload(field.filename, field.file.read()) for field in form.values() if isinstance(field, web.FileField)]
            if uploads:
                target = body["data"] if isinstance(body.get("data"), dict) else body
                target["attachments"] = [self._world.files.keep(upload) for upload in uploads]
            return body
        data = await request.read()
        return json.loads(data) if data else {}

    async def attachment(self, request: web.Request) -> web.StreamResponse:
        """Send an attached file to any client that knows its URL."""
        found = self._world.files.find(request.match_info["file"])
        return web.Response(body=found.content) if found else web.Response(status=404)

    async def _spoil(self, request: web.Request) -> web.Response | None:
        if self.faults.delay_s:
            await self._world.clock.sleep_until(self._world.clock.now() + self.faults.delay_s)
        if self.faults.resets:
            reset_connection(request.transport)
        elif not self.faults.status:
            return None
        elif self.faults.status == TOO_MANY:
            verdict = Verdict(allowed=False, limit=self._writes, remaining=0, reset_after_s=RETRY_AFTER_S, bucket="injected")
            return _json(TOO_MANY, verdict.body() | self.faults.told, verdict.headers(self._world.unix_now_s()))
        return _json(self.faults.status or 500, {"message": "upstream connect error", "code": 0})


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    # Bytes, not text: py-cord parses a body as JSON only where Content-Type is exactly this, without a charset.
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


def _refuse(refusal: ApiError, headers: dict[str, str]) -> web.Response:
    return _json(refusal.status, refusal.body, headers)
