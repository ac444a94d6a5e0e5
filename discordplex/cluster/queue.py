"""ClusterQueue: who waits in all processes, and which calls run."""

import json
from collections.abc import Callable, Sequence

from discordplex.cluster.arbiter import LENGTHS
from discordplex.cluster.snapshot import NOBODY, Snapshot, WishKey, WishRow
from discordplex.queue_order import GuildCall, WaitingChannel

TICK_S = 1e-6


class ClusterQueue:
    """The waiting channels and the calls of this process, and those of the others: the port `SharedQueue`. Thread: loop."""

    shared = True

    def __init__(self, member: str, *, changed: Callable[[], None], now: Callable[[], float], connected: Callable[[], bool]) -> None:
        """`changed` is called where the others have to know something. `now` is the database's time, `connected` if it can be reached."""
        self._member = member
        self._changed = changed
        self._now = now
        self._connected = connected
        self._newest = 0.0
        self._own: dict[WishKey, WishRow] = {}
        self._lengths: list[float] = []
        self._snapshot = Snapshot()
        self.held = False
        """Whether what is published stays as it is."""

    @property
    def reachable(self) -> bool:
        """Whether the last beat succeeded."""
        return self._connected()

    def now(self) -> float:
        """The database's time, and later at each call."""
        self._newest = max(self._now(), self._newest + TICK_S)
        return self._newest

    def publish(self, waiting: Sequence[WaitingChannel], calls: Sequence[GuildCall]) -> None:
        """All waiting channels and calls of this process, as they are from now on. Ignored while it is held."""
        if self.held:
            return
        wishes = (
            WishRow(self._member, one.guild_id, one.channel_id, "call", turn=one.turn, since=one.since, ready=one.ready, kinds=one.kinds)
            for one in waiting
        )
        running = (
            WishRow(self._member, one.guild_id, one.channel_id, "running", turn=one.turn, since=one.since, ready=one.lasts) for one in calls
        )
        own = {wish.key: wish for wish in (*wishes, *running)}
        if own != self._own:
            self._own = own
            self._changed()

    def hold(self, hold: bool) -> None:  # noqa: FBT001 - the only word
        """Keep what was published last, although its calls end; or, with False, forget it: another login begins with nobody."""
        if self.held and not hold:
            self._own = {}
        self.held = hold

    def ended(self, length_s: float) -> None:
        """A call that heard people has ended after so long."""
        self._lengths.append(length_s)
        self._changed()

    @property
    def waiting_elsewhere(self) -> Sequence[WaitingChannel]:
        """The channels that wait in other processes and have been granted nothing."""
        granted = {(slot.holder, slot.guild_id) for slot in self._snapshot.slots.values() if slot.guild_id is not None}
        return [
            WaitingChannel(one.guild_id, one.channel_id, one.turn, one.since, one.ready, one.kinds)
            for one in self._others
            if one.purpose == "call" and (one.holder, one.guild_id) not in granted
        ]

    @property
    def calls_elsewhere(self) -> Sequence[GuildCall]:
        """The calls of other processes."""
        return [GuildCall(one.guild_id, one.channel_id, one.since, one.turn, one.ready) for one in self._others if one.purpose == "running"]

    @property
    def lengths_s(self) -> Sequence[float]:
        """How long the newest calls of all processes lasted, the newest last."""
        return [float(one) for one in json.loads(self._snapshot.facts.get(LENGTHS, "[]"))]

    def is_known(self, guild_id: int, channel_id: int) -> bool:
        """Whether the rows say of this channel of ours what was published last."""
        key: WishKey = (self._member, guild_id, channel_id, "call")
        return key in self._own and self._snapshot.wishes.get(key) == self._own[key]

    # For the beat

    @property
    def own(self) -> tuple[WishRow, ...]:
        """What was published last."""
        return tuple(self._own.values())

    @property
    def lengths(self) -> tuple[float, ...]:
        """The lengths of calls that the others do not know yet."""
        return tuple(self._lengths)

    def apply(self, after: Snapshot, known: int) -> None:
        """The rows are `after`, with so many of `lengths` in them."""
        self._snapshot = after
        del self._lengths[:known]

    @property
    def _others(self) -> list[WishRow]:
        wishes = self._snapshot.wishes.values()
        back = {wish.guild_id for wish in (*self._own.values(), *wishes) if wish.holder != NOBODY}
        others = (wish for wish in wishes if wish.holder != self._member and wish.guild_id > 0)
        return [wish for wish in others if wish.holder != NOBODY or wish.guild_id not in back]
