"""Announcer: what one call says in its channel. The call tells it facts; the sentences are in `texts`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.call.disclosure import Disclosure, Notice
from discordplex.bot.chat.channel import Room
from discordplex.bot.chat.notices import Notices
from discordplex.bot.practice import Practice
from discordplex.bot.rules import Rules
from discordplex.bot.texts.markdown import LONGEST_NAME
from discordplex.bridge.events import Caption
from discordplex.engine import Persona
from discordplex.plaintext import one_line

log = structlog.get_logger()

NOBODY_KNOWN = 0
"""Whose words these are, where the engine cannot tell people apart. No Discord user has this id."""


@dataclass(slots=True)
class Announcer:
    """One call's words. Everything here returns at once; the channel's writer does the rest. Thread: loop."""

    notices: Notices
    number: int
    """Which call; its messages are known by it."""
    room: Room
    """Where the call is; it changes when the call moves."""
    engine: str
    """Where people's voices go, as they are told. No address."""
    transcribes: bool
    """Whether the engine writes down what people say."""
    server: str
    """At which server the engine is; nobody is told."""
    persona: Persona
    panel: Callable[[], discord.ui.View] | None = None
    """Makes the buttons below the greeting."""
    asker: int | None = None
    """For whom the bot came; None for everybody who sits there."""
    ready: bool = False
    """People are heard."""
    privacy_code: str | None = None
    rules: Rules = field(default_factory=Rules)
    """What holds in the guild."""
    keeps_persona: bool = False
    """The engine has a voice and a role of its own, whatever was asked for."""
    _opens_long: bool = False
    disclosure: Disclosure = field(init=False)
    """What people were told of what is done with their words."""
    _greets: bool = False
    _engine_fault: str | None = None
    _engine_episode: int = 0
    _changes: int = 0

    def __post_init__(self) -> None:
        self.disclosure = Disclosure(self.notices, self.number)

    @property
    def practice(self) -> Practice:
        """What the settings want done with people's words, told or not."""
        captions = self.notices.captions_channel(self.room)
        return Practice.of(
            self.rules, engine=self.engine, transcribes=self.transcribes, captions_in=captions.id if captions is not None else None
        )

    def greet(self) -> None:
        """Say who listens, to whom people talk, where their voices go; again with what is known by now, in the same message.

        Where something has come to be done with people's words that the message did not say, it is a new one.
        """
        self._greets = True
        self.disclosure.show(Notice(self.room, self.practice, self._introduce, self.panel() if self.panel else None))

    def _introduce(self, practice: Practice, channel: Any) -> str:
        people = [self.asker] if self.asker is not None and self.asker in self.room.people else sorted(self.room.people)
        names = [name for one in people if (name := self.room.name_in(channel, one))]
        about = texts.calls.Introduction(
            channel_id=self.room.place.channel_id,
            persona=self.persona if self.ready and not self.keeps_persona else None,
            practice=practice,
            here=channel.id,
            people=names,
            privacy_code=self.privacy_code,
        )
        return texts.calls.listening(about) if self.ready else texts.calls.hello(about)

    def listens(self, server: str) -> None:
        """The engine is there for the first time, at this server: people are heard from now on."""
        self.notices.forget(self.room.place)
        self.engine_back(server)
        self.ready = True
        self.greet()

    def code_is(self, privacy_code: str | None) -> None:
        """The call's encryption shows this code; a greeting that showed another one is corrected."""
        if privacy_code != self.privacy_code:
            self.privacy_code = privacy_code
            if self.ready:
                self.greet()

    def follow(self, rules: Rules) -> None:
        """What holds in the guild now, and who is there: people are told where that changes what is done with their words."""
        self.rules = rules
        if self._greets:
            self.greet()

    def ended(self, seconds: float) -> None:
        """The call is over after so long: nothing of it says any more that somebody listens."""
        self._greets = False
        self.disclosure.end(texts.calls.ended(seconds))
        self.notices.finish(self.number)

    def changes(self, persona: Persona) -> None:
        """The engine is being opened anew as somebody else."""
        self.persona = persona
        self._changes += 1
        self._tell_change(texts.calls.PERSONA_KEPT if self.keeps_persona else texts.calls.changing(persona))

    def changed(self) -> None:
        """It is there as somebody else."""
        self._tell_change(texts.calls.PERSONA_KEPT if self.keeps_persona else texts.calls.changed(self.persona))
        self.greet()

    def persona_ignored(self) -> None:
        """The engine keeps its own voice and role; a greeting that named others is corrected."""
        if not self.keeps_persona:
            self.keeps_persona = True
            self.greet()

    def stopped(self, name: str) -> None:
        """A person of this name stopped the call without ending it."""
        self.notices.say_about(self.room, texts.calls.stopped(name), texts.calls.stopped(texts.waiting.SOMEBODY))

    def goes_on(self, name: str) -> None:
        """A person of this name let it go on."""
        self.notices.say_about(self.room, texts.calls.goes_on(name), texts.calls.goes_on(texts.waiting.SOMEBODY))

    def caption(self, caption: Caption) -> None:
        """What the engine says: the whole stretch so far."""
        self.notices.caption(self.room, (self.number, caption.key), caption.text, final=caption.final)

    def words(self, caption: Caption) -> None:
        """What a person says, where people were told that it is written down here: the whole stretch so far, with their name."""
        channel = self.notices.captions_channel(self.room)
        if channel is None:
            return
        name = None if caption.speaker is None else self.room.name_in(channel, caption.speaker)
        text = f"{one_line(name or texts.waiting.SOMEBODY, LONGEST_NAME)}: {caption.text}"
        speaker = caption.speaker if caption.speaker is not None else NOBODY_KNOWN
        self.notices.caption(self.room, (self.number, caption.key), text, final=caption.final, speaker=speaker)

    def drop_words(self) -> None:
        """What people said and is not written yet is not written."""
        self.notices.drop_captions(call=self.number)

    def trouble(self, message: str) -> None:
        """Something failed and the call goes on."""
        self.notices.say_once(self.room, texts.calls.trouble(message))

    def cannot_hear(self, speaker: int, reason: str) -> None:
        """Somebody speaks and is not heard, whatever was tried; changed in place when they are."""
        named, unnamed = texts.calls.cannot_hear(speaker, reason), texts.calls.cannot_hear(NOBODY_KNOWN, reason)
        self.notices.say_about(self.room, named, unnamed, key=(self.number, "deaf", speaker))

    def hears_again(self, speaker: int) -> None:
        """They are."""
        named, unnamed = texts.calls.hears_again(speaker), texts.calls.hears_again(NOBODY_KNOWN)
        self.notices.say_about(self.room, named, unnamed, key=(self.number, "deaf", speaker))

    def still_opening(self) -> None:
        """The engine takes long to open. Told once; changed in place when it is there, or could not be opened."""
        self._opens_long = True
        self._tell_engine(texts.calls.STILL_OPENING, again=True)

    def engine_lost(self, reason: str) -> None:
        """The engine could not be opened or went away, and is tried again."""
        self._engine_fault = reason
        self._tell_engine(texts.calls.engine_lost(reason))

    def engine_back(self, server: str) -> None:
        """It is there, again where it was there before, at this server; which one is not told to anybody."""
        moved, self.server = server != self.server, server
        if moved and self.keeps_persona:
            self.keeps_persona = False
            self.greet()
        if self._engine_fault or self._opens_long:
            self._tell_engine(self._how_it_came(moved=moved), again=self._opens_long)
            self._engine_episode += 1
        self._engine_fault, self._opens_long = None, False

    def _how_it_came(self, *, moved: bool) -> str:
        """What replaces the message about an engine that was away or late."""
        if not self._engine_fault:
            return texts.calls.ENGINE_READY
        if not self.ready:
            return texts.calls.engine_ready(self._engine_fault)
        return texts.calls.engine_moved(self._engine_fault) if moved else texts.calls.engine_back(self._engine_fault)

    def gave_up(self, reason: str) -> None:
        """The call is over although nobody wanted it to be."""
        self._tell_engine(texts.calls.gave_up(reason))

    def could_not_join(self, reason: str) -> None:
        """No call came about."""
        self.notices.say_once(self.room, texts.calls.could_not_join(self.room.place.channel_id, reason))

    def _tell_engine(self, text: str, *, again: bool = False) -> None:
        """One message for each time the engine is away, changed in place; `again` although the same was said before."""
        say = self.notices.say if again else self.notices.say_once
        say(self.room, text, key=(self.number, "engine", self._engine_episode))

    def _tell_change(self, text: str) -> None:
        """One message for each change of the persona, changed in place."""
        self.notices.say(self.room, text, key=(self.number, "persona", self._changes))
