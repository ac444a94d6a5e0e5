"""LoopbackDiscord: REST API, gateway and voice gateway on one TLS port of this machine."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web
from typing_extensions import Self

from discordplex.clock import Clock, SystemClock
from discordplex.descriptors import says_no_descriptors
from discordplex.errors import ConfigError
from discordplex.loopback.discord.acts import Acts
from discordplex.loopback.discord.certificate import CA_FILE, server_context
from discordplex.loopback.discord.gateway.gateway import Gateway
from discordplex.loopback.discord.rest.interactions import ANSWER_WITHIN_S, Interactions
from discordplex.loopback.discord.rest.rate_limits import WRITES, BucketLimit
from discordplex.loopback.discord.rest.server import Rest, RestFaults
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.world.model import Guild, User
from discordplex.loopback.discord.world.population import populate
from discordplex.loopback.discord.world.world import World
from discordplex.loopback.sockets import listen

GATEWAY_VERSIONS = ("9", "10")
"""Distinguishes the main gateway from the voice gateway (up to 8) where both are requested at `/`."""


class LoopbackDiscord(Acts):
    """A whole Discord, running for the length of an `async with` block.

    Two guilds, four bots and four people exist from the start, with the same ids and tokens each time (`ready()` lists them). `world` is
    its state, `interactions` what was asked of applications; `rest`, `gateway` and `voice` are its servers, each with faults.
    """

    def __init__(
        self,
        port: int = 0,
        dir: Path | None = None,  # noqa: A002  the command line's word for it
        *,
        clock: Clock | None = None,
        voice: Callable[[World], VoiceGatewayServer] | None = None,
        impairments: Impairments | None = None,
        dave: bool = True,
        require_dave: bool = False,
        privileged_intents: bool = True,
        answer_within_s: float = ANSWER_WITHIN_S,
        writes: BucketLimit = WRITES,
        shards: int = 1,
        max_concurrency: int = 1,
    ) -> None:
        """Set up, not yet listening.

        Args:
            port: TCP port on 127.0.0.1; 0 uses a free one.
            dir: where ca.pem is written, or found from an earlier run; None uses a temporary directory.
            clock: for rate limits, message times and interactions.
            voice: makes the voice gateway, where it needs options of its own.
            impairments: network faults of every voice stream, where `voice` is not given.
            dave: whether calls are encrypted end to end, as on Discord, where `voice` is not given.
            require_dave: whether a client that cannot encrypt is refused (4017), as on Discord; else a call with one is not encrypted.
            privileged_intents: whether the applications are allowed the privileged intents; without, asking for one closes with 4014.
            answer_within_s: how long an application has for its first answer to an interaction.
            writes: how many messages may be written or edited per channel.
            shards: how many gateway connections `/gateway/bot` recommends for a bot.
            max_concurrency: how many of them may log in within five seconds.
        """
        world = World(clock or SystemClock())
        populate(world)
        super().__init__(world, Interactions(world, answer_within_s=answer_within_s))
        self.rest = Rest(self.world, self.interactions, writes=writes)
        self.gateway = Gateway(self.world, privileged_intents=privileged_intents, shards=shards, max_concurrency=max_concurrency)
        self.rest.advise = self.gateway.sessions.advice
        gateway = functools.partial(VoiceGatewayServer, impairments=impairments, dave=dave, require_dave=dave and require_dave)
        self.voice = (voice or gateway)(self.world)
        self.port = port
        self._directory = dir
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            if self._directory is None:
                self._directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="discordplex-loopback-")))
            runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            exits.push_async_callback(runner.cleanup)
            # Both end before the runner's cleanup, which would wait for their connections.
            await exits.enter_async_context(self.voice)
            exits.push_async_callback(self.gateway.close)
            await self._listen(runner, self._directory)
            self.rest.gateway_url = self.gateway.sessions.url = f"wss://127.0.0.1:{self.port}"
            self.world.voice_endpoint = self.world.files.endpoint = f"127.0.0.1:{self.port}"
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self._exits.__aexit__(kind, fault, trace)

    async def _listen(self, runner: web.AppRunner, directory: Path) -> None:
        try:
            _, self.port = await listen(runner, "127.0.0.1", self.port, server_context(directory))
        except OSError as fault:
            if says_no_descriptors(fault):  # no other port helps
                raise
            raise ConfigError(f"Port {self.port} of 127.0.0.1 cannot be opened: {fault.strerror}. Choose another one, or 0.") from fault

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/api/{path:.*}", self.rest.answer)
        application.router.add_get("/attachments/{file}/{name}", self.rest.attachment)
        for path in ("/gateway", "/gateway/"):
            application.router.add_get(path, self.gateway.accept)
        application.router.add_get("/", self._accept)
        return application

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("v") in GATEWAY_VERSIONS:
            return await self.gateway.accept(request)
        return await self.voice.handle(request)

    # State

    @property
    def api_url(self) -> str:
        """The REST API's URL, without a version."""
        return f"https://127.0.0.1:{self.port}/api"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients must trust."""
        if self._directory is None:
            raise RuntimeError("the loopback is not open")
        return self._directory / CA_FILE

    @property
    def guilds(self) -> list[Guild]:
        """The guilds."""
        return list(self.world.guilds.values())

    @property
    def users(self) -> list[User]:
        """All users."""
        return list(self.world.users.values())

    @property
    def bots(self) -> list[User]:
        """The applications' users."""
        return [user for user in self.users if user.bot]

    @property
    def people(self) -> list[User]:
        """The users who are no applications."""
        return [user for user in self.users if not user.bot]

    @property
    def faults(self) -> RestFaults:
        """The faults of the REST API."""
        return self.rest.faults

    @property
    def unknown_routes(self) -> list[tuple[str, str]]:
        """Method and path of every REST call that no route answers."""
        return self.rest.unknown_routes

    def ready(self) -> dict[str, Any]:
        """Everything that a client needs in order to log in, as in ready.json."""
        guilds = [
            {
                "id": guild.id,
                "name": guild.name,
                "text_channel_id": guild.text_channel.id,
                "voice_channel_ids": [channel.id for channel in guild.voice_channels],
            }
            for guild in self.guilds
        ]
        users = [{"id": user.id, "name": user.name, "bot": user.bot, "token": user.token} for user in self.users]
        return {"api_url": self.api_url, "guilds": guilds, "users": users}
