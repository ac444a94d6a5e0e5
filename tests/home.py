"""The whole bot at home on the loopback Discord: real py-cord, the real voice connection, a real engine client, a stand-in engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from discordplex.app import ears_provider, engine_provider, summarizer
from discordplex.bot.application import BotApplication
from discordplex.bot.chat import poster
from discordplex.clock import SystemClock
from discordplex.config import (
    BotConfig,
    CascadeConfig,
    Config,
    DiscordConfig,
    EngineConfig,
    HearingConfig,
    PersonaConfig,
    PersonaPlexConfig,
    RealtimeConfig,
)
from discordplex.engine import EngineProvider
from discordplex.engine_choice import EngineChoice
from discordplex.loopback import timeouts
from discordplex.loopback.discord.gateway.dispatches import ALL_INTENTS, guild_create
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, ChatMessage, Guild, User
from discordplex.loopback.personaplex.log import HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.store import Store, open_store
from discordplex.voice.rtp.threads import SendThread

STOP_WITHIN_S = 5.0
REAL_WRITE_INTERVAL_S = poster.WRITE_INTERVAL_S


@dataclass
class Home:
    """A loopback Discord and an engine, and short names for what is in them. `bot_running` adds the bot."""

    discord: LoopbackDiscord
    engines: tuple[StandInServer, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    store_url: str = "sqlite://"
    store: Store | None = None
    """The one that the bot has, while it runs."""
    task: "asyncio.Task[None] | None" = None
    """The bot, from its first start on."""

    @property
    def engine(self) -> StandInServer:
        return self.engines[0]

    @property
    def bot(self) -> User:
        return self.discord.bots[0]

    @property
    def guild(self) -> Guild:
        return self.discord.guilds[0]

    @property
    def lounge(self) -> Channel:
        return self.guild.voice_channels[0]

    @property
    def study(self) -> Channel:
        return self.guild.voice_channels[1]

    @property
    def ada(self) -> User:
        return self.discord.people[0]

    @property
    def ben(self) -> User:
        return self.discord.people[1]

    def messages(self, channel: Channel) -> list[ChatMessage]:
        """The bot's messages in a channel."""
        return [message for message in self.discord.messages(channel) if message.author_id == self.bot.id]

    def texts(self, channel: Channel) -> list[str]:
        """What the bot's messages in a channel say now."""
        return [message.content for message in self.messages(channel)]

    async def says(self, channel: Channel, part: str, timeout_s: float = 10.0) -> str:
        """Wait until a message of the bot in a channel contains `part`."""
        return await self.discord.wait_for(lambda: next((text for text in self.texts(channel) if part in text), ""), timeout_s=timeout_s)

    async def sits_in(self, channel: Channel | None, timeout_s: float = 10.0) -> None:
        """Wait until the bot is in this voice channel, or in none."""
        wanted = channel.id if channel else None
        await self.discord.wait_for(lambda: self.where == wanted, timeout_s=timeout_s)

    @property
    def where(self) -> str | None:
        """The bot's voice channel."""
        state = self.discord.voice_state(self.bot)
        return state.channel_id if state else None

    def tell(self, name: str, payload: dict[str, Any]) -> None:
        """Send the bot an event of which the loopback knows nothing."""
        (session,) = (one for one in self.discord.gateway.sessions if one.login.user is self.bot)
        session.add(name, payload)

    def guild_event(self) -> dict[str, Any]:
        """What Discord tells of the first guild when it is there."""
        return guild_create(self.discord.world, self.guild, user_id=self.bot.id, intents=ALL_INTENTS)

    async def commands_there(self) -> None:
        """Wait until the bot has registered its commands."""
        await self.discord.wait_for(lambda: self.discord.world.commands.get((self.bot.id, None)))

    async def press(
        self, name: str, options: Mapping[str, Any] | None = None, *, person: User | None = None, place: Guild | Channel | None = None
    ) -> Interaction:
        """Let a person (Ada) use a slash command somewhere (in the first guild)."""
        await self.commands_there()
        return await self.discord.press_slash(person or self.ada, place or self.guild, name, options)

    async def listens(self, conversations: int = 1) -> None:
        """Wait until so many conversations were opened with the engine."""
        await self.engine.log.wait_for(lambda log: len(log.of(HandshakeSent)) >= conversations)

    def config(
        self,
        *,
        token: str | None = None,
        urls: tuple[str, ...] = (),
        api_url: str | None = None,
        bot: BotConfig | None = None,
        persona: PersonaConfig | None = None,
        handshake_timeout_s: float = 60.0,
        memory_s: float = 240.0,
        cascade: CascadeConfig | None = None,
        realtime: RealtimeConfig | None = None,
        engine: EngineConfig | None = None,
        transcribed_at: CascadeConfig | None = None,
    ) -> Config:
        """Settings of a bot that finds this Discord and these engines, or the cascade's servers.

        With `transcribed_at`, ears that use the transcription of these settings are beside the engine.
        """
        urls = urls or tuple(engine.url for engine in self.engines) or ("ws://127.0.0.1:9",)
        return Config(
            discord=DiscordConfig(token=SecretStr(token or self.bot.token), api_url=api_url or f"{self.discord.api_url}/v10"),
            bot=bot or BotConfig(),
            persona=persona or PersonaConfig(),
            engine=engine or EngineConfig(kind="cascade" if cascade else "realtime" if realtime else "personaplex"),
            personaplex=PersonaPlexConfig(urls=urls, handshake_timeout_s=handshake_timeout_s, memory_s=memory_s),
            cascade=cascade or transcribed_at or CascadeConfig(),
            hearing=HearingConfig(enabled=transcribed_at is not None),
            realtime=realtime or RealtimeConfig(),
        )

    @asynccontextmanager
    async def bot_running(self, config: Config | None = None) -> AsyncIterator[BotApplication]:
        """The bot between its start and an end that is in time and leaves nothing behind."""
        config = config or self.config()
        clock = SystemClock()
        async with open_store(self.store_url, volatile=True, busy_s=0.2) as self.store:
            with SendThread(clock=clock, metrics=self.metrics) as send_thread:
                provider = engine_provider(config, clock)
                application = BotApplication(
                    config=config,
                    provider=provider,
                    store=self.store,
                    send_thread=send_thread,
                    clock=clock,
                    metrics=self.metrics,
                    ears=ears_provider(config, clock),
                    summarizer=summarizer(config, clock),
                )
                self.task = asyncio.create_task(application.run(), name="bot")
                try:
                    yield application
                finally:
                    application.stop()
                    await timeouts.wait_for(self.task, STOP_WITHIN_S)
                assert all(pool.busy == 0 for pool in pools(provider))
        assert self.where is None
        await self.discord.wait_for(lambda: not self.discord.gateway.online(self.bot.id))
        sessions = [session for session in self.discord.gateway.sessions if session.login.user is self.bot]
        assert not sessions, "a goodbye ends the session; without one Discord waits for us to resume it"
        assert not self.discord.unknown_routes
        assert not self.discord.rest.refusals, self.discord.rest.refusals
        mine = [task.get_name() for task in asyncio.all_tasks() if "pycord" in task.get_name() or "bot" in task.get_name()]
        assert mine == []


def pools(provider: EngineProvider) -> list[PersonaPlexPool]:
    """The PersonaPlex servers of a provider, also of one of several kinds."""
    providers = [option.provider for option in provider._options] if isinstance(provider, EngineChoice) else [provider]
    return [one for one in providers if isinstance(one, PersonaPlexPool)]


@asynccontextmanager
async def home_with(
    *engines: StandInServer,
    monkeypatch: pytest.MonkeyPatch,
    discord: LoopbackDiscord | None = None,
    prepare: Callable[[LoopbackDiscord], None] = lambda _: None,
    **settings: Any,
) -> AsyncIterator[Home]:
    """A home in which the bot runs, with the given settings (see `Home.config`)."""
    async with discord or LoopbackDiscord() as world:
        prepare(world)
        monkeypatch.setenv("SSL_CERT_FILE", str(world.ca_file))
        home = Home(world, engines)
        async with home.bot_running(home.config(**settings)):
            yield home
