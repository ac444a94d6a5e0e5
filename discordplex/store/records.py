"""What goes into the store and comes out of it: frozen facts, no rows. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from typing_extensions import Self

from discordplex.engine import Persona

RuleKind = Literal["channel", "role"]
OwnerKind = Literal["guild", "person"]


@dataclass(frozen=True, slots=True)
class CaptionsSetting:
    """Where a guild wants captions and notices."""

    where: Literal["voice", "channel", "thread", "off"]
    """The voice channel's own chat, a text channel, a new thread in that channel for each call, or nowhere."""
    channel_id: int | None = None
    """The text channel, for `channel` and `thread`."""

    def __post_init__(self) -> None:
        if (self.channel_id is None) == (self.where in ("channel", "thread")):
            raise ValueError(f"captions in {self.where!r} with channel {self.channel_id}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom somebody wants to talk with. What is None is left to the next in line: the guild's choice, then the configuration."""

    voice: str | None = None
    text_prompt: str | None = None
    name: str | None = None
    """The saved persona that the rest was copied from, to show to people; it may have changed or gone since."""

    def over(self, other: Persona) -> Persona:
        """The persona in force where this choice stands before `other`."""
        return Persona(
            voice=other.voice if self.voice is None else self.voice,
            text_prompt=other.text_prompt if self.text_prompt is None else self.text_prompt,
        )


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """What the admins of a guild decided; None where the configuration decides."""

    guild_id: int
    captions: CaptionsSetting | None = None
    choice: Choice = Choice()
    """The persona of those who have none of their own."""
    transcripts: bool = False
    """Whether what is said in calls is stored. Nothing is without it."""
    captions_of_people: bool | None = None
    """Whether what people say is written into the captions too."""
    idle_minutes: int | None = None
    max_minutes: int | None = None
    allowed_channels: frozenset[int] = frozenset()
    denied_channels: frozenset[int] = frozenset()
    allowed_roles: frozenset[int] = frozenset()
    denied_roles: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        both = (self.allowed_channels & self.denied_channels) | (self.allowed_roles & self.denied_roles)
        if both:
            raise ValueError(f"both allowed and denied: {sorted(both)}")

    def with_rule(self, kind: RuleKind, target_id: int, *, allowed: bool | None) -> Self:
        """The same settings with a channel or role allowed, denied, or (None) without a rule of its own."""
        one = frozenset({target_id})
        allow = (self.allowed_channels if kind == "channel" else self.allowed_roles) - one | (one if allowed else frozenset())
        deny = (self.denied_channels if kind == "channel" else self.denied_roles) - one | (one if allowed is False else frozenset())
        if kind == "channel":
            return replace(self, allowed_channels=allow, denied_channels=deny)
        return replace(self, allowed_roles=allow, denied_roles=deny)


@dataclass(frozen=True, slots=True)
class PersonSettings:
    """What a person decided, in every guild."""

    user_id: int
    opted_out: bool = False
    """They are not to be heard: never decoded, never mixed, never counted."""
    choice: Choice = Choice()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a saved persona is."""

    kind: OwnerKind
    id: int


@dataclass(frozen=True, slots=True)
class SavedPersona:
    """A persona with a name. An owner has one of each name, upper and lower case being the same."""

    owner: Owner
    name: str
    persona: Persona


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A voice channel that waits for an engine."""

    guild_id: int
    channel_id: int
    user_id: int | None
    """Who asked; None where that was forgotten on their wish."""
    since: datetime
    """With a time zone; UTC where it comes out of the store."""


@dataclass(frozen=True, slots=True)
class UnfinishedNotice:
    """A message of a bot that says that a call goes on. It is to be edited when the call ends."""

    message_id: int
    channel_id: int
    guild_id: int
    bot_id: int


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One thing said in a call."""

    guild_id: int
    call: str
    """Which call, by any text that is the call's own."""
    user_id: int | None
    """Who said it; None for the engine."""
    said_at: datetime
    """With a time zone; UTC where it comes out of the store."""
    text: str


@dataclass(frozen=True, slots=True)
class TranscribedCall:
    """A call of which there is a transcript."""

    call: str
    began: datetime
    """When the first line was said."""
    lines: int


@dataclass(frozen=True, slots=True)
class StoredAboutPerson:
    """All that is stored about one person."""

    settings: PersonSettings
    personas: tuple[SavedPersona, ...]
    waiting: tuple[QueueEntry, ...]
    """The places in the queue that they asked for."""
    transcript_lines: tuple[tuple[int, int], ...]
    """Guild ids, each with how many lines of theirs are kept there."""

    @property
    def nothing(self) -> bool:
        """Whether nothing is stored about them at all."""
        return self == StoredAboutPerson(PersonSettings(self.settings.user_id), (), (), ())


@dataclass(frozen=True, slots=True)
class SaveStatus:
    """How a change stands: it holds already, but is it saved?"""

    saved: bool
    why: str = ""
    """Where it is not: why, as a sentence for people. It is saved as soon as the database takes it."""
    clean: bool = True
    """Where something was deleted: whether it is out of the database's files too, or still in SQLite's journal for a while."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What came of a deletion."""

    standing: SaveStatus
    stored: StoredAboutPerson | None = None
    """What was there; None where the database is away, so that nobody knows."""
    lines: int | None = None
    """How many lines of transcripts there were, in the same way."""
