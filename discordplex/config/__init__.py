"""The settings: their models, where they come from, what a valid value is.

Start with `settings.py`; `sources.py` reads the environment and files, `values.py` defines the types of values. Others import the models
from here; the command line, `doctor` and `demo` also use `settings` and `sources`.
"""

from discordplex.config.settings import (
    BotConfig,
    CascadeConfig,
    ClusterConfig,
    Config,
    DiscordConfig,
    EngineConfig,
    HearingConfig,
    LimitsConfig,
    MonitoringConfig,
    PersonaConfig,
    PersonaPlexConfig,
    RealtimeConfig,
    ServiceConfig,
)

__all__ = [
    "BotConfig",
    "CascadeConfig",
    "ClusterConfig",
    "Config",
    "DiscordConfig",
    "EngineConfig",
    "HearingConfig",
    "LimitsConfig",
    "MonitoringConfig",
    "PersonaConfig",
    "PersonaPlexConfig",
    "RealtimeConfig",
    "ServiceConfig",
]
