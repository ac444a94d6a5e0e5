"""ChatLog: the voice channel's chat during the demo, and who joins and leaves: at once for the view, in order for the report."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

from discordplex.bot import texts
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.config import PersonaConfig
from discordplex.demo.live import Display
from discordplex.demo.recording import Span
from discordplex.demo.timeline import TimelineEntry
from discordplex.engine import Persona
from discordplex.errors import DiscordplexError
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel, ChatMessage, Fact, MessageEdited, MessagePosted, User, VoiceStateChanged

CAPTION_BEFORE_S = 1.0
CAPTION_AFTER_S = 2.0
"""A message that appears within this time of a stretch of the bot's speech is its caption."""

ANYBODY = Persona(voice=PersonaConfig().voice, text_prompt=PersonaConfig().text_prompt)


class ChatLog:
    """The chat of one voice channel with the bot and the person in it. Thread: loop."""

    def __init__(
        self, discord: LoopbackDiscord, channel: Channel, bot: User, person: User, show: Display, *, words_known: bool = False
    ) -> None:
        """With `words_known`, what the engine understood of the person is left out: the demo shows what was said."""
        self.origin_s = 0.0
        """Clock time of the recording's beginning."""
        self._discord, self._channel, self._bot, self._person, self._show = discord, channel, bot, person, show
        self._moves: list[TimelineEntry] = []
        self._listening = False
        self._words_known = words_known
        self._own = f"{person.name}: "
        """How a caption of the person begins: what a transcribing engine understood, after the speaker's name."""
        self._said_at: list[float | None] = []
        """When the person began to say each of their captions."""

    def hear(self, fact: Fact) -> None:
        """Show a fact that concerns the channel."""
        if isinstance(fact, MessagePosted | MessageEdited) and fact.message.channel_id == self._channel.id:
            self._listening = self._listening or self._begins(fact.message)
            self._show_message(fact.message)
        elif isinstance(fact, VoiceStateChanged) and fact.after.user_id in (self._bot.id, self._person.id):
            self._move(fact)

    def said(self, began_s_ago: float | None) -> None:
        """The bot has captioned what the person began to say so long ago; None where that is unknown. In the order of captions."""
        self._said_at.append(None if began_s_ago is None else self._discord.world.clock.now() - began_s_ago)

    def _show_message(self, message: ChatMessage) -> None:
        for key, one, line in self._entries(newest_only=True):
            if one is message:
                self._show.line(key, line if self._listening or line.role != "bot" else replace(line, role="notice"))

    def _move(self, fact: VoiceStateChanged) -> None:
        who = self._bot if fact.after.user_id == self._bot.id else self._person
        before = fact.before.channel_id if fact.before else None
        if before == fact.after.channel_id:
            return
        text = f"{who.name} enters {self._channel.name}" if fact.after.channel_id else f"{who.name} leaves"
        self._moves.append(TimelineEntry("notice", who.name, max(0.0, self._discord.world.clock.now() - self.origin_s), text))
        self._show.step(f"{text}.")

    async def listening(self, timeout_s: float) -> None:
        """Return once the bot says that it listens. Raises DiscordplexError with what it says instead, or with how long it said nothing."""
        try:
            said = await self._discord.wait_for(self._verdict, timeout_s=timeout_s)
        except TimeoutError:
            raise DiscordplexError(f"The bot did not begin to listen within {timeout_s:.0f} s.") from None
        if said != LISTENS:
            raise DiscordplexError(f"The bot does not listen. It says: {said}")

    def _verdict(self) -> str | None:
        """LISTENS, or a complaint of the bot; None where there is neither yet."""
        own = [message for message in self._discord.messages(self._channel.id) if message.author_id == self._bot.id]
        if any(self._begins(message) for message in own):
            return LISTENS
        complaints = (message for message in own if not message.content.startswith((GREETING, texts.calls.ENDED)))
        return next((self._readable(message.content) for message in complaints), None)

    def _begins(self, message: ChatMessage) -> bool:
        return message.author_id == self._bot.id and message.content.endswith(LISTENS)

    def lines(self, spoken: Sequence[Span]) -> Iterator[TimelineEntry]:
        """Everything that was written, and who joined and left; a caption is placed where its speech began."""
        free = list(spoken)
        for _, message, line in self._entries():
            if message.author_id != self._bot.id or message.deleted_at_s is not None:
                continue
            near = [span for span in spoken if span.start_s - CAPTION_BEFORE_S <= line.at_s <= span.end_s + CAPTION_AFTER_S]
            if line.role != "bot":
                yield line
            elif not near:
                yield replace(line, role="notice")
            else:
                first = next((span for span in near if span in free), None)
                if first in free:
                    free.remove(first)
                yield replace(line, at_s=first.start_s if first else line.at_s)
        yield from self._moves

    def _entries(self, *, newest_only: bool = False) -> Iterator[tuple[str, ChatMessage, TimelineEntry]]:
        """Each thing that the channel's messages say, with a key; with `newest_only`, not what a greeting said before it was edited."""
        said_at = iter(self._said_at)
        for message in self._discord.messages(self._channel.id):
            said = [list(one) for _, one in groupby(message.revisions, key=lambda revision: stage(revision.content))]
            for first, newest in [(one[0], one[-1]) for one in (said[-1:] if newest_only else said)]:
                role: Literal["bot", "notice"] = "notice" if stage(newest.content) else "bot"
                for number, text in enumerate(self._parts(newest.content)):
                    key, at_s, by_person = f"{message.id} {number}", first.at_s, text.startswith(self._own)
                    if by_person and (began_at_s := next(said_at, None)) is not None:
                        at_s = began_at_s
                    line = TimelineEntry(role, self._bot.name, max(0.0, at_s - self.origin_s), text)
                    if not by_person:
                        yield key, message, line
                    elif not self._words_known:
                        yield key, message, replace(line, role="person", who=self._person.name, text=text.removeprefix(self._own))

    def _parts(self, content: str) -> Iterator[str]:
        """What a message says: the bot joins captions that wait into one message, each person's on a line of its own."""
        for by_person, rows in groupby(self._readable(content).split("\n"), key=lambda row: row.startswith(self._own)):
            if by_person:
                yield from rows
            else:
                yield "\n".join(rows)

    def _readable(self, content: str) -> str:
        """Discord's markdown as plain text."""
        text = content.replace(f"<#{self._channel.id}>", f"#{self._channel.name}").replace("**", "")
        return re.sub(r"\\([\\*_~`|<\[#>-])", r"\1", text).strip()


ABOUT = texts.calls.Introduction(0, ANYBODY, RecordingPolicy(engine="", transcribes=False))
GREETING = texts.calls.listening_to(ABOUT).partition("<#")[0]
"""How the bot's notice begins while everything is well."""


def stage(content: str) -> str:
    """Which of its stages a greeting is in; empty for any other message. A caption grows, a greeting says something else in each stage."""
    if content.startswith(texts.calls.ENDED):
        return texts.calls.ENDED
    return LISTENS if content.endswith(LISTENS) else ""


LISTENS = texts.calls.listening(ABOUT).removeprefix(texts.calls.listening_to(ABOUT))
"""How the notice ends once the bot listens."""
