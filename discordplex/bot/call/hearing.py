"""CallHearing: whom a call hears. People who opted out, and other bots, are dropped before any packet of theirs is opened."""

from collections.abc import Iterable
from typing import Protocol

from discordplex.audio.ducking import Ducking
from discordplex.audio.sink import Sink
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.guild_rules import Preferences
from discordplex.bridge.gated_sink import GatedSink
from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.voice.rtp.receiver import EVERYBODY


class HeardLink(Protocol):
    """What it needs of a `voice.connection.VoiceConnection`."""

    @property
    def people(self) -> frozenset[int]:
        """Everybody in the call but ourselves."""
        ...

    def ignore(self, user_ids: Iterable[int]) -> None:
        """Drop these people, and nobody else, before anything of theirs is opened."""
        ...

    def deafen(self, *, deaf: bool) -> None:
        """Drop everybody, for a while."""
        ...


class CallHearing:
    """One call's sink, the noise gate behind it, and the rule by which the voice connection drops people. Thread: loop."""

    def __init__(self, *, preferences: Preferences, clock: Clock, metrics: Metrics, ducking: Ducking | None = None) -> None:
        """`ducking` gets every sound as it arrives, for an engine that takes turns."""
        self.sink = Sink(clock=clock, metrics=metrics, ducking=ducking)
        self.gate = GatedSink(self.sink, clock=clock)
        self._preferences = preferences
        self._link: HeardLink | None = None
        self._ignored: frozenset[int] = frozenset()
        self._deaf = False

    def attach(self, link: HeardLink, voice_channel: VoiceChannel) -> None:
        """Hear this connection, whose first packet has not come yet."""
        self._link = link
        link.deafen(deaf=self._deaf)
        self.refresh(voice_channel)

    def deafen(self, *, deaf: bool) -> None:
        """Hear nobody for a while, and drop what was heard and not taken yet.

        Such a while counts as one in which nobody spoke, until it ends.
        """
        self._deaf = deaf
        if self._link:
            self._link.deafen(deaf=deaf)
        self.sink.ignore(EVERYBODY if deaf else self._ignored)
        if not deaf:
            self.gate.restart()

    def refresh(self, voice_channel: VoiceChannel) -> None:
        """Somebody came, went or changed their mind, or the rules of the guild changed.

        Who is in the call and not in the channel, as far as Discord has told, may be a bot: nobody hears them until that is known.
        """
        rules = self._preferences.rules(voice_channel.place.guild_id)
        strangers = (self._link.people if self._link else frozenset()) - voice_channel.people - voice_channel.bots
        ignored = frozenset(self._preferences.opted_out) | strangers | (frozenset() if rules.hear_bots else voice_channel.bots)
        self.gate.noise_gate = rules.noise_gate
        if self._link:
            self._link.ignore(ignored)
        if not self._deaf:
            self.sink.ignore(ignored)
        for user_id in ignored - self._ignored:
            self.gate.forget(user_id)
        self._ignored = self.gate.ignored = ignored
