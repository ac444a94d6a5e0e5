"""ChatLog: the voice channel's chat during the demo, and who joins and leaves: at once for the view, in order for the report."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

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

    def hear(self, fact: Fact) -> None:
        """Show a fact that concerns the channel."""
        if isinstance(fact, MessagePosted | MessageEdited) and fact.message.channel_id == self._channel.id:
            self._listening = self._listening or self._begins(fact.message)
            self._show_message(fact.message)
        elif isinstance(fact, VoiceStateChanged) and fact.after.user_id in (self._bot.id, self._person.id):
            self._move(fact)

    def _show_message(self, message: ChatMessage) -> None:
        greeting = self._is_greeting(message)
        line = self._line_of(message, spoken=self._listening and not greeting)
        if greeting:  # unlike a caption, which grows, it says something else with each edit
            line = replace(line, at_s=max(0.0, message.revisions[-1].at_s - self.origin_s))
        if line.role != "person" or not self._words_known:
            self._show.line(message.id, line)

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

    def _is_greeting(self, message: ChatMessage) -> bool:
        """Whether it is the bot's greeting, also after the call, when it says that the call is over."""
        return self._begins(message) or (message.author_id == self._bot.id and message.content.startswith(texts.calls.ENDED))

    def lines(self, spoken: Sequence[Span]) -> Iterator[TimelineEntry]:
        """Everything that was written, and who joined and left; a caption is placed where its speech began."""
        free = list(spoken)
        for message in self._discord.messages(self._channel.id):
            if message.author_id != self._bot.id or message.deleted_at_s is not None:
                continue
            line = self._line_of(message, spoken=True)
            if line.role == "person":
                if not self._words_known:
                    yield line
                continue
            near = [span for span in spoken if span.start_s - CAPTION_BEFORE_S <= line.at_s <= span.end_s + CAPTION_AFTER_S]
            if not near or self._is_greeting(message):
                yield replace(line, role="notice")
            else:
                first = next((span for span in near if span in free), None)
                if first in free:
                    free.remove(first)
                yield replace(line, at_s=first.start_s if first else line.at_s)
        yield from self._moves

    def _line_of(self, message: ChatMessage, *, spoken: bool) -> TimelineEntry:
        at_s = max(0.0, message.created_at_s - self.origin_s)
        text = self._readable(message.content)
        if text.startswith(f"{self._person.name}: "):
            # What a transcribing engine understood; the bot writes it with the speaker's name.
            return TimelineEntry("person", self._person.name, at_s, text.partition(": ")[2])
        return TimelineEntry("bot" if spoken else "notice", self._bot.name, at_s, text)

    def _readable(self, content: str) -> str:
        """Discord's markdown as plain text."""
        text = content.replace(f"<#{self._channel.id}>", f"#{self._channel.name}").replace("**", "")
        return re.sub(r"\\([\\*_~`|<\[#>-])", r"\1", text).strip()


ABOUT = texts.calls.Introduction(0, ANYBODY, RecordingPolicy(engine="", transcribes=False))
GREETING = texts.calls.listening_to(ABOUT).partition("<#")[0]
"""How the bot's notice begins while everything is well."""

LISTENS = texts.calls.listening(ABOUT).removeprefix(texts.calls.listening_to(ABOUT))
"""How the notice ends once the bot listens."""
