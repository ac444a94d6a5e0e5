"""RecordingPolicy: what is written down of a call, and where. Pure. The sentences about privacy and the recording itself both follow it."""

from dataclasses import dataclass, replace

from typing_extensions import Self

from discordplex.bot.guild_rules import GuildRules

SOMEWHERE = 0
"""Stands for the captions channel if each call has its own. No Discord channel has this id."""


@dataclass(frozen=True, slots=True)
class RecordingPolicy:
    """What the settings in force do with people's words in one call."""

    engine: str
    """The name of the engine that people read."""
    transcribes: bool
    """Whether the engine transcribes what people say."""
    published_in: int | None = None
    """The channel where people's words are written; None if nowhere."""
    kept: bool = False
    """Whether a transcript is kept: of what the engine says, and, if it `transcribes`, of what people say."""
    opt_outs_unknown: bool = False
    """Whether earlier opt-outs are unknown, because the settings cannot be read."""

    @classmethod
    def of(cls, rules: GuildRules, *, engine: str, transcribes: bool, captions_in: int | None) -> Self:
        """The policy by `rules`, with captions in the channel `captions_in`, or (None) nowhere.

        While opt-outs are unknown, nothing is kept and nobody's words are published.
        """
        published = transcribes and rules.captions_of_people and not rules.opt_outs_unknown
        return cls(
            engine=engine,
            transcribes=transcribes,
            published_in=captions_in if published else None,
            kept=rules.transcripts and not rules.opt_outs_unknown,
            opt_outs_unknown=rules.opt_outs_unknown,
        )

    @property
    def needs_notice(self) -> bool:
        """Whether something is recorded, so that people must be told before."""
        return self.kept or self.published_in is not None

    @property
    def keeps_people(self) -> bool:
        """Whether what people say is in the transcript."""
        return self.kept and self.transcribes

    def without_records(self) -> Self:
        """The same, but nothing is kept and nobody's words are published."""
        return replace(self, published_in=None, kept=False)

    def records_more_than(self, told: Self) -> bool:
        """Whether it does more with people's words than a notice about `told` says."""
        more_kept = (self.kept and not told.kept) or (self.keeps_people and not told.keeps_people)
        return more_kept or (self.published_in is not None and self.published_in != told.published_in)
