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
    transcribed_by: str = ""
    """Who transcribes it beside an engine that does not, as people read it; empty: nobody."""
    recap_by: str = ""
    """Who sums up what people say for the engine's next conversation, as people read it; empty: nobody."""
    published_in: int | None = None
    """The channel where people's words are written; None if nowhere."""
    kept: bool = False
    """Whether a transcript is kept: of what the engine says, and, if anybody transcribes it, of what people say."""
    notes: bool = False
    """Whether notes are posted when the call has ended."""
    summed_up_by: str = ""
    """Who gets the transcript for the notes, as people read it; empty: nobody."""
    opt_outs_unknown: bool = False
    """Whether earlier opt-outs are unknown, because the settings cannot be read."""

    @classmethod
    def of(
        cls,
        rules: GuildRules,
        *,
        engine: str,
        transcribes: bool,
        captions_in: int | None,
        ears: str = "",
        recap: str = "",
        summarizer: str = "",
    ) -> Self:
        """The policy by `rules`, with captions in the channel `captions_in`, or (None) nowhere.

        `ears` is who would transcribe beside the engine, `recap` who would sum up a call for the engine's next conversation, `summarizer`
        who would sum it up for its notes; empty: nobody. While opt-outs are unknown, nothing is kept, nobody's words are published, and
        nobody but the engine gets them.
        """
        notes = rules.notes and rules.transcripts and not rules.opt_outs_unknown
        transcribed_by = "" if transcribes or rules.opt_outs_unknown else ears
        has_words = (transcribes or bool(transcribed_by)) and not rules.opt_outs_unknown
        published = has_words and rules.captions_of_people
        return cls(
            engine=engine,
            transcribes=transcribes,
            transcribed_by=transcribed_by,
            recap_by=recap if has_words else "",
            published_in=captions_in if published else None,
            kept=rules.transcripts and not rules.opt_outs_unknown,
            notes=notes,
            summed_up_by=summarizer if notes else "",
            opt_outs_unknown=rules.opt_outs_unknown,
        )

    @property
    def needs_notice(self) -> bool:
        """Whether something is recorded, or sent to more than the engine, so that people must be told before."""
        return self.kept or self.published_in is not None or bool(self.transcribed_by or self.recap_by)

    @property
    def has_words(self) -> bool:
        """Whether what people say becomes text."""
        return self.transcribes or bool(self.transcribed_by)

    @property
    def keeps_people(self) -> bool:
        """Whether what people say is in the transcript."""
        return self.kept and self.has_words

    def without_records(self) -> Self:
        """The same, but nothing is kept or posted, nobody's words are published, and only the engine hears them."""
        return replace(self, published_in=None, kept=False, transcribed_by="", recap_by="", notes=False, summed_up_by="")

    def records_more_than(self, told: Self) -> bool:
        """Whether it does more with people's words than a notice about `told` says."""
        more_kept = (self.kept and not told.kept) or (self.keeps_people and not told.keeps_people)
        more_hear = bool(self.transcribed_by) and self.transcribed_by != told.transcribed_by
        more_hear = more_hear or (bool(self.recap_by) and self.recap_by != told.recap_by)
        more_notes = (self.notes and not told.notes) or (bool(self.summed_up_by) and self.summed_up_by != told.summed_up_by)
        return more_kept or more_hear or more_notes or (self.published_in is not None and self.published_in != told.published_in)
