"""What every call of a bot shares."""

from collections.abc import Callable
from dataclasses import dataclass

import discord

from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.outcome import AnyCall
from discordplex.bot.rules import Preferences
from discordplex.bridge.events import Caption
from discordplex.clock import Clock
from discordplex.engine import Persona
from discordplex.metrics import Metrics
from discordplex.voice.wire import Wire


@dataclass(frozen=True, slots=True)
class CallContext:
    """Where a call gets everything that is not its own."""

    notices: Noticeboard
    preferences: Preferences
    persona: Persona
    """Who the engine is until it is known whom the people of a call prefer."""
    wire: Wire
    clock: Clock
    metrics: Metrics
    on_caption: Callable[[AnyCall, Caption], None] = lambda _call, _caption: None
    """Hears of every caption that may be kept."""
    on_pause: Callable[[AnyCall], None] = lambda _call: None
    """Hears that nobody is to be heard any more: what people said and is not saved yet is not saved."""
    panel: Callable[[], discord.ui.View] | None = None
    """Makes the buttons below a call's greeting."""
    engine_name: str = ""
    """Where people's voices go, as they are told; empty: by the kind of the engine."""
