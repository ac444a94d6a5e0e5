"""What the rows shall say, from any rows and for any process."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cluster.arbiter import (
    DISTRUST_S,
    LOGIN_SPACING_S,
    MOVE_PAUSE_S,
    RETURN_S,
    OwnSide,
    SlotReport,
    arbitrate,
    fits,
    freed,
    next_turn,
    share_slots,
    to_be_served,
)
from discordplex.cluster.snapshot import NOBODY, TTL_S, MemberRow, ShardRow, SlotRow, Snapshot, WishPurpose, WishRow

NOW = 1000.0
NAMES = ("anna", "bert", "carl", "dora")
SLOTS = ("personaplex:a", "personaplex:b", "cascade:1", "cascade:2")


def member(name: str, *, draining: bool = False, expires_at: float = NOW + TTL_S, slots: tuple[str, ...] = SLOTS) -> MemberRow:
    return MemberRow(name, name, "1", slots, draining, 0.0, expires_at)


def snapshot(
    *members: MemberRow, shards: tuple[ShardRow, ...] = (), slots: tuple[SlotRow, ...] = (), wishes: tuple[WishRow, ...] = ()
) -> Snapshot:
    return Snapshot(
        NOW,
        members={one.member: one for one in members},
        shards={one.shard: one for one in shards},
        slots={one.slot: one for one in slots},
        wishes={one.key: one for one in wishes},
        facts={"shards": str(len(shards))} if shards else {},
    )


def plausible(slot: SlotRow, members: set[str]) -> SlotRow:
    """A slot that somebody has, or a free one."""
    if slot.holder not in members:
        return replace(freed(slot), lapsed_at=slot.lapsed_at)
    return replace(slot, asked_back=slot.asked_back and slot.purpose == "spare")


names = st.sampled_from(NAMES)
times = st.sampled_from([0.0, NOW - 300, NOW - 3, NOW + 2, NOW + 60])
kinds = st.sampled_from([("personaplex",), ("cascade",), ("personaplex", "cascade"), ("cascade", "personaplex"), ("realtime",), ()])
slot_rows = st.builds(
    SlotRow,
    st.sampled_from(SLOTS),
    holder=st.none() | names,
    guild_id=st.none() | st.integers(1, 6),
    purpose=st.sampled_from(["call", "rescue", "spare"]),
    asked_back=st.booleans(),
    failures=st.integers(0, 2),
    paused_until=times,
    lapsed_at=times,
)
wish_rows = st.builds(
    WishRow,
    names,
    st.integers(1, 6),
    st.integers(1, 9),
    st.sampled_from(["call", "call", "rescue", "spare", "running"]),
    turn=st.integers(0, 5).map(float),
    since=st.integers(0, 5).map(float),
    ready=st.booleans(),
    kinds=kinds,
)
shard_rows = st.builds(ShardRow, st.integers(0, 11), st.none() | names, moved_at=times, login_at=times)
snapshots = st.builds(
    lambda members, shards, slots, wishes: snapshot(
        *members,
        slots=tuple(plausible(slot, {one.member for one in members}) for slot in slots),
        shards=tuple(
            ShardRow(number, shard.holder if shard.holder in {one.member for one in members} else None, shard.moved_at, shard.login_at)
            for number, shard in enumerate(shards)
        ),
        wishes=tuple(wish for wish in wishes if wish.holder in {one.member for one in members}),
    ),
    st.lists(
        st.builds(
            member,
            names,
            draining=st.booleans(),
            expires_at=st.sampled_from([NOW - 1, NOW + 3, NOW + 3, NOW + 600]),
            slots=st.lists(st.sampled_from(SLOTS), unique=True).map(tuple),
        ),
        unique_by=lambda one: one.member,
    ),
    st.lists(shard_rows, max_size=12),
    st.lists(slot_rows, max_size=4),
    st.lists(wish_rows, max_size=8),
)
own_sides = st.builds(
    OwnSide,
    names,
    slots=st.lists(st.sampled_from(SLOTS), unique=True).map(tuple),
    draining=st.booleans(),
    may_bury=st.booleans(),
    shards=st.frozensets(st.integers(0, 11)),
    busy=st.frozensets(st.integers(0, 11)),
    unconnected=st.just(frozenset()) | st.frozensets(st.integers(0, 11)),
    uses=st.dictionaries(st.sampled_from(SLOTS), st.sampled_from(["call", "spare"])),
    reports=st.dictionaries(st.sampled_from(SLOTS), st.builds(SlotReport, st.integers(0, 2), st.sampled_from([0.0, 9.0]))),
    shard_count=st.none() | st.integers(1, 12),
    logins=st.dictionaries(st.integers(0, 11), st.integers(1, 3)),
)


@given(snapshots, own_sides)
def test_nothing_is_taken_from_a_member_but_by_death(before: Snapshot, own: OwnSide) -> None:
    """Neither a shard nor a slot of another member, unless it has lapsed and this process may tell."""
    after = arbitrate(before, own)
    for name, row in before.members.items():
        if name == own.member or (own.may_bury and not before.is_alive(name)):
            continue
        assert after.members[name] == row
        for number, shard in before.shards.items():
            assert shard.holder != name or number not in after.shards or after.shards[number].holder == name
        for slot_name, slot in before.slots.items():
            assert slot.holder != name or after.slots[slot_name].holder == name


@given(snapshots, own_sides)
def test_holders_are_members(before: Snapshot, own: OwnSide) -> None:
    """Whoever is buried leaves nothing behind, and a process that leaves does not either."""
    for after in (arbitrate(before, own), arbitrate(before, replace(own, leaving=True))):
        holders = {shard.holder for shard in after.shards.values()} | {slot.holder for slot in after.slots.values()}
        assert holders - {None} <= after.members.keys()
        assert {wish.holder for wish in after.wishes.values()} - {NOBODY} <= after.members.keys()


@given(snapshots, own_sides)
def test_a_second_beat_moves_nothing(before: Snapshot, own: OwnSide) -> None:
    """At the same moment, of a process that has learned what the first one did."""
    after = arbitrate(before, replace(own, logins={}))
    mine = frozenset(number for number, shard in after.shards.items() if shard.holder == own.member)
    again = arbitrate(after, replace(own, shards=mine, uses={}, reports={}, logins={}))
    assert {number: shard.holder for number, shard in again.shards.items()} == {
        number: shard.holder for number, shard in after.shards.items()
    }
    assert {name: slot.holder for name, slot in again.slots.items()} == {name: slot.holder for name, slot in after.slots.items()}


@given(snapshots)
def test_first_come_first_served(before: Snapshot) -> None:
    """Whoever gets nothing is passed over only by those for whom there was a slot that is none for them."""
    after = share_slots(before)
    order = list(to_be_served(before))
    granted = {name for name, slot in after.items() if slot.holder and not before.slots[name].holder}
    had = {(slot.holder, slot.guild_id, slot.purpose) for slot in before.slots.values() if slot.holder and slot.guild_id is not None}
    got: dict[tuple[str | None, int | None, str], str] = {
        (after[name].holder, after[name].guild_id, after[name].purpose): name for name in granted
    }
    assert len(got) == len(granted)
    for place, wish in enumerate(order):
        if (wish.holder, wish.guild_id, wish.purpose) in had | got.keys():
            continue
        for later in order[place + 1 :]:
            name = got.get((later.holder, later.guild_id, later.purpose))
            assert name is None or not fits(before.slots[name], wish, before) or before.slots[name].paused_until > NOW
        free = [slot for slot in after.values() if slot.holder is None and fits(slot, wish, before) and slot.paused_until <= NOW]
        assert not free


@given(snapshots)
def test_what_a_dead_process_had_is_taken_last(before: Snapshot) -> None:
    """A slot that lapsed lately is granted only where no other one fits that nobody has and that works."""
    after = share_slots(before)
    for name, slot in after.items():
        was = before.slots[name]
        if slot.holder and not was.holder and was.lapsed_at > NOW - DISTRUST_S:
            wish = next(one for one in to_be_served(before) if (one.holder, one.guild_id) == (slot.holder, slot.guild_id))
            better = [one for one in after.values() if one.holder is None and fits(one, wish, before) and one.paused_until <= NOW]
            assert all(one.lapsed_at > NOW - DISTRUST_S for one in better)


@given(snapshots)
def test_spares_are_asked_back_exactly_for_those_who_need_them(before: Snapshot) -> None:
    """One for each call without a slot, if it fits; none for a call that can have another one."""
    after = share_slots(before)
    have = {(slot.holder, slot.guild_id, slot.purpose) for slot in after.values() if slot.holder and slot.guild_id is not None}
    without = [wish for wish in to_be_served(before) if wish.purpose != "spare" and (wish.holder, wish.guild_id, wish.purpose) not in have]
    asked = [slot for slot in after.values() if slot.asked_back and slot.purpose == "spare" and slot.holder]
    spares = [slot for slot in before.slots.values() if slot.holder and slot.purpose == "spare"]
    assert len(asked) <= len(without)
    assert all(any(fits(slot, wish, before) for wish in without) for slot in asked)
    for wish in without:
        assert all(after[slot.slot].asked_back for slot in spares if fits(slot, wish, before)) or len(asked) >= 1


@given(
    count=st.integers(1, 12),
    history=st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans()), min_size=1, max_size=60),
    busy=st.frozensets(st.integers(0, 11)),
    login=st.booleans(),
)
def test_shards_are_shared_as_evenly_as_calls_allow_and_each_moves_once(
    *, count: int, history: list[tuple[str, bool]], busy: frozenset[int], login: bool
) -> None:
    """Whoever joins and leaves in whatever order: then nobody has a shard without calls and two more than another one.

    On the way there each shard moves once at most, one with calls not at all, and then nothing moves any more.
    """
    state, living = Snapshot(NOW), set[str]()
    for name, joins in history:
        living = living | {name} if joins else living - {name}
        state = beat(state, name, count, leaving=not joins)
    state = replace(state, shards={number: replace(one, login_at=state.now * login) for number, one in state.shards.items()})
    busy = frozenset(number for number in busy if number in state.shards and state.shards[number].holder)
    had = {number: [one.holder] for number, one in state.shards.items()}
    for _ in range(len(living) + 3 * count):
        for name in sorted(living):
            state = beat(state, name, count, busy=busy)
            for number, one in state.shards.items():
                had[number] += [one.holder] * (one.holder not in (None, had[number][-1]))
    assert all(len(holders) <= (1 if number in busy or not living else 2) for number, holders in had.items())
    held = [shard.holder for shard in state.shards.values()]
    fewest = min((held.count(name) for name in living), default=0)
    for number, one in state.shards.items():
        assert number in busy or (one.holder and held.count(one.holder) - fewest <= 1) or not living
    for name in sorted(living):
        assert beat(state, name, count, busy=busy).shards == state.shards


def beat(state: Snapshot, name: str, count: int, *, leaving: bool = False, busy: frozenset[int] = frozenset()) -> Snapshot:
    """A process's beat, so long after the last one that a shard may move."""
    mine = frozenset(number for number, shard in state.shards.items() if shard.holder == name)
    now = state.now + MOVE_PAUSE_S
    members = {member: replace(row, expires_at=now + 1) for member, row in state.members.items()}
    own = OwnSide(name, shards=mine, busy=mine & busy, shard_count=count, leaving=leaving)
    return arbitrate(replace(state, now=now, members=members), own)


@pytest.mark.parametrize(
    ("holders", "busy", "wanted"),
    [
        ("aaaabb", "aaaa", "aaaabc"),  # a has too many and cannot help it: b is the next to give
        ("aabb ", "aabb", "aabbc"),
        ("aab   ", "aab", "aabbcc"),  # also where the others look first
        ("aaaaaa", "", "aabbcc"),
    ],
)
def test_who_has_fewest_gets_what_is_free(holders: str, busy: str, wanted: str) -> None:
    """Whatever calls keep where they are."""
    state = snapshot(*map(member, "abc"), shards=logged_in(*(one.strip() or None for one in holders)))
    kept = frozenset(range(len(busy)))
    for name in "abc" * 12:
        state = beat(state, name, len(holders), busy=kept)
    assert sorted(shard.holder or "" for shard in state.shards.values()) == sorted(wanted)


def test_who_has_most_gives_first() -> None:
    """Else a process would give a shard away and get another one back."""
    state = snapshot(*map(member, "ab"), replace(member("c"), started_at=NOW), shards=logged_in(*"aaabbbb"))
    assert beat(state, "a", 7).shards == state.shards
    assert [shard.holder for shard in beat(state, "b", 7).shards.values()].count(None) == 1
    later = replace(state, now=NOW + MOVE_PAUSE_S)  # all shards of b have calls
    assert [shard.holder for shard in beat(later, "a", 7).shards.values()].count(None) == 1


def logged_in(*holders: str | None) -> tuple[ShardRow, ...]:
    return tuple(ShardRow(number, holder, moved_at=NOW - 100, login_at=NOW - 90) for number, holder in enumerate(holders))


def test_a_shard_with_calls_stays() -> None:
    """Until it has none; one that is logged in moves alone, and the next one after a pause."""
    state = snapshot(member("anna"), member("bert"), shards=logged_in(*["anna"] * 4))
    own = OwnSide("anna", shards=frozenset(range(4)), busy=frozenset(range(4)))
    assert arbitrate(state, own).shards == state.shards
    after = arbitrate(state, replace(own, busy=frozenset({0, 1, 3})))
    assert [shard.holder for shard in after.shards.values()] == ["anna", "anna", None, "anna"]
    claimed = arbitrate(after, OwnSide("bert"))
    own = OwnSide("anna", shards=frozenset({0, 1, 3}))
    assert [shard.holder for shard in arbitrate(claimed, own).shards.values()] == ["anna", "anna", "bert", "anna"]
    later = replace(
        claimed, now=NOW + MOVE_PAUSE_S, members={name: replace(row, expires_at=NOW + 9) for name, row in claimed.members.items()}
    )
    assert [shard.holder for shard in arbitrate(later, own).shards.values()].count(None) == 1


def test_a_process_that_was_taken_for_dead_has_back_what_nobody_took() -> None:
    """Even more than its fair share: its calls are on these shards."""
    state = snapshot(member("bert"), shards=logged_in(None, None, "bert", None))
    after = arbitrate(state, OwnSide("anna", shards=frozenset({0, 1, 2, 3}), busy=frozenset({0, 1, 3})))
    assert [shard.holder for shard in after.shards.values()] == ["anna", "anna", "bert", "anna"]


def test_shards_that_wait_for_their_login_move_at_once() -> None:
    """They serve nobody yet; their turns are free for others."""
    waiting = tuple(ShardRow(number, "anna", NOW - 1, NOW + 5 * number) for number in range(4))
    state = snapshot(member("anna"), member("bert"), shards=waiting)
    after = arbitrate(state, OwnSide("anna", shards=frozenset(range(4))))
    assert [shard.holder for shard in after.shards.values()] == ["anna", "anna", None, None]


def test_no_more_of_them_move_than_the_fair_share_of_the_others() -> None:
    """Two processes that both have too many do not give so many that one gets some back."""
    waiting = tuple(ShardRow(number, "anna" if number < 4 else "bert") for number in range(8))
    after = arbitrate(snapshot(*map(member, ("anna", "bert", "carl")), shards=waiting), OwnSide("anna", shards=frozenset(range(4))))
    assert [shard.holder for shard in after.shards.values()].count(None) == 1
    assert after.shards[3].login_at == 0


def test_who_cannot_connect_a_shard_leaves_it_to_others_and_keeps_the_rest() -> None:
    """It claims none meanwhile, also where it has fewest. Whoever is the last that could have it keeps it."""
    state = snapshot(member("anna"), member("bert"), shards=logged_in("anna", "anna", "bert", "bert"))
    stuck = OwnSide("anna", shards=frozenset({0, 1}), unconnected=frozenset({1}))
    after = arbitrate(arbitrate(state, stuck), OwnSide("bert", shards=frozenset({2, 3})))
    assert [shard.holder for shard in after.shards.values()] == ["anna", "bert", "bert", "bert"]
    assert arbitrate(after, replace(stuck, shards=frozenset({0}))).shards == after.shards
    of_bert = OwnSide("bert", shards=frozenset({1, 2, 3}), unconnected=frozenset({1}))
    assert arbitrate(after, of_bert).shards == after.shards
    later = replace(after, now=NOW + MOVE_PAUSE_S, members={one.member: one for one in (long_lived("anna"), long_lived("bert"))})
    again = arbitrate(arbitrate(later, OwnSide("anna", shards=frozenset({0}))), of_bert)
    assert [shard.holder for shard in again.shards.values()] == ["anna", None, "bert", "bert"]
    alone = snapshot(member("anna"), member("bert", expires_at=NOW - 1), shards=logged_in("anna", "anna"))
    assert arbitrate(alone, stuck).shards == alone.shards
    busy = replace(stuck, busy=frozenset({1}))
    assert arbitrate(state, busy).shards == state.shards


def long_lived(name: str) -> MemberRow:
    return member(name, expires_at=NOW + MOVE_PAUSE_S + TTL_S)


def test_a_draining_process_releases_what_is_idle_and_takes_nothing() -> None:
    """What its calls need stays until they end; what it gives up is the others'."""
    state = snapshot(
        member("anna"),
        member("bert"),
        shards=logged_in("anna", "anna", "bert"),
        slots=tuple(map(SlotRow, SLOTS)),
        wishes=(WishRow("anna", 1, 1, kinds=("personaplex",)),),
    )
    wishes = tuple(state.wishes.values())
    own = OwnSide("anna", slots=SLOTS, draining=True, shards=frozenset({0, 1}), busy=frozenset({1}), wishes=wishes)
    after = arbitrate(state, own)
    assert [shard.holder for shard in after.shards.values()] == [None, "anna", "bert"]
    assert all(slot.holder is None for slot in after.slots.values())
    assert [shard.holder for shard in arbitrate(after, OwnSide("bert")).shards.values()] == ["bert", "anna", "bert"]


@given(st.lists(st.tuples(st.integers(0, 7), st.floats(0, 4)), max_size=20), st.integers(1, 3))
def test_logins_of_a_group_are_spaced(requests: list[tuple[int, float]], max_concurrency: int) -> None:
    """Whoever asks in whatever order: Discord counts those with the same remainder together."""
    state = Snapshot(NOW, shards={number: ShardRow(number, "anna") for number in range(8)}, facts={"shards": "8"})
    turns: list[tuple[int, float]] = []
    for number, pause_s in requests:
        state = replace(state, now=state.now + pause_s)
        if state.now - LOGIN_SPACING_S < state.shards[number].login_at <= state.now:
            continue  # a shard that has just logged in waits for longer than that, by its own pace
        state = arbitrate(state, OwnSide("anna", logins={number: max_concurrency}, shards=frozenset(range(8))))
        turns.append((number, state.shards[number].login_at))
    for group in range(max_concurrency):
        times = sorted({turn for turn in turns if turn[0] % max_concurrency == group}, key=lambda turn: turn[1])
        assert all(later[1] - earlier[1] >= LOGIN_SPACING_S - 1e-9 for earlier, later in itertools.pairwise(times))


def test_a_turn_fills_a_gap() -> None:
    """A turn that somebody gave up is the next one's."""
    shards = {number: ShardRow(number, "anna", login_at=NOW + at) for number, at in enumerate([0, 20])}
    assert next_turn(shards | {2: ShardRow(2)}, 2, 1, NOW) == NOW + LOGIN_SPACING_S


def test_who_is_alone_sets_the_number_of_shards() -> None:
    """The others take it as it is."""
    alone = arbitrate(snapshot(), OwnSide("anna", shard_count=4))
    assert len(alone.shards) == 4
    both = arbitrate(alone, OwnSide("bert", shard_count=9))
    assert len(both.shards) == 4
    left = arbitrate(both, OwnSide("anna", leaving=True))
    more = arbitrate(left, OwnSide("bert", shard_count=9))
    assert [shard.holder for shard in more.shards.values()] == ["bert"] * 9


def test_lengths_of_calls_are_kept_for_all() -> None:
    """The newest fifty."""
    state = arbitrate(snapshot(), OwnSide("anna", lengths=(61.04, 5.0)))
    assert state.facts["lengths"] == "[61.0, 5.0]"
    state = arbitrate(state, OwnSide("bert", lengths=tuple(map(float, range(50)))))
    assert state.facts["lengths"].startswith("[0.0, 1.0,")


def test_a_spare_that_became_a_call_s_slot_is_not_asked_back_any_more() -> None:
    """Its process adopted it before it heard of the other's call."""
    state = snapshot(
        member("anna"),
        member("bert"),
        slots=(SlotRow("personaplex:a", "anna", purpose="spare", asked_back=True),),
        wishes=(WishRow("bert", 1, 1, kinds=("personaplex",)),),
    )
    slot = arbitrate(state, OwnSide("anna", slots=("personaplex:a",), uses={"personaplex:a": "call"})).slots["personaplex:a"]
    assert (slot.purpose, slot.asked_back) == ("call", False)
    assert arbitrate(state, OwnSide("anna", slots=("personaplex:a",), uses={"personaplex:a": "spare"})).slots["personaplex:a"].asked_back


CALL = WishRow("anna", 1, 1, kinds=("personaplex", "cascade"))


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([SlotRow("cascade:1"), SlotRow("personaplex:a")], "personaplex:a"),
        ([SlotRow("cascade:1"), SlotRow("personaplex:a", lapsed_at=NOW - 9)], "cascade:1"),
        ([SlotRow("cascade:1"), SlotRow("personaplex:a", lapsed_at=NOW - DISTRUST_S)], "personaplex:a"),
        ([SlotRow("cascade:1"), SlotRow("personaplex:a", failures=1, paused_until=NOW + 9)], "cascade:1"),
        ([SlotRow("cascade:1", "bert"), SlotRow("personaplex:a", failures=1, paused_until=NOW + 9)], "personaplex:a"),
        ([SlotRow("personaplex:b", "bert"), SlotRow("personaplex:a", failures=1, paused_until=NOW + 9)], None),
        (
            [SlotRow("personaplex:b", failures=1, paused_until=NOW + 9), SlotRow("personaplex:a", failures=1, paused_until=NOW + 3)],
            "personaplex:a",
        ),
        ([SlotRow("personaplex:a", paused_until=NOW + 3)], None),
    ],
)
def test_which_slot_a_call_gets(slots: list[SlotRow], expected: str | None) -> None:
    """The preferred one that works and that nobody may still hold; one that failed only where none of its kind works; none without room."""
    after = share_slots(snapshot(member("anna"), member("bert"), slots=tuple(slots), wishes=(CALL,)))
    assert [name for name, slot in after.items() if slot.holder == "anna"] == ([expected] if expected else [])


@pytest.mark.parametrize("purpose", ["rescue", "spare"])
def test_only_a_new_call_gets_what_failed(purpose: str) -> None:
    """The others have a conversation that is no worse."""
    slots = (SlotRow("personaplex:a", failures=1, paused_until=NOW + 9),)
    after = share_slots(snapshot(member("anna"), slots=slots, wishes=(replace(CALL, purpose=purpose),)))  # type: ignore[arg-type]
    assert after["personaplex:a"].holder is None


@pytest.mark.parametrize("began_s_ago", [60, 20])
@pytest.mark.parametrize("how", ["died", "left", "ended its calls and left"])
def test_guilds_of_a_process_that_is_gone_keep_their_place(how: str, began_s_ago: float) -> None:
    """Whoever came later does not get their engine while their shard logs in elsewhere; then they ask again, or lose their place.

    It counts when they asked: since another process died, their call may have begun anew, after the later ones came.
    """
    guild, later = 1 << 22, 2 << 22
    before = snapshot(
        member("anna", slots=SLOTS[:1]),
        member("bert", slots=SLOTS[:1], expires_at=NOW - 1 if how == "died" else NOW + TTL_S),
        shards=(ShardRow(0, "anna", login_at=NOW - 300), ShardRow(1, "bert", login_at=NOW - 300)),
        slots=(SlotRow(SLOTS[0], "bert"),),
        wishes=(
            WishRow("bert", guild, 1, "running", turn=NOW - 61, since=NOW - began_s_ago),
            WishRow("anna", later, 2, turn=NOW - 30, since=NOW - 30, kinds=("personaplex",)),
        ),
    )
    waits = (WishRow("anna", later, 2, turn=NOW - 30, since=NOW - 30, kinds=("personaplex",)),)
    anna = OwnSide("anna", slots=SLOTS[:1], shards=frozenset({0}), wishes=waits)
    if "ended" in how:
        held = tuple(wish for wish in before.wishes.values() if wish.holder == "bert")
        bert = OwnSide("bert", slots=SLOTS[:1], shards=frozenset({1}), draining=True, ending=True, wishes=held)
        before = arbitrate(before, replace(bert, uses={SLOTS[0]: "call"}, busy=frozenset({1})))
        before = arbitrate(arbitrate(before, replace(bert, returned=frozenset(SLOTS[:1]), busy=frozenset({1}))), anna)
        assert before.slots[SLOTS[0]].holder is None
    if how != "died":
        before = arbitrate(before, OwnSide("bert", slots=SLOTS[:1], leaving=True))
    gone = arbitrate(before, anna)
    assert gone.slots[SLOTS[0]].holder is None
    assert gone.shards[1].holder == "anna"
    logs_in = replace(anna, shards=frozenset({0, 1}), logins={1: 1})
    moved = arbitrate(gone, logs_in)
    assert moved.slots[SLOTS[0]].holder is None
    asked = WishRow("anna", guild, 1, turn=NOW - 61, since=NOW - 61, kinds=("personaplex",))  # the call began a second later
    looks = arbitrate(moved, replace(anna, shards=frozenset({0, 1}), wishes=(*waits, replace(asked, ready=False))))
    assert looks.slots[SLOTS[0]].holder is None
    back = arbitrate(looks, replace(anna, shards=frozenset({0, 1}), wishes=(*waits, asked)))
    assert back.slots[SLOTS[0]].guild_id == guild
    empty = arbitrate(with_time(moved, NOW + RETURN_S + LOGIN_SPACING_S), replace(anna, shards=frozenset({0, 1})))
    assert empty.slots[SLOTS[0]].guild_id == later


@pytest.mark.parametrize("purpose", ["call", "running"])
def test_a_process_that_stood_still_speaks_no_more_for_guilds_that_another_one_has(purpose: WishPurpose) -> None:
    """Neither its waiting channel nor its call there keeps the guild's people from the engine that they get in the other process."""
    guild, later = 1 << 22, 2 << 22
    before = snapshot(
        member("bert", slots=SLOTS[:1]),
        shards=(ShardRow(0, "bert", login_at=NOW - 300), ShardRow(1, "bert", login_at=NOW - 300)),
        slots=(SlotRow(SLOTS[0]),),
        wishes=(WishRow("bert", guild, 1, turn=NOW - 9, since=NOW - 9, kinds=("personaplex",)),),
    )
    old = WishRow("anna", guild, 2, purpose, turn=NOW - 90, since=NOW - 90, kinds=("personaplex",))
    woken = arbitrate(before, OwnSide("anna", slots=SLOTS[:1], shards=frozenset({0, 1}), wishes=(old, replace(old, guild_id=later))))
    assert [(wish.holder, wish.guild_id) for wish in woken.wishes.values()] == [("bert", guild)]
    assert (woken.slots[SLOTS[0]].holder, woken.slots[SLOTS[0]].guild_id) == ("bert", guild)


def test_a_shard_that_is_given_up_leaves_its_waiting_channels_in_their_places() -> None:
    """As those of a process that is gone: whoever came later does not get their engine before they can ask again."""
    guild, later = 1 << 22, 2 << 22
    waits = WishRow("bert", guild, 1, turn=NOW - 60, since=NOW - 60, kinds=("personaplex",))
    before = snapshot(
        member("anna", slots=SLOTS[:1]),
        member("bert", slots=SLOTS[:1]),
        shards=(ShardRow(0, "anna", login_at=NOW - 300), ShardRow(1, "bert", login_at=NOW - 300)),
        slots=(SlotRow(SLOTS[0]),),
        wishes=(WishRow("anna", later, 2, turn=NOW - 30, since=NOW - 30, kinds=("personaplex",)),),
    )
    drained = arbitrate(before, OwnSide("bert", slots=SLOTS[:1], shards=frozenset({1}), draining=True, wishes=(waits,)))
    assert drained.shards[1].holder is None
    assert replace(waits, holder=NOBODY) in drained.wishes.values()
    assert drained.slots[SLOTS[0]].guild_id is None


def with_time(state: Snapshot, now: float) -> Snapshot:
    """The same rows later, with living members."""
    return replace(state, now=now, members={name: replace(one, expires_at=now + TTL_S) for name, one in state.members.items()})
