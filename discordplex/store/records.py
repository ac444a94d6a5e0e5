"""The records that go into the store and come out of it: frozen, without rows. Pure."""

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
    """A chosen persona. For each None the next one applies: the guild's choice, then the configuration."""

    voice: str | None = None
    text_prompt: str | None = None
    name: str | None = None
    """The name of the saved persona that was copied, for display. That persona may have changed or been deleted since."""

    def over(self, other: Persona) -> Persona:
        """The persona in force: this choice, completed by `other`."""
        return Persona(
            voice=other.voice if self.voice is None else self.voice,
            text_prompt=other.text_prompt if self.text_prompt is None else self.text_prompt,
        )


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """The settings of a guild, made by its admins. None: the configuration applies."""

    guild_id: int
    captions: CaptionsSetting | None = None
    choice: Choice = Choice()
    """The persona for people who chose none."""
    transcripts: bool = False
    """Whether transcripts of calls are stored."""
    captions_of_people: bool | None = None
    """Whether captions also show what people say."""
    notes: bool = False
    """Whether notes of each call are posted, if transcripts are stored."""
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
        """The same settings with a channel or role allowed, denied, or (None) without a rule."""
        one = frozenset({target_id})
        allow = (self.allowed_channels if kind == "channel" else self.allowed_roles) - one | (one if allowed else frozenset())
        deny = (self.denied_channels if kind == "channel" else self.denied_roles) - one | (one if allowed is False else frozenset())
        if kind == "channel":
            return replace(self, allowed_channels=allow, denied_channels=deny)
        return replace(self, allowed_roles=allow, denied_roles=deny)


@dataclass(frozen=True, slots=True)
class PersonSettings:
    """The settings of a person, valid in every guild."""

    user_id: int
    opted_out: bool = False
    """The person must not be heard: never decoded, never mixed, never counted."""
    choice: Choice = Choice()


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a saved persona: a guild or a person."""

    kind: OwnerKind
    id: int


@dataclass(frozen=True, slots=True)
class SavedPersona:
    """A persona with a name. Names are unique per owner; upper and lower case are the same."""

    owner: Owner
    name: str
    persona: Persona


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A voice channel that waits for an engine."""

    guild_id: int
    channel_id: int
    user_id: int | None
    """Who asked; None if they had their data deleted."""
    since: datetime
    """With a time zone; in UTC if it comes from the store."""


@dataclass(frozen=True, slots=True)
class UnfinishedNotice:
    """A message of a bot that says that a call is running. It must be edited when the call ends."""

    message_id: int
    channel_id: int
    guild_id: int
    bot_id: int


@dataclass(frozen=True, slots=True)
class HourOfUse:
    """For how long a guild used engines that cost money in one hour."""

    guild_id: int
    hour: int
    """In hours since 1970, UTC."""
    seconds: int


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One line of a transcript."""

    guild_id: int
    call: str
    """A text that identifies the call."""
    user_id: int | None
    """Who said it; None for the engine."""
    said_at: datetime
    """With a time zone; in UTC if it comes from the store."""
    text: str


@dataclass(frozen=True, slots=True)
class TranscribedCall:
    """A call with a transcript."""

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
    """Guild ids, each with the number of the person's lines there."""

    @property
    def nothing(self) -> bool:
        """Whether nothing is stored about them at all."""
        return self == StoredAboutPerson(PersonSettings(self.settings.user_id), (), (), ())


@dataclass(frozen=True, slots=True)
class SaveStatus:
    """Whether a change, which already applies, is saved."""

    saved: bool
    why: str = ""
    """If it is not saved: why, as a sentence for people. It is saved as soon as the database works again."""
    clean: bool = True
    """After a deletion: whether the data is gone from the database's files too. False: it is still in SQLite's journal."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The result of a deletion."""

    save_status: SaveStatus
    stored: StoredAboutPerson | None = None
    """What was stored; None if the database cannot be reached, so that nobody knows."""
    lines: int | None = None
    """How many lines of transcripts there were; None in the same case."""
