"""CallState: what one call is. The call decides it; what it is made of reads it here."""

from dataclasses import dataclass

from discordplex.bot.chat.channel import VoiceChannel
from discordplex.engine import Persona

NOBODY_KNOWN = 0
"""A speaker who cannot be told apart from others, or may not be named. No Discord user has this id."""


@dataclass(eq=False)
class CallState:
    """One call's facts. Only `Call` changes them; `keeps_persona` its conversation. Thread: loop."""

    number: int
    """Differs for each call of a login; its messages are known by it."""
    voice_channel: VoiceChannel
    """Where it is. It changes when the call moves, and when the rules of the guild change."""
    engine: str
    """Where people's voices go, as people are told. No address."""
    transcribes: bool
    """Whether the engine writes down what people say."""
    persona: Persona
    """Who the engine is asked to be."""
    asker: int | None = None
    """For whom the bot came, and whose persona it has; None for nobody in particular."""
    keeps_persona: bool = False
    """The engine has a voice and a role of its own, whatever was asked for."""
    paused: bool = False
    """Nobody is heard and nothing is said, until somebody lets it go on."""
