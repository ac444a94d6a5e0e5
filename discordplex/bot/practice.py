"""Practice: what is done with what people say in a call. Pure. Every sentence about privacy is made from it, and so is what is done."""

from dataclasses import dataclass, replace

from typing_extensions import Self

from discordplex.bot.rules import Rules

SOMEWHERE = 0
"""The channel of the captions, where that is not a certain one: each call has its own. No Discord channel has this id."""


@dataclass(frozen=True, slots=True)
class Practice:
    """What the settings in force make of people's words in one call."""

    engine: str
    """Where their voices go, as people are told."""
    transcribes: bool
    """The engine writes down what people say; otherwise it only tells what it says itself."""
    published_in: int | None = None
    """The channel into which people's words are written; None where they are not."""
    kept: bool = False
    """There is a transcript: of what the engine says, and of what people say where it `transcribes`."""
    forgetful: bool = False
    """Who asked earlier not to be heard is not known, since the settings cannot be read."""

    @classmethod
    def of(cls, rules: Rules, *, engine: str, transcribes: bool, captions_in: int | None) -> Self:
        """What `rules` make of it where captions are written into the channel `captions_in`, or (None) nowhere.

        While it is not known who asked not to be heard, nothing is kept and nobody's words are published.
        """
        published = transcribes and rules.captions_of_people and not rules.forgetful
        return cls(
            engine=engine,
            transcribes=transcribes,
            published_in=captions_in if published else None,
            kept=rules.transcripts and not rules.forgetful,
            forgetful=rules.forgetful,
        )

    @property
    def needs_notice(self) -> bool:
        """Whether something outlives the call that people must have been told of before."""
        return self.kept or self.published_in is not None

    @property
    def keeps_people(self) -> bool:
        """Whether what people say is in the transcript."""
        return self.kept and self.transcribes

    def without_records(self) -> Self:
        """The same where nothing is kept and nobody's words are published."""
        return replace(self, published_in=None, kept=False)

    def beyond(self, told: Self) -> bool:
        """Whether it does something with people's words that a notice about `told` did not say."""
        more_kept = (self.kept and not told.kept) or (self.keeps_people and not told.keeps_people)
        return more_kept or (self.published_in is not None and self.published_in != told.published_in)
