"""The rules for a person's move: join, move, leave, or nothing. Pure: facts in, one decision out."""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Move:
    """A person (never a bot) moved from one voice channel of a guild to another; None is no channel."""

    person_id: int
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Join:
    """Somebody wants a call in this channel. The registry decides whether they get one now."""

    channel_id: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The last person has left the call's channel."""


@dataclass(frozen=True, slots=True)
class Follow:
    """The last person of the call moved to this channel: the call moves too."""

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

    `call` is the channel of this guild's call, or None. `people` says who is in which channel now, without bots. `closed` are channels
    that are never joined, such as the AFK channel. With `auto_join` off, a call is moved and ended, but never started.
    """
    if move.before == move.after:
        return Stay()
    goal = None if move.after in closed else move.after
    if call is not None and move.before == call and not people.get(call):
        return Leave() if goal is None else Follow(goal)
    if goal is None or goal == call or not auto_join:
        return Stay()
    return Join(goal)
