"""ClusterQueue: who waits in all processes, and which calls run."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from discordplex.cluster.arbiter import LENGTHS
from discordplex.cluster.snapshot import Snapshot, WishKey, WishRow


class ClusterQueue:
    """The waiting channels and the calls of this process, and those of the others. Thread: loop; all methods return at once."""

    def __init__(self, member: str, changed: Callable[[], None]) -> None:
        """`changed` is called where the other processes have to know something."""
        self._member = member
        self._changed = changed
        self._own: tuple[WishRow, ...] = ()
        self._lengths: list[float] = []
        self._snapshot = Snapshot()

    def publish(self, wishes: Sequence[WishRow]) -> None:
        """All waiting channels and calls of this process, as they are from now on."""
        own = tuple(replace(wish, holder=self._member) for wish in wishes)
        if own != self._own:
            self._own = own
            self._changed()

    def ended(self, length_s: float) -> None:
        """A call that heard people has ended after so long."""
        self._lengths.append(length_s)
        self._changed()

    @property
    def others(self) -> Sequence[WishRow]:
        """The waiting channels and calls of the other processes."""
        return [wish for wish in self._snapshot.wishes.values() if wish.holder != self._member and wish.guild_id > 0]

    def is_known(self, guild_id: int, channel_id: int) -> bool:
        """Whether the others know that this channel of ours waits, so that its place in the queue is known, too."""
        key: WishKey = (self._member, guild_id, channel_id, "call")
        return key in self._snapshot.wishes

    @property
    def lengths_s(self) -> Sequence[float]:
        """How long the newest calls of all processes lasted, the newest last."""
        return [float(one) for one in json.loads(self._snapshot.facts.get(LENGTHS, "[]"))]

    # For the beat

    @property
    def own(self) -> tuple[WishRow, ...]:
        """What was published last."""
        return self._own

    @property
    def lengths(self) -> tuple[float, ...]:
        """The lengths of calls that the others do not know yet."""
        return tuple(self._lengths)

    def apply(self, after: Snapshot, known: int) -> None:
        """The rows are `after`, with so many of `lengths` in them."""
        self._snapshot = after
        del self._lengths[:known]
