"""Announcer: what one call says in its channel. The call tells it facts; the sentences are in `replies`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import discord
import structlog

from discordplex.bot import replies
from discordplex.bot.noticeboard import Noticeboard
from discordplex.bot.rooms import Room
from discordplex.bot.rules import Rules
from discordplex.bridge.events import Caption
from discordplex.engine import Persona

log = structlog.get_logger()


@dataclass(slots=True)
class Announcer:
    """One call's words. Everything here returns at once; the channel's writer does the rest. Thread: loop."""

    notices: Noticeboard
    number: int
    """Which call; its messages are known by it."""
    room: Room
    """Where the call is; it changes when the call moves."""
    engine: str
    persona: Persona
    panel: Callable[[], discord.ui.View] | None = None
    """Makes the buttons below the greeting."""
    ready: bool = False
    """People are heard."""
    privacy_code: str | None = None
    rules: Rules = field(default_factory=Rules)
    """What holds in the guild."""
    keeps_persona: bool = False
    """The engine has a voice and a role of its own, whatever was asked for."""
    _opens_long: bool = False
    _engine_fault: str | None = None
    _engine_episode: int = 0
    _changes: int = 0

    def greet(self) -> None:
        """Say who listens, to whom people talk, where their voices go; again with what is known by now, in the same message."""
        introduction = replies.Introduction(
            channel_id=self.room.place.channel_id,
            persona=self.persona if self.ready and not self.keeps_persona else None,
            engine=self.engine,
            privacy_code=self.privacy_code,
            kept=self.rules.transcripts,
            forgetful=self.rules.forgetful,
        )
        text = replies.listening(introduction) if self.ready else replies.hello(introduction)
        self.notices.say(self.room, text, key=(self.number, "hello"), view=self.panel and self.panel())

    def listens(self, engine: str) -> None:
        """The engine is there for the first time, by this name: people are heard from now on."""
        self.notices.forget(self.room.place)
        self.engine_back(engine)
        self.ready = True
        self.greet()

    def code_is(self, privacy_code: str | None) -> None:
        """The call's encryption shows this code; a greeting that showed another one is corrected."""
        if privacy_code != self.privacy_code:
            self.privacy_code = privacy_code
            if self.ready:
                self.greet()

    def follow(self, rules: Rules) -> None:
        """What holds in the guild now; a greeting that said otherwise is corrected."""
        changed = rules.transcripts != self.rules.transcripts
        self.rules = rules
        if changed and self.ready:
            self.greet()

    def changes(self, persona: Persona) -> None:
        """The engine is being opened anew as somebody else."""
        self.persona = persona
        self._changes += 1
        self._tell_change(replies.PERSONA_KEPT if self.keeps_persona else replies.changing(persona))

    def changed(self) -> None:
        """It is there as somebody else."""
        self._tell_change(replies.PERSONA_KEPT if self.keeps_persona else replies.changed(self.persona))
        self.greet()

    def persona_ignored(self) -> None:
        """The engine keeps its own voice and role; a greeting that named others is corrected."""
        if not self.keeps_persona:
            self.keeps_persona = True
            self.greet()

    def stopped(self, name: str) -> None:
        """A person of this name stopped the call without ending it."""
        self.notices.say(self.room, replies.stopped(name))

    def goes_on(self, name: str) -> None:
        """A person of this name let it go on."""
        self.notices.say(self.room, replies.goes_on(name))

    def caption(self, caption: Caption) -> None:
        """What somebody says: the whole stretch so far."""
        self.notices.caption(self.room, (self.number, caption.key), caption.text, final=caption.final)

    def trouble(self, message: str) -> None:
        """Something failed and the call goes on."""
        self.notices.say_once(self.room, replies.trouble(message))

    def cannot_hear(self, speaker: int, reason: str) -> None:
        """Somebody speaks and is not heard, whatever was tried; changed in place when they are."""
        self.notices.say_once(self.room, replies.cannot_hear(speaker, reason), key=(self.number, "deaf", speaker))

    def hears_again(self, speaker: int) -> None:
        """They are."""
        self.notices.say_once(self.room, replies.hears_again(speaker), key=(self.number, "deaf", speaker))

    def still_opening(self) -> None:
        """The engine takes long to open. Told once; changed in place when it is there, or could not be opened."""
        self._opens_long = True
        self._tell_engine(replies.STILL_OPENING, again=True)

    def engine_lost(self, reason: str) -> None:
        """The engine could not be opened or went away, and is tried again."""
        self._engine_fault = reason
        self._tell_engine(replies.engine_lost(reason))

    def engine_back(self, engine: str) -> None:
        """It is there, again where it was there before; or the one of this name is, and the greeting says where voices go from now on."""
        moved, self.engine = engine != self.engine, engine
        if moved:
            self.keeps_persona = False
            self.greet()
        if self._engine_fault or self._opens_long:
            self._tell_engine(self._how_it_came(moved=moved), again=self._opens_long)
            self._engine_episode += 1
        self._engine_fault, self._opens_long = None, False

    def _how_it_came(self, *, moved: bool) -> str:
        """What replaces the message about an engine that was away or late."""
        if not self._engine_fault:
            return replies.ENGINE_READY
        if not self.ready:
            return replies.engine_ready(self._engine_fault)
        return replies.engine_moved(self._engine_fault, self.engine) if moved else replies.engine_back(self._engine_fault)

    def gave_up(self, reason: str) -> None:
        """The call is over although nobody wanted it to be."""
        self._tell_engine(replies.gave_up(reason))

    def could_not_join(self, reason: str) -> None:
        """No call came about."""
        self.notices.say_once(self.room, replies.could_not_join(self.room.place.channel_id, reason))

    def _tell_engine(self, text: str, *, again: bool = False) -> None:
        """One message for each time the engine is away, changed in place; `again` although the same was said before."""
        say = self.notices.say if again else self.notices.say_once
        say(self.room, text, key=(self.number, "engine", self._engine_episode))

    def _tell_change(self, text: str) -> None:
        """One message for each change of the persona, changed in place."""
        self.notices.say(self.room, text, key=(self.number, "persona", self._changes))
