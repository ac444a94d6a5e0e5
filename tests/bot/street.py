"""The whole bot on the loopback Discord: real py-cord, real voice wire, real PersonaPlex client, a stand-in engine."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from discordplex.bot.application import BotApplication
from discordplex.bot.chat import poster
from discordplex.clock import SystemClock
from discordplex.config import BotConfig, Config, DiscordConfig, PersonaConfig, PersonaPlexConfig
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, Guild, User
from discordplex.loopback.personaplex.log import HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.store import Store, open_store
from discordplex.voice.rtp.threads import Wire

STOP_WITHIN_S = 5.0
REAL_WRITE_INTERVAL_S = poster.WRITE_INTERVAL_S


@dataclass
class Street:
    """A loopback Discord and an engine, and short names for what is in them."""

    discord: LoopbackDiscord
    engine: StandInServer
    metrics: Metrics = field(default_factory=Metrics)
    store_url: str = "sqlite://"
    store: Store | None = None
    """The one that the bot has, while it runs."""

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

    def texts(self, channel: Channel) -> list[str]:
        """What the bot's messages in a channel say now."""
        return [message.content for message in self.discord.messages(channel) if message.author_id == self.bot.id]

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
    ) -> Config:
        return Config(
            discord=DiscordConfig(token=SecretStr(token or self.bot.token), api_url=api_url or f"{self.discord.api_url}/v10"),
            bot=bot or BotConfig(),
            persona=persona or PersonaConfig(),
            personaplex=PersonaPlexConfig(urls=urls or (self.engine.url,)),
        )

    @asynccontextmanager
    async def bot_running(self, config: Config | None = None) -> AsyncIterator[BotApplication]:
        """The bot between its start and an end that is in time and leaves nothing behind."""
        config = config or self.config()
        clock = SystemClock()
        async with open_store(self.store_url, volatile=True, busy_s=0.2) as self.store:
            with Wire(clock=clock, metrics=self.metrics) as wire:
                provider = PersonaPlexPool(config.personaplex, clock=clock)
                application = BotApplication(
                    config=config, provider=provider, store=self.store, wire=wire, clock=clock, metrics=self.metrics
                )
                running = asyncio.create_task(application.run(), name="bot")
                try:
                    yield application
                finally:
                    application.stop()
                    await asyncio.wait_for(running, STOP_WITHIN_S)
                assert provider.busy == 0
        assert self.where is None
        await self.discord.wait_for(lambda: not self.discord.gateway.online(self.bot.id))
        assert not list(self.discord.gateway.sessions), "a goodbye ends the session; without one Discord waits for us to resume it"
        assert not self.discord.unknown_routes
        assert not self.discord.rest.refusals, self.discord.rest.refusals
        mine = [task.get_name() for task in asyncio.all_tasks() if "pycord" in task.get_name() or "bot" in task.get_name()]
        assert mine == []
