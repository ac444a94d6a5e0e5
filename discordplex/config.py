"""The settings, as frozen models that are validated once.

`config.example.toml` documents every key; `docs/` says where each value may come from.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """One table of the configuration: frozen, no key but the named ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DiscordConfig(Section):
    """Which Discord, as whom."""

    token: SecretStr | None = None
    api_url: str = "https://discord.com/api/v10"


class BotConfig(Section):
    """When a call exists and where its words go."""

    auto_join: bool = True
    captions: str = "voice"
    """`voice` (the voice channel's own chat), a text channel's id, or `off`."""


class EngineConfig(Section):
    """Which engine answers."""

    kind: Literal["personaplex"] = "personaplex"


class PersonaPlexConfig(Section):
    """The PersonaPlex servers; each carries one call at a time."""

    urls: tuple[str, ...] = ("ws://localhost:8998/api/chat",)
    handshake_timeout_s: float = Field(default=60.0, gt=0)
    verify_tls: bool = True


class PersonaConfig(Section):
    """Who the engine is where nobody chose otherwise."""

    voice: str = "NATF0.pt"
    text_prompt: str = "You are a wise and friendly teacher. Answer questions or provide advice in a clear and engaging way."


class StoreConfig(Section):
    """Where settings live that outlive a restart."""

    url: str = "sqlite+aiosqlite:///discordplex.db"


class Config(Section):
    """All of it."""

    discord: DiscordConfig = DiscordConfig()
    bot: BotConfig = BotConfig()
    engine: EngineConfig = EngineConfig()
    personaplex: PersonaPlexConfig = PersonaPlexConfig()
    persona: PersonaConfig = PersonaConfig()
    store: StoreConfig = StoreConfig()
