"""What the bot says about the queue, time limits, idle calls, stages and permissions. Pure; `docs/troubleshooting.md` explains it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """The wait that is expected for a place in the queue."""

    seconds: float
    at_most: bool
    """It comes from the time limit alone (`bot.max_minutes`): the wait may be shorter, but hardly longer."""


CANNOT_TELL = "I cannot estimate the wait yet."
YOUR_TURN = "It is your turn now."
LEFT_THE_QUEUE = "You are no longer in the queue. To wait again, at its end, use `/join` or enter a voice channel."
DATABASE_AWAY = (
    "I cannot begin a conversation now, because my database cannot be reached. You keep your place: stay in the voice channel, and I come "
    "when the database is back and it is your turn."
)
NOT_IN_QUEUE = "Nobody in this server waits for me."
GOES_ON = "Nobody else waits any more. This conversation can continue."
TIME_IS_UP = (
    "The time for this conversation is up, because others are waiting. Stay in the voice channel, and I come back when it is your turn."
)
NOT_YOU = (
    "You cannot call me: the admins of this server allow it to certain roles only. Once I am in a channel, I talk with everybody there."
)
ASKED_TO_SPEAK = "This is a stage channel, and I have asked to speak. I speak as soon as a moderator allows it."
NOT_LET_SPEAK = "No moderator has allowed me to speak on this stage."
STAGE_CLOSED = "It is a stage channel, and I may not ask to speak there. Give my role the permission Request to Speak, or Mute Members."
LISTENING = "listening"
PAUSED = "paused"
RENEWING = "one moment, I hear you again in a few seconds"
ADMINS_ONLY = "Only members with the permission Manage Server can do that."
NOT_YOUR_CALL = "Only people in the voice channel of the call can do that, and people who may move members there or manage the channel."
NOT_YOUR_PLACE = "Only people in the voice channel that waits can do that, and people who may move members there or manage the channel."
NOT_KNOWN = "Nobody may use that, because it is missing from my list of permissions. Please report it."
SOMEBODY = "Somebody"
"""Stands for a name that may not be shown: not everybody who can read the notice can see the voice channel."""
NOT_HERE = "The admins of this server allow me in other channels only."


def counted(number: int, what: str) -> str:
    """A number of things: `counted(1, "line")` is "1 line", `counted(2, "line")` is "2 lines"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def too_often(in_s: float) -> str:
    """A person, or everybody in a server together, has used a command too often."""
    seconds = max(1, math.ceil(in_s))
    return f"That was used very often just now. It is possible again in {counted(seconds, 'second')}."


def moved_often(in_s: float) -> str:
    """The bot has changed channels too often."""
    return f"I have changed channels very often in this server. I come in about {max(1, math.ceil(in_s))} s if you are still there."


def waiting(number: int, expected: Estimate | None) -> str:
    """Every engine is busy."""
    return (
        f"I am busy with another conversation right now. You are number {number} in the queue. "
        f"Stay in the voice channel, and I come when it is your turn. {wait(expected)}"
    )


def wait(expected: Estimate | None) -> str:
    """The expected wait."""
    if expected is None:
        return CANNOT_TELL
    words = minutes(expected.seconds)
    return f"The wait is {words} at most." if expected.at_most else f"The wait is about {words}, judging by recent calls."


def in_queue(channel_id: int, number: int, expected: Estimate | None) -> str:
    """/queue: the place of one channel."""
    return f"<#{channel_id}> is number {number} in the queue. {wait(expected)}"


def minutes(seconds: float) -> str:
    """A time in whole minutes, rounded up."""
    whole = max(1, math.ceil(seconds / 60))
    return "a minute" if whole == 1 else counted(whole, "minute")


def time_is_short(in_s: float) -> str:
    """The time limit is nearly over, and others wait."""
    return f"Others are waiting for me. This conversation ends in {'a minute' if round(in_s) == 60 else f'{in_s:.0f} seconds'}."  # noqa: PLR2004


def minutes_are_short(share: float, limit: int) -> str:
    """Most of the minutes that a server has in 24 hours are used."""
    return f"This server has used {int(100 * share)} % of its {a_day(limit)}. I leave when they are used up."


def minutes_used_up(limit: int, free_at: float) -> str:
    """All of them are used. `free_at` is when there is another one, in seconds since 1970; Discord shows it in the reader's time zone."""
    return f"This server has used its {a_day(limit)}: the next one is free at <t:{math.ceil(free_at)}:f>, then use `/join` or enter again."


def a_day(limit: int) -> str:
    """The minutes that a server has in 24 hours."""
    return f"{counted(limit, 'minute')} a day"


def captions_in(thread_id: int) -> str:
    """The captions of the call go into a thread."""
    return f"The captions of this call are in <#{thread_id}>."


def busy(waiting_places: int) -> str:
    """The status line of the voice channel while others wait."""
    return f"busy, {waiting_places} waiting"


def idle(after_minutes: float) -> str:
    """Nobody has spoken for too long."""
    span = minutes(after_minutes * 60)
    return f"Nobody has said anything for a while ({span}), so I leave. To call me back, use `/join` or enter the channel again."
