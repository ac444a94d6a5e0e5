"""What a person's move means for the bot. Pure: facts in, one decision out."""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Move:
    """One person (never a bot) went from one voice channel of a guild to another; None is no channel."""

    person_id: int
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Join:
    """Somebody wants a call in this channel. Whether they get one now is the registry's to say."""

    channel_id: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The last person has left the call's channel."""


@dataclass(frozen=True, slots=True)
class Follow:
    """The last person of the call went to this channel: the call goes with them."""

    channel_id: int


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing to do."""


Decision: TypeAlias = Join | Leave | Follow | Stay


def decide(
    move: Move,
    *,
    call: int | None,
    people: Mapping[int, AbstractSet[int]],
    auto_join: bool,
    closed: Collection[int] = (),
) -> Decision:
    """What to do after `move`.

    `call` is the channel of this guild's call, None where it has none; `people` says who sits where now, bots left out; `closed` are
    the channels that are never joined, as the AFK channel. With `auto_join` off a call is only kept and followed, never begun.
    """
    if move.before == move.after:
        return Stay()
    goal = None if move.after in closed else move.after
    if call is not None and move.before == call and not people.get(call):
        return Leave() if goal is None else Follow(goal)
    if goal is None or goal == call or not auto_join:
        return Stay()
    return Join(goal)
