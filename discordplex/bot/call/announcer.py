"""Announcer: the notices of one call in its channel. The call gives it facts; the sentences are in `texts`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.call.disclosure import Disclosure, Notice
from discordplex.bot.call.state import NOBODY_KNOWN, CallState
from discordplex.bot.chat.notices import Notices
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.engine import StandIn
from discordplex.tasks import cancel_and_wait

log = structlog.get_logger()


SAY_AGAIN_S = 15.0
"""How long Discord may take to accept a notice that the call waits for."""


def is_set() -> asyncio.Event:
    """An event that has come already."""
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Announcer:
    """The notices of one call. Every method returns at once; the channel's writer does the rest. Thread: loop."""

    state: CallState
    notices: Notices
    disclosure: Disclosure
    """The notice that tells people what is done with their words."""
    panel: Callable[[], discord.ui.View] | None = None
    """Makes the buttons below the greeting."""
    ready: bool = False
    """Whether people are heard already."""
    privacy_code: str | None = None
    rules: GuildRules = field(default_factory=GuildRules)
    """The rules of the guild."""
    _opens_long: bool = False
    _greets: bool = False
    _engine_fault: str | None = None
    _engine_episode: int = 0
    _episode_told: bool = False
    """The message about the engine's present absence was written."""
    _changes: int = 0
    _replacement: str = ""
    _replacements: int = 0
    _engine_known: asyncio.Event = field(default_factory=is_set)
    """Cleared while people are being told that an engine of another kind hears them."""
    _renewals: int = 0
    _renewal_told: bool = False

    @property
    def recording_policy(self) -> RecordingPolicy:
        """What the settings want done with people's words, whether people were told or not."""
        captions, state = self.notices.captions_channel(self.state.voice_channel), self.state
        captions_in = captions.id if captions is not None else None
        return RecordingPolicy.of(
            self.rules,
            engine=state.engine,
            transcribes=state.transcribes,
            captions_in=captions_in,
            ears=state.ears,
            recap=state.recap_model,
            summarizer=state.summarizer,
        )

    def greet(self) -> None:
        """Post the greeting: who listens, with which persona, where voices go. Called again, it updates the same message.

        If more is now done with people's words than the message said, it is a new message.
        """
        self._greets = True
        self.disclosure.show(Notice(self.state.voice_channel, self.recording_policy, self._introduce, self.panel() if self.panel else None))

    def _introduce(self, policy: RecordingPolicy, channel: Any) -> str:
        asker, voice_channel = self.state.asker, self.state.voice_channel
        people = [asker] if asker is not None and asker in voice_channel.people else sorted(voice_channel.people)
        names = [name for one in people if (name := voice_channel.name_in(channel, one))]
        about = texts.calls.Introduction(
            channel_id=voice_channel.place.channel_id,
            persona=self.state.present_persona if self.ready and not self.state.keeps_persona else None,
            policy=policy,
            here=channel.id,
            people=names,
            privacy_code=self.privacy_code,
        )
        return texts.calls.listening(about) if self.ready else texts.calls.hello(about)

    def listens(self, *, moved: bool = False) -> None:
        """The engine is open for the first time: people are heard from now on. `moved`: on another server than the first one tried."""
        self.notices.forget(self.state.voice_channel.place)
        self.engine_back(moved=moved)
        self.ready = True
        self.greet()

    def code_is(self, privacy_code: str | None) -> None:
        """The call's encryption has this code now: update the greeting."""
        if privacy_code != self.privacy_code:
            self.privacy_code = privacy_code
            if self.ready:
                self.greet()

    def rules_changed(self, rules: GuildRules) -> None:
        """The rules of the guild or the people changed: tell people if more or less is now done with their words."""
        self.rules = rules
        if self._greets:
            self.greet()

    def ended(self, seconds: float) -> None:
        """The call ended after this long: no message of it claims to listen any more."""
        self._greets = False
        self.disclosure.end(texts.calls.ended(seconds))
        self.notices.finish(self.state.number)

    def stands_in(self, stand_in: StandIn) -> None:
        """The call begins with another kind of engine than the preferred one."""
        text = texts.calls.stands_in(stand_in.preferred.description, self.state.engine, stand_in.reason)
        self.notices.say_once(self.state.voice_channel, text)

    def changes(self) -> None:
        """The engine is being opened again with another persona."""
        self._changes += 1
        self._tell_change(texts.calls.PERSONA_KEPT if self.state.keeps_persona else texts.calls.changing(self.state.present_persona))

    def changed(self) -> None:
        """The engine is open with the new persona."""
        self._tell_change(texts.calls.PERSONA_KEPT if self.state.keeps_persona else texts.calls.changed(self.state.present_persona))
        self.greet()

    def stopped(self, name: str) -> None:
        """A person of this name paused the call."""
        self.notices.say_about(self.state.voice_channel, texts.calls.stopped(name), texts.calls.stopped(texts.waiting.SOMEBODY))

    def goes_on(self, name: str) -> None:
        """A person of this name resumed the call."""
        self.notices.say_about(self.state.voice_channel, texts.calls.goes_on(name), texts.calls.goes_on(texts.waiting.SOMEBODY))

    def trouble(self, message: str) -> None:
        """Something failed, and the call continues."""
        self.notices.say_once(self.state.voice_channel, texts.calls.trouble(message))

    def cannot_hear(self, speaker: int, reason: str) -> None:
        """Somebody speaks and is not heard, and every remedy was tried. The message is edited when they are heard again."""
        named, unnamed = texts.calls.cannot_hear(speaker, reason), texts.calls.cannot_hear(NOBODY_KNOWN, reason)
        self.notices.say_about(self.state.voice_channel, named, unnamed, key=(self.state.number, "deaf", speaker))

    def hears_again(self, speaker: int) -> None:
        """The speaker is heard again."""
        named, unnamed = texts.calls.hears_again(speaker), texts.calls.hears_again(NOBODY_KNOWN)
        self.notices.say_about(self.state.voice_channel, named, unnamed, key=(self.state.number, "deaf", speaker))

    def still_opening(self) -> None:
        """The engine takes long to open. Posted once; edited when it is open, or could not be opened."""
        self._opens_long = True
        self._tell_engine(texts.calls.STILL_OPENING, again=True)

    def engine_lost(self, reason: str) -> None:
        """The engine could not be opened or was lost, and is tried again."""
        self._engine_fault = reason
        self._tell_engine(texts.calls.engine_lost(reason))

    def engine_back(self, *, moved: bool = False) -> None:
        """The engine is open, maybe again. `moved`: on another server, whose address is not posted."""
        if moved and self.ready:
            self.greet()
        if self._engine_fault or self._opens_long:
            if self._episode_told or not self.ready:
                self._tell_engine(self._how_it_came(moved=moved))
            self.notices.forget(self.state.voice_channel.place)  # it may go away again
            self._engine_episode += 1
            self._episode_told = False
        self._engine_fault, self._opens_long = None, False

    def unheard(self) -> None:
        """Somebody speaks while the engine's conversation is renewed. The message is edited when people are heard again."""
        self._renewal_told = True
        self.notices.say(self.state.voice_channel, texts.calls.RENEWING, key=(self.state.number, "renewal", self._renewals))

    def renewed(self) -> None:
        """The engine's conversation was renewed."""
        if self._renewal_told:
            self.notices.say(self.state.voice_channel, texts.calls.RENEWED, key=(self.state.number, "renewal", self._renewals))
        self._renewals += 1
        self._renewal_told = False

    def _how_it_came(self, *, moved: bool) -> str:
        """The text that replaces the message about a lost or late engine."""
        if not self._engine_fault:
            return texts.calls.ENGINE_READY
        if not self.ready:
            return texts.calls.engine_ready(self._engine_fault)
        return texts.calls.engine_moved(self._engine_fault) if moved else texts.calls.engine_back(self._engine_fault)

    def replaced(self, lost: str, reason: str) -> None:
        """An engine of another kind takes the place of a lost one. It is opened when `engine_is_known` returns."""
        if self._greets:
            self._tell_other_engine(texts.calls.replaced(lost, self.state.engine, reason))
            self.greet()
        if self._episode_told:
            self._tell_engine(texts.calls.told(self._engine_fault or reason))  # it says that the bot keeps trying
        self._engine_fault, self._opens_long, self._episode_told = None, False, False
        self._engine_episode += 1

    async def engine_is_known(self) -> None:
        """Wait until people were told of an engine of another kind, or it is certain that they cannot be told.

        Without an answer from Discord it is posted again.
        """
        while not self._engine_known.is_set():
            again = asyncio.create_task(self.notices.clock.sleep_until(self.notices.clock.now() + SAY_AGAIN_S), name="call:say again")
            known = asyncio.create_task(self._engine_known.wait(), name="call:engine known")
            try:
                await asyncio.wait({again, known}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait(again, known)
            if not self._engine_known.is_set():
                self._tell_replacement()

    def returns(self, preferred: str) -> None:
        """The call is about to return to the preferred kind of engine. It is opened when `engine_is_known` returns."""
        self._tell_other_engine(texts.calls.returns(preferred))

    def stays(self, preferred: str) -> None:
        """The call could not return to the preferred kind of engine."""
        if self._greets:
            text = texts.calls.stays(preferred, self.state.engine)
            self.notices.say(self.state.voice_channel, text, key=(self.state.number, "replaced", self._replacements))

    def _tell_other_engine(self, text: str) -> None:
        self._replacement = text
        self._replacements += 1
        self._engine_known.clear()
        self._tell_replacement()

    def _tell_replacement(self) -> None:
        number = self._replacements

        def on_told() -> None:
            if number == self._replacements:
                self._engine_known.set()

        self.notices.say(self.state.voice_channel, self._replacement, key=(self.state.number, "replaced", number), on_told=on_told)

    def gave_up(self, reason: str) -> None:
        """The call ended because something failed."""
        self._tell_engine(texts.calls.gave_up(reason))

    def could_not_join(self, reason: str) -> None:
        """The bot could not join."""
        self.notices.say_once(self.state.voice_channel, texts.calls.could_not_join(self.state.voice_channel.place.channel_id, reason))

    def _tell_engine(self, text: str, *, again: bool = False) -> None:
        """Post or edit one message for each time that the engine is lost; `again`: even if the same text was posted before."""
        key = (self.state.number, "engine", self._engine_episode)
        if again or self._episode_told:
            self.notices.say(self.state.voice_channel, text, key=key)
            self._episode_told = True
        else:
            self._episode_told = self.notices.say_once(self.state.voice_channel, text, key=key)

    def _tell_change(self, text: str) -> None:
        """Post or edit one message for each change of the persona."""
        self.notices.say(self.state.voice_channel, text, key=(self.state.number, "persona", self._changes))
