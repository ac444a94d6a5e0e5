"""The notes of a call, posted when it has ended, and what is said about them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from discordplex.bot.texts.calls import length, named, told
from discordplex.bot.texts.markdown import PIECE_LIMIT, harmless, split
from discordplex.plaintext import one_line

DELETE = "Delete these notes"
"""A button."""

DELETED = "The notes are deleted."
NO_LONGER_THERE = "The notes are not there any more."
MAY_NOT_DELETE = "Discord did not let me delete the notes. A moderator can delete them like any other message."
NEED_TRANSCRIPTS = "Notes are made from transcripts, and transcripts are off. Use `/settings transcripts` first."

MOST_NAMED = 12
"""How many people the notes name."""
LONGEST_SUMMARY = 600
LONGEST_ITEM = 140
MOST_ITEMS = 5
"""Characters of the summary and of each decision and question, and how many of each."""

NotedTime = tuple[datetime, str]
"""When something was said, and what."""


@dataclass(frozen=True, slots=True)
class CallNotes:
    """What is known of a call that has ended."""

    channel_id: int
    began_at: datetime
    seconds: float
    people: Sequence[tuple[str, float]] = ()
    """Names of those who were there, and for how many seconds."""
    unnamed: int = 0
    """How many more were there, whom the notes may not name."""
    summary: str = ""
    decisions: Sequence[NotedTime] = ()
    questions: Sequence[NotedTime] = ()
    summarized_from: datetime | None = None
    """From when on the summary covers the call; None: all of it."""
    problem: str = ""
    """Why there is no summary, as a sentence; empty if there is one, or none was wanted."""


def notes(about: CallNotes) -> str:
    """The notes as one message."""
    lines = [f"📝 Notes of the call in <#{about.channel_id}>, {moment(about.began_at, 'f')}, {length(about.seconds)}."]
    people = [f"{named(name)} ({length(seconds)})" for name, seconds in about.people[:MOST_NAMED]]
    more = len(about.people) - len(people) + about.unnamed
    if more:
        people.append(f"{more} more" if people else f"{more} {'person' if more == 1 else 'people'}")
    if people:
        lines.append(f"**There:** {', '.join(people)}")
    if about.summary:
        since = f" (from {moment(about.summarized_from, 't')} on)" if about.summarized_from else ""
        lines.append(f"**Summary{since}:** {foreign(about.summary, LONGEST_SUMMARY)}")
    for title, items in (("Decisions", about.decisions), ("Open questions", about.questions)):
        if items:
            lines.append(f"**{title}:**")
            lines += [f"- {moment(at, 't')} {foreign(text, LONGEST_ITEM)}" for at, text in items[:MOST_ITEMS]]
    if about.problem:
        lines.append(f"There is no summary. {told(about.problem)}")
    text = "\n".join(lines)
    return text if len(text) <= PIECE_LIMIT else f"{next(split(text, PIECE_LIMIT - 2))} …"


def moment(at: datetime, style: str) -> str:
    """A time that Discord shows each reader in their own time zone."""
    return f"<t:{int(at.timestamp())}:{style}>"


def foreign(text: str, most: int) -> str:
    """What a chat model wrote: one harmless line of limited length."""
    flat = one_line(text)
    return harmless(flat if len(flat) <= most else f"{flat[: most - 1].rstrip()}…")
