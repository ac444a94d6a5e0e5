"""The settings: their models, where they come from, what a valid value is.

Start at `settings.py`; `sources.py` reads the environment and files, `values.py` says what a value must be. Others import the models
from here.
"""

from discordplex.config.settings import (
    BotConfig,
    CascadeConfig,
    Config,
    DiscordConfig,
    EngineConfig,
    PersonaConfig,
    PersonaPlexConfig,
    ServiceConfig,
)

__all__ = ["BotConfig", "CascadeConfig", "Config", "DiscordConfig", "EngineConfig", "PersonaConfig", "PersonaPlexConfig", "ServiceConfig"]
