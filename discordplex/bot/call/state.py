"""CallState: the state of one call. The call changes it; its parts read it."""

from collections.abc import Callable
from dataclasses import dataclass

from discordplex.bot.chat.channel import VoiceChannel
from discordplex.engine import Persona

NOBODY_KNOWN = 0
"""A speaker who is unknown or may not be named. No Discord user has this id."""


@dataclass(eq=False)
class CallState:
    """The state of one call. Only `Call` changes it, except `keeps_persona`, which its conversation sets. Thread: loop."""

    number: int
    """Unique for each call of a login; it identifies the messages of the call."""
    voice_channel: VoiceChannel
    """The voice channel. It changes when the call moves or the guild's rules change."""
    engine: str
    """The name of the engine that people read. No address."""
    transcribes: bool
    """Whether the engine writes down what people say."""
    persona: Persona
    """The requested persona."""
    persona_on: Callable[[Persona], Persona] = lambda persona: persona
    """What the present engine makes of a persona."""
    ears: str = ""
    """Who transcribes what people say where the engine does not, as people read it; empty: nobody."""
    recap_model: str = ""
    """Who sums up the call for the engine's next conversation, as people read it; empty: nobody."""
    summarizer: str = ""
    """Who sums up the call for its notes, as people read it; empty: nobody."""
    asker: int | None = None
    """The person the bot came for, whose persona it uses; None if unknown."""
    keeps_persona: bool = False
    """Whether the engine always keeps its own voice and role."""
    paused: bool = False
    """Whether the call is paused: it hears nobody and says nothing."""

    @property
    def present_persona(self) -> Persona:
        """The persona that people talk with: the requested one, as the present engine has it."""
        return self.persona_on(self.persona)
