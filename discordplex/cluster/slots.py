"""ClusterSlots: the engine slots that this process may use."""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from discordplex.clock import Clock
from discordplex.cluster.arbiter import DISTRUST_S, OwnSide, SlotReport
from discordplex.cluster.snapshot import TTL_S, SlotRow, Snapshot, WishRow
from discordplex.engine_slots import SlotPurpose, SlotUser

WISH_S = 2.0
"""How long a wish lasts unless it is repeated, and how long its maker waits for an answer."""

GRANT_S = 1.0
"""How long a slot is kept that was granted for a new call and that no call takes."""

SHUN_S = 5.0
"""How long a guild that did not take the slot that it was granted gets no other one: others may be able to start."""


@dataclass(slots=True)
class SlotUse:
    """A slot that a conversation of this process has."""

    purpose: SlotPurpose
    user: SlotUser
    asked_back: bool = False


@dataclass(slots=True)
class SlotWish:
    """A wish that is not granted yet, or granted and not taken."""

    number: int
    kinds: tuple[str, ...]
    since: float
    """When it was changed last."""
    until: float
    asked: float
    """When it was made: who has waited longest comes first."""
    turn: float | None = None
    """The same by the database's clock, from the first beat on that carries it."""
    carried: bool = False
    """Whether a beat has told it to the others, so that it is granted if it can be."""


class ClusterSlots:
    """Which slots this process has, uses, wants and has learned something of: the port `EngineSlots`. Thread: loop."""

    shared = True

    def __init__(self, clock: Clock, *, changed: Callable[[], None], beat: Callable[[], Awaitable[bool]]) -> None:
        """`changed` is called where other processes have to know something; `beat` tells them now, and returns whether that succeeded."""
        self._clock = clock
        self._changed = changed
        self._beat = beat
        self._names: dict[str, None] = {}
        self._uses: dict[str, SlotUse] = {}
        self._granted: dict[str, float] = {}
        """Slots that are ours and not in use, and since when."""
        self._returned: set[str] = set()
        self._wishes: dict[tuple[SlotPurpose, object], SlotWish] = {}
        self._numbers = itertools.count(1)
        self._reports: dict[str, SlotReport] = {}
        self._shunned: dict[int, float] = {}
        self._valid_until = float("-inf")
        self._snapshot = Snapshot()
        self._seen_at = float("-inf")

    def declare(self, slots: Iterable[str]) -> None:
        """These slots are in the configuration of this process."""
        self._names |= dict.fromkeys(slots)
        self._changed()

    def may_take(self, slot: str, purpose: SlotPurpose) -> bool:
        """Whether it was granted for this purpose, is not in use, and cannot be lost yet."""
        granted = slot in self._granted and self._row(slot).purpose == purpose
        return granted and self._clock.now() < self._valid_until

    def take(self, slot: str, purpose: SlotPurpose, wisher: object, user: SlotUser) -> None:
        """Use the slot, or use it for something else from now on. Ends the wish."""
        self._granted.pop(slot, None)
        self._wishes.pop((purpose, wisher), None)
        self._uses[slot] = SlotUse(purpose, user)
        self._changed()

    def give_back(self, slot: str) -> None:
        """No socket on it is open any more: others may have it."""
        if self._uses.pop(slot, None):
            self._returned.add(slot)
            self._changed()

    def is_elsewhere(self, slot: str) -> bool:
        """Whether another process has the slot, as of the last beat."""
        return slot not in self._uses and slot not in self._granted and self._row(slot).holder is not None and slot not in self._returned

    def may_be_busy(self, slot: str) -> bool:
        """Whether its last holder died with it, a short while ago."""
        lapsed_at = self._row(slot).lapsed_at
        return bool(lapsed_at) and self._now() < lapsed_at + DISTRUST_S

    def want(self, purpose: SlotPurpose, wisher: object, kinds: Sequence[str]) -> None:
        """Wish for a slot of one of these kinds, for the next 2 s."""
        wish, now = self._wishes.get((purpose, wisher)), self._clock.now()
        if wish is None or now >= wish.until:
            self._wishes[purpose, wisher] = SlotWish(next(self._numbers), tuple(kinds), now, now + WISH_S, asked=now)
        elif wish.kinds != tuple(kinds):
            self._wishes[purpose, wisher] = replace(wish, kinds=tuple(kinds), since=now, until=now + WISH_S, carried=False)
        else:
            wish.until = now + WISH_S
            return
        self._changed()

    def is_pending(self, purpose: SlotPurpose, wisher: object) -> bool:
        """Whether no beat has carried this wish yet; for 2 s, and then nobody can tell."""
        wish = self._wishes.get((purpose, wisher))
        return wish is not None and not wish.carried and self._clock.now() < wish.since + WISH_S

    async def answered(self, purpose: SlotPurpose, wisher: object) -> None:
        """Return when the others know of the wish, so that it is granted if it can be; or after 2 s."""
        del purpose, wisher  # a beat carries all wishes
        deadline = self._clock.now() + WISH_S
        while not await self._beat() and self._clock.now() < deadline:
            pass

    def report(self, slot: str, failures: int, pause_s: float) -> None:
        """Tell every process what is known of the slot's server."""
        self._reports[slot] = SlotReport(failures, pause_s)
        self._changed()

    def failures(self, slot: str) -> int:
        """How often in a row it has failed, in any process."""
        return self._row(slot).failures

    def paused_s(self, slot: str) -> float:
        """For how long it is avoided, in all processes."""
        report = self._reports.get(slot)
        return report.pause_s if report else max(0.0, self._row(slot).paused_until - self._now())

    # For the beat

    def own_side(self, member: str, wishes: Sequence[WishRow], before: Snapshot) -> OwnSide:
        """What the rows shall say of this process's slots. What is given back with this cannot be taken from now on."""
        now = self._clock.now()
        self._shunned = {guild_id: until for guild_id, until in self._shunned.items() if until > now}
        self._wishes = {key: wish for key, wish in self._wishes.items() if wish.until > now}
        for made in self._wishes.values():
            made.turn = before.now - (now - made.asked) if made.turn is None else made.turn
        ready = {wish.guild_id for wish in wishes if wish.purpose == "call" and wish.ready}
        wanted = ready | {-wish.number for wish in self._wishes.values()}
        for slot, since in [*self._granted.items()]:
            row = before.slots.get(slot, SlotRow(slot))
            too_late = row.purpose == "call" and now >= since + GRANT_S
            if too_late and row.guild_id in ready:
                self._shunned[row.guild_id] = now + SHUN_S
            if too_late or row.asked_back or row.guild_id not in wanted:
                del self._granted[slot]
                self._returned.add(slot)
        return OwnSide(
            member,
            slots=tuple(self._names),
            uses={slot: use.purpose for slot, use in self._uses.items()},
            returned=frozenset(self._returned),
            wishes=(
                *(replace(wish, ready=False) if wish.guild_id in self._shunned else wish for wish in wishes),
                *(
                    WishRow(member, -wish.number, 0, purpose, since=wish.turn or 0.0, kinds=wish.kinds)
                    for (purpose, _), wish in self._wishes.items()
                ),
            ),
            reports=dict(self._reports),
        )

    def apply(self, after: Snapshot, own: OwnSide, *, begun: float, now: float) -> None:
        """The rows are `after` as of `now`; the transaction with `own` began at `begun`."""
        self._snapshot, self._seen_at, self._valid_until = after, now, begun + TTL_S
        self._returned -= own.returned
        carried = {(wish.guild_id, wish.kinds) for wish in own.wishes}
        for wish in self._wishes.values():
            wish.carried = wish.carried or (-wish.number, wish.kinds) in carried
        self._reports = {slot: report for slot, report in self._reports.items() if own.reports.get(slot) != report}
        mine = {name for name, slot in after.slots.items() if slot.holder == own.member}
        self._granted = {name: self._granted.get(name, now) for name in mine - self._uses.keys() - self._returned}
        for slot, use in [*self._uses.items()]:
            if slot in own.uses and slot not in mine:
                del self._uses[slot]
                use.user.lost()
            elif use.purpose == "spare" and use.asked_back != after.slots[slot].asked_back:
                use.asked_back = not use.asked_back
                if use.asked_back:
                    use.user.asked_back()

    def _row(self, slot: str) -> SlotRow:
        return self._snapshot.slots.get(slot) or SlotRow(slot)

    def _now(self) -> float:
        """The database's time, as far as is known."""
        return self._snapshot.now + self._clock.now() - self._seen_at
