"""A whole house for a test: the loopback Discord, a stand-in engine, and the real bot between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from discordplex.audio.format import ENGINE
from discordplex.bot.application import BotApplication
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.clock import SystemClock
from discordplex.config import BotConfig, Config, DiscordConfig, PersonaConfig, PersonaPlexConfig
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.world.model import Channel, ChatMessage, User
from discordplex.loopback.discord.world.world import World
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.store import open_store
from discordplex.voice.rtp.threads import Wire

CLIP = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"


@dataclass
class House:
    """The pieces that a test looks at."""

    discord: LoopbackDiscord
    application: BotApplication
    metrics: Metrics
    bot: User
    task: "asyncio.Task[None]"

    @property
    def preferences(self) -> StoredPreferences:
        """What the bot knows of settings and people."""
        return self.application._parts.preferences

    def channel(self, index: int = 0, guild: int = 0) -> Channel:
        """A voice channel of the loopback."""
        found = [channel for channel in self.discord.guilds[guild].channels.values() if channel.is_voice]
        return found[index]

    def texts(self, channel: Channel) -> list[str]:
        """What the bot wrote into a channel, as it reads now."""
        return [message.content for message in self.messages(channel)]

    def messages(self, channel: Channel) -> list[ChatMessage]:
        """The bot's messages in a channel."""
        return [message for message in self.discord.messages(channel) if message.author_id == self.bot.id]

    async def says(self, channel: Channel, words: str, *, timeout_s: float = 10.0) -> str:
        """Wait for a message that contains `words`."""
        return (
            await self.discord.wait_for(lambda: next((text for text in self.texts(channel) if words in text), None), timeout_s=timeout_s)
            or ""
        )

    async def bot_in(self, channel: Channel | None, *, timeout_s: float = 10.0) -> None:
        """Wait until the bot sits in `channel`, or in none."""

        def there() -> bool:
            state = self.discord.voice_state(self.bot)
            return (state.channel_id if state else None) == (channel.id if channel else None)

        await self.discord.wait_for(there, timeout_s=timeout_s)


@asynccontextmanager
async def house(
    *engines: StandInServer,
    monkeypatch: pytest.MonkeyPatch,
    impairments: Impairments | None = None,
    urls: tuple[str, ...] | None = None,
    prepare: Callable[[LoopbackDiscord], None] = lambda _: None,
    persona: PersonaConfig | None = None,
    handshake_timeout_s: float = 60.0,
    bot: BotConfig | None = None,
    voice: Callable[[World], VoiceGatewayServer] | None = None,
) -> AsyncIterator[House]:
    """The loopback Discord and the bot, already logged in."""
    async with LoopbackDiscord(impairments=impairments, voice=voice) as discord:
        prepare(discord)
        monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
        user = discord.bots[0]
        config = Config(
            discord=DiscordConfig(token=SecretStr(user.token), api_url=discord.api_url + "/v10"),
            bot=bot or BotConfig(),
            persona=persona or PersonaConfig(),
            personaplex=PersonaPlexConfig(urls=urls or tuple(engine.url for engine in engines), handshake_timeout_s=handshake_timeout_s),
        )
        clock, metrics = SystemClock(), Metrics()
        async with open_store("sqlite://") as store:
            with Wire(clock=clock, metrics=metrics) as wire:
                provider = PersonaPlexPool(config.personaplex, clock=clock)
                application = BotApplication(config=config, provider=provider, store=store, wire=wire, clock=clock, metrics=metrics)
                task = asyncio.create_task(application.run(), name="application")
                try:
                    yield House(discord, application, metrics, user, task)
                finally:
                    application.stop()
                    await task


def samples(pcm: bytes) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """ENGINE PCM as floats."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)


def lag_samples(heard: bytes, said: bytes) -> int:
    """By how many samples `heard` comes after `said`, by their cross-correlation."""
    first, second = samples(heard), samples(said)
    size = 1 << (len(first) + len(second) - 1).bit_length()
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    found = int(np.argmax(np.fft.irfft(spectrum, size)))
    return found - size if found > size // 2 else found


def level_db(pcm: bytes) -> float:
    """RMS of the samples above the noise floor, in dB of full scale."""
    loud = samples(pcm)
    loud = loud[np.abs(loud) > 50]
    return float(20 * np.log10(np.sqrt(np.mean(loud**2)) / 32768)) if len(loud) else -120.0


SECOND = ENGINE.rate_hz
