"""CallHearing: whom a call hears. People who opted out, and other bots, are dropped before any packet of theirs is opened."""

from collections.abc import Iterable
from typing import Protocol

from discordplex.audio.duck import Duck
from discordplex.audio.sink import Sink
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.rules import Preferences
from discordplex.bridge.gated_sink import GatedSink
from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.voice.rtp.receiver import EVERYBODY


class HeardLink(Protocol):
    """What it needs from a `voice.connection.VoiceConnection`."""

    @property
    def people(self) -> frozenset[int]:
        """Everybody in the call except the bot itself."""
        ...

    def ignore(self, user_ids: Iterable[int]) -> None:
        """Drop packets of these people, and of nobody else, unopened."""
        ...

    def deafen(self, *, deaf: bool) -> None:
        """Drop all packets while `deaf`."""
        ...


class CallHearing:
    """One call's sink, the noise gate behind it, and the rule by which the voice connection drops people. Thread: loop."""

    def __init__(self, *, preferences: Preferences, clock: Clock, metrics: Metrics, duck: Duck | None = None) -> None:
        """`duck` gets every sound as it arrives; it is for an engine that takes turns."""
        self.sink = Sink(clock=clock, metrics=metrics, duck=duck)
        self.gate = GatedSink(self.sink, clock=clock)
        self._preferences = preferences
        self._link: HeardLink | None = None
        self._ignored: frozenset[int] = frozenset()
        self._deaf = False

    def attach(self, link: HeardLink, voice_channel: VoiceChannel) -> None:
        """Use this connection. Call it before its first packet."""
        self._link = link
        link.deafen(deaf=self._deaf)
        self.refresh(voice_channel)

    def deafen(self, *, deaf: bool) -> None:
        """Hear nobody while `deaf`, and drop sound that was not taken yet.

        That time counts as silence.
        """
        self._deaf = deaf
        if self._link:
            self._link.deafen(deaf=deaf)
        self.sink.ignore(EVERYBODY if deaf else self._ignored)
        if not deaf:
            self.gate.restart()

    def refresh(self, voice_channel: VoiceChannel) -> None:
        """People, opt-outs or the guild's rules changed: update whom the call hears.

        A user who is in the call, but not in the channel by Discord's events so far, may be a bot. They are not heard until that is known.
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
