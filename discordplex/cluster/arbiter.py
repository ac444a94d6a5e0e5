"""The arbiter: from what the rows say, and from what one process has and wants, to what they shall say. Pure.

It runs in one process at a time, under a lock of the database. Each process takes and releases shards for itself only, but grants free
slots to wishes of all: who comes first gets the next one, whichever process notices that it is free.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from discordplex.cluster.snapshot import NOBODY, TTL_S, MemberRow, ShardRow, SlotRow, Snapshot, WishKey, WishRow, kind_of
from discordplex.engine_slots import SlotPurpose
from discordplex.queue_order import in_order

LOGIN_SPACING_S = 6.0
"""Discord allows one login of a group in 5 s; the rest is for the way there."""

MOVE_PAUSE_S = 5.0
"""A shard that is logged in is released for the sake of balance at most this often: each is away from Discord until its next login."""

DISTRUST_S = 120.0
"""How long a slot whose holder died is taken last: a holder that is only frozen may still be connected to its server."""

LONGEST_PAUSE_S = 900.0
"""A slot that is paused for longer was paused before the database's clock was set back: nothing is avoided for so long."""

RETURN_S = 10.0
"""How long after its shard has logged in a guild whose process is gone keeps its place: so long it takes at most to ask again."""

MOST_UNCLAIMED_S = 60.0
"""How long it keeps its place while no process takes its shard."""

MOST_LENGTHS = 50
"""How many of the newest calls' lengths are kept, for estimates."""

BOT, SHARDS, LENGTHS, PASSING = "bot", "shards", "lengths", "passing"
"""The facts: the id of the bot's user; into how many shards the bot is divided; how long the newest calls lasted, as JSON; which members
claim no shard for now, because they could not connect one, as JSON."""


@dataclass(frozen=True, slots=True)
class SlotReport:
    """What a process has learned of a slot."""

    failures: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class OwnSide:
    """What one process is, has, has learned and wants."""

    member: str
    name: str = ""
    version: str = ""
    slots: tuple[str, ...] = ()
    """The slots of its configuration."""
    draining: bool = False
    """It takes nothing new: it ends, or does not reach Discord."""
    ending: bool = False
    """Its calls end: their guilds keep their places, and those of who waits, until another process has their shards."""
    leaving: bool = False
    """It gives back everything."""
    unconnected: frozenset[int] = frozenset()
    """Shards that it could not connect, while it had others: if another process may have them, it gives them up and claims none."""
    may_bury: bool = True
    """Whether it has seen the cluster for long enough to tell who is dead."""
    shards: frozenset[int] = frozenset()
    """Those that it holds, as far as it knows."""
    busy: frozenset[int] = frozenset()
    """Of these, those with calls."""
    uses: Mapping[str, SlotPurpose] = field(default_factory=dict)
    """The slots that its calls have, and for what."""
    returned: frozenset[str] = frozenset()
    """Slots that it does not need any more, or did not take."""
    wishes: tuple[WishRow, ...] = ()
    reports: Mapping[str, SlotReport] = field(default_factory=dict)
    bot: str = ""
    """The id of its bot's user; empty while it does not know it."""
    shard_count: int | None = None
    """Into how many shards it would divide the bot; None if it does not know."""
    outgrown: bool = False
    """Whether Discord refuses the number that the others have: a larger one replaces it."""
    logins: Mapping[int, int] = field(default_factory=dict)
    """The shards for which it wants a turn to log in, each with Discord's `max_concurrency`."""
    lengths: tuple[float, ...] = ()
    """The lengths of calls that have ended, in seconds."""


def arbitrate(before: Snapshot, own: OwnSide) -> Snapshot:
    """The rows after this process's beat."""
    if own.leaving:
        return without(before, {own.member}, died=False)
    if not others_take_part(before, own.member):
        own = replace(own, unconnected=frozenset())
    after = renewed(without_old_times(before), own)
    if own.may_bury:
        after = without(after, {one for one in after.members if not after.is_alive(one)}, died=True)
    after = counted(after, own)
    shards = dict(after.shards)
    for shard in own.shards & shards.keys():
        if shards[shard].holder is None:  # the others took this process for dead, and nobody took its place
            shards[shard] = replace(shards[shard], holder=own.member, moved_at=after.now)
    share_shards(shards, after, own)
    book_logins(shards, after.now, own)
    after = replace(after, shards=shards, slots=reported(after, own))
    after = replace(after, wishes=wished(after, own))
    return replace(after, slots=share_slots(after))


def others_take_part(state: Snapshot, member: str) -> bool:
    """Whether another process lives and claims shards."""
    return any(state.is_alive(name) for name in claiming(state) if name != member)


def claiming(state: Snapshot) -> list[str]:
    """The processes that claim shards."""
    passing = json.loads(state.facts.get(PASSING, "[]"))
    return [name for name, row in state.members.items() if not row.draining and name not in passing]


def without_old_times(before: Snapshot) -> Snapshot:
    """The rows without times that nobody has written by the database's clock of now: it was set back."""
    now = before.now
    last_login = now + LOGIN_SPACING_S * (len(before.shards) + 1)
    shards = {
        number: replace(shard, moved_at=min(shard.moved_at, now), login_at=shard.login_at if shard.login_at <= last_login else now)
        for number, shard in before.shards.items()
    }
    slots = {
        name: replace(
            slot,
            paused_until=slot.paused_until if slot.paused_until <= now + LONGEST_PAUSE_S else 0.0,
            lapsed_at=min(slot.lapsed_at, now),
        )
        for name, slot in before.slots.items()
    }
    return replace(before, shards=shards, slots=slots)


def without(before: Snapshot, gone: set[str], *, died: bool) -> Snapshot:
    """Free everything of these members."""
    if not gone:
        return before
    now = before.now
    slots = {
        name: replace(freed(slot), lapsed_at=now if died else slot.lapsed_at) if slot.holder in gone else slot
        for name, slot in before.slots.items()
    }
    shards = {number: released(shard, now) if shard.holder in gone else shard for number, shard in before.shards.items()}
    members = {name: member for name, member in before.members.items() if name not in gone}
    staying = {key: wish for key, wish in before.wishes.items() if wish.holder not in gone}
    kept = (place_of(wish, before.members.get(wish.holder)) for wish in before.wishes.values() if wish.holder in gone)
    return replace(before, members=members, shards=shards, slots=slots, wishes={one.key: one for one in kept if one} | staying)


def place_of(wish: WishRow, member: MemberRow | None) -> WishRow | None:
    """The place in the queue that a guild keeps whose process is gone: with a call, the one that its call had."""
    if wish.purpose not in ("call", "running") or wish.guild_id <= 0 or member is None:
        return None
    kinds = wish.kinds or tuple(dict.fromkeys(kind_of(slot) for slot in member.slots))
    return replace(wish, holder=NOBODY, purpose="call", turn=wish.turn or wish.since, ready=True, kinds=kinds)


def released(shard: ShardRow, now: float) -> ShardRow:
    """A shard that anybody may take; a turn to log in that it has not used is free again."""
    return replace(shard, holder=None, moved_at=now, login_at=0.0 if shard.login_at > now else shard.login_at)


def freed(slot: SlotRow) -> SlotRow:
    """A slot that anybody may have."""
    return replace(slot, holder=None, guild_id=None, purpose="call", asked_back=False)


def renewed(before: Snapshot, own: OwnSide) -> Snapshot:
    """The member lives for another while."""
    now, known = before.now, before.members.get(own.member)
    member = MemberRow(
        member=own.member,
        name=own.name,
        version=own.version,
        slots=own.slots,
        draining=own.draining,
        started_at=known.started_at if known else now,
        expires_at=now + TTL_S,
    )
    return replace(before, members={**before.members, own.member: member})


def counted(before: Snapshot, own: OwnSide) -> Snapshot:
    """Whose the cluster is and the number of shards are set by a process that is alone; each adds what it knows to the others."""
    facts = dict(before.facts)
    alone = before.members.keys() == {own.member}
    if own.bot and (BOT not in facts or alone):
        facts[BOT] = own.bot
    if own.shard_count is not None and (SHARDS not in facts or alone or (own.outgrown and own.shard_count > int(facts[SHARDS]))):
        facts[SHARDS] = str(own.shard_count)
    if own.lengths:
        facts[LENGTHS] = json.dumps([*json.loads(facts.get(LENGTHS, "[]")), *(round(one, 1) for one in own.lengths)][-MOST_LENGTHS:])
    if own.unconnected or PASSING in facts:
        passing = {name for name in json.loads(facts.get(PASSING, "[]")) if name in before.members and name != own.member}
        facts[PASSING] = json.dumps(sorted(passing | ({own.member} if own.unconnected else set())))
    count = int(facts.get(SHARDS, "0"))
    shards = {number: before.shards.get(number) or ShardRow(number) for number in range(count)}
    if len(before.shards) not in (0, count):
        shards = {number: ShardRow(number) for number in range(count)}
    return replace(before, facts=facts, shards=shards)


# Shards


def share_shards(shards: dict[int, ShardRow], state: Snapshot, own: OwnSide) -> None:
    """Claim free shards where others have no fewer, or release idle ones where another process has at least two fewer.

    Only those move that serve nobody, and nobody gets more than one more than whoever has fewest: each moves once at most.
    """
    idle = [shard for shard in shards.values() if shard.holder == own.member and shard.shard not in own.busy]
    if own.draining or own.unconnected:
        for shard in idle:
            if own.draining or shard.shard in own.unconnected:
                shards[shard.shard] = released(shard, state.now)
        return
    have = dict.fromkeys(claiming(state), 0)
    for shard in shards.values():
        if shard.holder in have:
            have[shard.holder] += 1
    free = sorted((shard for shard in shards.values() if shard.holder is None), key=lambda shard: shard.shard)
    shares = filled(have, len(free))
    share = shares[own.member]
    for claimed in free[: share - have[own.member]]:
        login_at = claimed.login_at if claimed.login_at > state.now - LOGIN_SPACING_S else 0.0
        shards[claimed.shard] = replace(claimed, holder=own.member, moved_at=state.now, login_at=login_at)
    if share - min(shares.values()) <= 1:
        return
    may_move = not free and is_calm(state, shards, others_first=share < max(shares.values()))
    fair = -(-sum(shares.values()) // len(shares))
    for shard in to_release(idle, max(1, share - fair), may_move=may_move, now=state.now):
        shards[shard.shard] = released(shard, state.now)


def filled(have: Mapping[str, int], free: int) -> dict[str, int]:
    """How many shards each process has when the free ones have gone, one by one, to whoever has fewest then."""
    fewest = [(number, name) for name, number in have.items()]
    heapq.heapify(fewest)
    for _ in range(free):
        number, name = fewest[0]
        heapq.heapreplace(fewest, (number + 1, name))
    return {name: number for number, name in fewest}


def is_calm(state: Snapshot, shards: Mapping[int, ShardRow], *, others_first: bool) -> bool:
    """Whether no shard has moved lately. `others_first`: nor has a process joined, so that those who have more shards cannot give any."""
    changes = [shard.moved_at for shard in shards.values()]
    if others_first:  # a process that started later than now did so before the database's clock was set back
        changes += (member.started_at for member in state.members.values() if member.started_at <= state.now)
    return max(changes) <= state.now - MOVE_PAUSE_S * (2 if others_first else 1)


def to_release(idle: Iterable[ShardRow], number: int, *, may_move: bool, now: float) -> list[ShardRow]:
    """Up to so many shards: those that wait for their login, else one that is logged in where that may move."""
    newest_first = sorted(idle, key=lambda shard: (shard.login_at or now, shard.shard), reverse=True)
    waiting = [shard for shard in newest_first if shard.login_at > now or not shard.login_at]
    return waiting[:number] or (newest_first[:1] if may_move else [])


def book_logins(shards: dict[int, ShardRow], now: float, own: OwnSide) -> None:
    """Give each shard that wants to log in the next free turn of its group, which is kept for it until then."""
    for number, max_concurrency in sorted(own.logins.items()):
        shard = shards.get(number)
        if shard is not None and shard.holder == own.member and shard.login_at <= now:
            shards[number] = replace(shard, login_at=next_turn(shards, number, max_concurrency, now))


def next_turn(shards: Mapping[int, ShardRow], number: int, max_concurrency: int, now: float) -> float:
    """When a shard may log in: Discord counts those together that have the same remainder by `max_concurrency`."""
    turns = sorted(shard.login_at for shard in shards.values() if (shard.shard - number) % max_concurrency == 0)
    at = now
    for turn in turns:
        if turn - LOGIN_SPACING_S < at < turn + LOGIN_SPACING_S:
            at = turn + LOGIN_SPACING_S
    return at


# Engine slots


def reported(state: Snapshot, own: OwnSide) -> dict[str, SlotRow]:
    """The slots that any member has configured, with what this one does with them and knows of them."""
    slots = {name: state.slots.get(name) or SlotRow(name) for name in own.slots}
    known = {name for member in state.members.values() for name in member.slots}
    slots |= {name: slot for name, slot in state.slots.items() if name in known or slot.holder is not None}
    for name in own.returned & slots.keys():
        if slots[name].holder == own.member:
            slots[name] = freed(slots[name])
    for name, purpose in own.uses.items():
        slot = slots.get(name) or SlotRow(name)
        if slot.holder in (None, own.member):  # None: the others took this process for dead
            is_asked_back = slot.asked_back and purpose == "spare"
            slots[name] = replace(slot, holder=own.member, guild_id=None, purpose=purpose, asked_back=is_asked_back)
    for name, report in own.reports.items():
        if name in slots:
            slot, is_paused = slots[name], report.pause_s > 0
            is_held = is_paused and not report.failures and bool(slot.lapsed_at)  # by the process that had it
            slots[name] = replace(
                slot,
                failures=report.failures,
                paused_until=state.now + report.pause_s if is_paused else 0.0,
                lapsed_at=state.now if is_held else slot.lapsed_at if is_paused else 0.0,
            )
    return slots


def wished(state: Snapshot, own: OwnSide) -> dict[WishKey, WishRow]:
    """The wishes of all members, and the places of guilds whose process is gone and that have not asked again.

    A process that stood still has calls and waiting channels in guilds that are another one's by now: it speaks no more for these. One that
    ends speaks for nobody.
    """
    mine = {wish.key: wish for wish in own.wishes if not own.ending and state.may_speak(own.member, wish.guild_id)}
    members = {key: wish for key, wish in state.wishes.items() if wish.holder not in (own.member, NOBODY)} | mine
    back = {wish.guild_id for wish in members.values() if wish.ready or wish.purpose == "running"}
    lost = (place_of(wish, state.members.get(own.member)) for wish in own.wishes if wish.key not in mine)
    places = {wish.key: wish for wish in lost if wish} | {key: wish for key, wish in state.wishes.items() if wish.holder == NOBODY}
    kept = {key: wish for key, wish in places.items() if wish.guild_id not in back and is_away(wish.guild_id, state)}
    return kept | members


def is_away(guild_id: int, state: Snapshot) -> bool:
    """Whether no process knows yet who is in this guild, because its shard has moved or logs in just now, or is about to move."""
    if not state.shards:
        return False
    shard = state.shard_of(guild_id)
    holder = state.members.get(shard.holder or NOBODY)
    if holder is not None and holder.draining:
        return True
    lasts_s = MOST_UNCLAIMED_S if shard.holder is None else RETURN_S
    return state.now < max(shard.moved_at, shard.login_at) + lasts_s


def share_slots(state: Snapshot) -> dict[str, SlotRow]:
    """Grant free slots: to calls whose engine failed, then to new calls in their order, then as spares. Ask spares back for the former.

    What falls to a guild whose process is gone is kept for it: those who came later do not get it meanwhile.
    """
    slots = dict(state.slots)
    granted = {(slot.holder, slot.guild_id, slot.purpose) for slot in slots.values() if slot.holder and slot.guild_id is not None}
    spares = {name for name, slot in slots.items() if slot.holder and slot.purpose == "spare"}
    needed: set[str] = set()
    # Hundreds may wait, and what one cannot have, the next one like it cannot have either.
    hopeless = set[object]()
    configured = {name: hash(member.slots) for name, member in state.members.items()}
    for wish in to_be_served(state):
        if (wish.holder, wish.guild_id, wish.purpose) in granted:
            continue
        alike = (configured.get(wish.holder), wish.kinds, wish.purpose)
        slot = None if alike in hopeless else best_slot(slots.values(), wish, state)
        if slot is not None:
            purpose: SlotPurpose = "call" if wish.purpose == "running" else wish.purpose
            slots[slot.slot] = replace(slot, holder=wish.holder, guild_id=wish.guild_id, purpose=purpose)
            continue
        hopeless.add(alike)
        if wish.purpose != "spare":
            fitting = [name for name in spares - needed if fits(slots[name], wish, state)]
            needed |= set(sorted(fitting, key=lambda name: (not slots[name].asked_back, rank(slots[name], wish, state)))[:1])
    for name, slot in slots.items():
        if slot.holder == NOBODY:
            slots[name] = state.slots[name]
    for name in spares:
        if slots[name].asked_back != (name in needed):
            slots[name] = replace(slots[name], asked_back=name in needed)
    return slots


def to_be_served(state: Snapshot) -> Iterator[WishRow]:
    """The wishes of living members, and of nobody, that a slot would serve, in their order; one new call of a guild."""
    wishes = [wish for wish in state.wishes.values() if wish.holder == NOBODY or state.is_alive(wish.holder)]
    yield from sorted((wish for wish in wishes if wish.purpose == "rescue"), key=lambda wish: (wish.since, wish.key))
    served = {wish.guild_id for wish in wishes if wish.purpose == "running"}
    for wish in in_order(wish for wish in wishes if wish.purpose == "call" and wish.ready):
        draining = wish.holder != NOBODY and state.members[wish.holder].draining
        if wish.guild_id not in served and not draining:
            served.add(wish.guild_id)
            yield wish
    yield from sorted((wish for wish in wishes if wish.purpose == "spare"), key=lambda wish: (wish.since, wish.key))


def best_slot(slots: Iterable[SlotRow], wish: WishRow, state: Snapshot) -> SlotRow | None:
    """The free slot that serves a wish best; None if there is none.

    One that failed is taken only for a new call, and only where none of its kind works, busy or not, and no other kind is free: its people
    then hear what is wrong. One that works and has no room is not taken while it is paused.
    """
    fitting = [slot for slot in slots if fits(slot, wish, state)]
    works = {slot.kind for slot in fitting if slot.paused_until <= state.now or not slot.failures}
    usable = [
        slot for slot in fitting if slot.paused_until <= state.now or (slot.failures and slot.kind not in works and wish.purpose == "call")
    ]
    return min((slot for slot in usable if slot.holder is None), key=lambda slot: rank(slot, wish, state), default=None)


def fits(slot: SlotRow, wish: WishRow, state: Snapshot) -> bool:
    """Whether a slot, free or not, is of a kind that the wish may have, and configured where it would be used."""
    return slot.kind in wish.kinds and (wish.holder == NOBODY or slot.slot in state.members[wish.holder].slots)


def rank(slot: SlotRow, wish: WishRow, state: Snapshot) -> tuple[bool, bool, int, float, int, str]:
    """What is taken first: what works, that nobody may still hold, of the preferred kind, and that will work soonest."""
    lapsed = bool(slot.lapsed_at) and slot.lapsed_at > state.now - DISTRUST_S
    return (
        slot.paused_until > state.now,
        lapsed,
        wish.kinds.index(slot.kind),
        max(0.0, slot.paused_until - state.now),
        slot.failures,
        slot.slot,
    )
