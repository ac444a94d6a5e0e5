"""What is said about waiting, time, idleness, stages and who may call. Pure; `docs/troubleshooting.md` explains each sentence."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds until it is somebody's turn."""

    seconds: float
    at_most: bool
    """It comes from the time box alone: it may well be less, and hardly more."""


CANNOT_TELL = "How long that takes: I cannot tell yet."
YOUR_TURN = "It is your turn now."
LEFT_THE_QUEUE = "You do not wait for me any more. `/join`, or entering a voice channel, brings you back into the queue, at its end."
NOT_IN_QUEUE = "Nobody of this server waits for me."
GOES_ON = "Nobody else waits any more: this conversation can go on."
TIME_IS_UP = (
    "The time for this conversation is up, since others are waiting. Stay in the voice channel, and I come back when it is your turn."
)
NOT_YOU = "You cannot call me: the admins of this server chose by roles who can. Once I am in a channel I talk with everybody there."
ASKED_TO_SPEAK = "This is a stage, and I have asked to speak. I begin as soon as a moderator lets me."
NOT_LET_SPEAK = "Nobody has let me speak on this stage."
STAGE_CLOSED = "It is a stage on which I may not even ask to speak. Give my role the permission Request to Speak, or Mute Members."
LISTENING = "listening"
PAUSED = "paused"
ADMINS_ONLY = "Only who has the permission Manage Server can do that."
NOT_YOUR_CALL = "Only people who sit in the call's voice channel can do that, and people who may move members there or manage the channel."
NOT_YOUR_PLACE = (
    "Only people who sit in the voice channel that waits can do that, and people who may move members there or manage the channel."
)
NOT_KNOWN = "Nobody may use that: it is not in the list of who may do what. Please report it."
SOMEBODY = "Somebody"
"""Whose name is not told, since not everybody who reads the notice can see the voice channel."""
NOT_HERE = "The admins of this server want me in other channels."


def too_often(in_s: float) -> str:
    """Somebody, or everybody in a server together, asked for the same again and again."""
    seconds = max(1, math.ceil(in_s))
    return f"That was asked for very often just now. It is possible again in {seconds} {'second' if seconds == 1 else 'seconds'}."


def moved_often(in_s: float) -> str:
    """The bot was sent from channel to channel again and again, by whomever."""
    return (
        f"I have changed channels very often in this server just now. I come in about {max(1, math.ceil(in_s))} s, if you are still there."
    )


def waiting(number: int, expected: Estimate | None) -> str:
    """Every engine is taken."""
    return (
        f"I am busy with another conversation right now. You are number {number} in the queue: "
        f"stay in the voice channel, and I come as soon as it is your turn. {wait(expected)}"
    )


def wait(expected: Estimate | None) -> str:
    """How long that will take, as far as one can tell."""
    if expected is None:
        return CANNOT_TELL
    words = minutes(expected.seconds)
    return f"How long that takes: {words} at most." if expected.at_most else f"How long that takes: about {words}, going by recent calls."


def in_queue(channel_id: int, number: int, expected: Estimate | None) -> str:
    """Where somebody stands, for who asks."""
    return f"<#{channel_id}> is number {number} in the queue. {wait(expected)}"


def minutes(seconds: float) -> str:
    """A time in words that promise no more than they can keep."""
    whole = max(1, math.ceil(seconds / 60))
    return "a minute" if whole == 1 else f"{whole} minutes"


def time_is_short(in_s: float) -> str:
    """The time box is nearly over, and others wait."""
    return f"Others are waiting for me: this conversation ends in {'a minute' if round(in_s) == 60 else f'{in_s:.0f} seconds'}."  # noqa: PLR2004


def captions_in(thread_id: int) -> str:
    """The call has a thread of its own."""
    return f"What I say is written down in <#{thread_id}>."


def busy(waiting_places: int) -> str:
    """The voice channel's status line while others wait."""
    return f"busy, {waiting_places} waiting"


def idle(after_minutes: float) -> str:
    """Nobody has spoken for long."""
    span = minutes(after_minutes * 60)
    return f"Nobody has said anything for a while ({span}), so I leave. `/join`, or entering the channel again, calls me back."
