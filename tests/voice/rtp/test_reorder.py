"""Order, duplicates and gaps of one sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.voice.rtp.packet import seq_add
from discordplex.voice.rtp.reorder import WAIT, Arrival, Missing, Packet, Reorder, Wait


def pull_all(reorder: Reorder, now: float = 0.0) -> list[Packet | Missing]:
    """Everything that is decided by now."""
    facts: list[Packet | Missing] = []
    while not isinstance(fact := reorder.pull(now), Wait):
        facts.append(fact)
    return facts


def feed(reorder: Reorder, *sequences: int, now: float = 0.0) -> list[Packet | Missing]:
    """Push packets whose payload is their number, pulling after each."""
    facts: list[Packet | Missing] = []
    for sequence in sequences:
        if reorder.look(sequence) in (Arrival.WANTED, Arrival.RESYNC):
            reorder.push(sequence, b"%d" % sequence, now)
        facts += pull_all(reorder, now)
    return facts


def packets(*sequences: int) -> list[Packet | Missing]:
    return [Packet(b"%d" % sequence) for sequence in sequences]


def test_a_packet_in_order_waits_for_nothing() -> None:
    """Each packet in turn comes out at once, over the wrap of the sequence numbers too."""
    reorder = Reorder()
    for sequence in (65_534, 65_535, 0, 1):
        assert feed(reorder, sequence) == packets(sequence)
    assert reorder.due is None


def test_two_swapped_packets_come_out_in_order() -> None:
    """The later one waits for the earlier one, and nothing is missing."""
    assert feed(Reorder(), 1, 3, 2, 4) == packets(1, 2, 3, 4)


def test_a_duplicate_is_seen_before_it_is_decrypted() -> None:
    """The same number again is a duplicate whether it was delivered or is still held."""
    reorder = Reorder()
    feed(reorder, 1, 2, 4)
    assert [reorder.look(sequence) for sequence in (1, 2, 4)] == [Arrival.DUPLICATE] * 3
    assert reorder.look(3) is Arrival.WANTED


def test_four_packets_behind_a_gap_end_the_wait() -> None:
    """The fourth later packet gives the missing one up, and the payload behind it is offered for FEC."""
    reorder = Reorder()
    assert feed(reorder, 1, 3, 4, 5) == packets(1)
    assert feed(reorder, 6) == [Missing(1, b"3"), *packets(3, 4, 5, 6)]


def test_sixty_milliseconds_end_the_wait() -> None:
    """Without further packets the gap is given up when `due` says so, and not before."""
    reorder = Reorder()
    feed(reorder, 1)
    feed(reorder, 4, now=5.0)
    assert reorder.due == pytest.approx(5.06)
    assert reorder.pull(5.059) is WAIT
    assert pull_all(reorder, 5.06) == [Missing(2, b"4"), *packets(4)]


def test_a_second_gap_gets_its_own_patience() -> None:
    """The clock starts again when what was held before the next gap has come out."""
    reorder = Reorder()
    feed(reorder, 1, 3, 5, now=0.0)
    assert feed(reorder, 2, now=0.05) == packets(2, 3)
    assert reorder.due == pytest.approx(0.11)


def test_a_packet_after_it_was_given_up_is_late() -> None:
    """Late is another fact than duplicate: the first is the network's loss, the second its echo."""
    reorder = Reorder()
    feed(reorder, 1, 3, 4, 5, 6)
    assert reorder.look(2) is Arrival.LATE
    assert reorder.look(3) is Arrival.DUPLICATE


def lossy() -> Reorder:
    """The order of somebody of whom four packets were lost, one by one: 1, 6, 11 and 16."""
    reorder = Reorder()
    feed(reorder, *(number for number in range(21) if number % 5 != 1))
    return reorder


def test_where_packets_are_only_lost_nobody_waits() -> None:
    """After four gaps that nothing filled, the next one is given up with the packet behind it, for as long as none is filled."""
    reorder = lossy()
    assert feed(reorder, 22) == [Missing(1, b"22"), *packets(22)]
    assert feed(reorder, 25) == [Missing(2, b"25"), *packets(25)]
    assert reorder.due is None


def test_a_reordered_packet_makes_it_wait_again() -> None:
    """One that comes after it was given up is lost; after it, gaps are waited for."""
    reorder = lossy()
    feed(reorder, 22)
    assert reorder.look(21) is Arrival.LATE
    reorder.came_late()
    assert feed(reorder, 24, 23, 25) == packets(23, 24, 25)


def test_a_gap_that_is_filled_counts_for_all_before() -> None:
    """Where packets are lost and reordered, gaps are waited for: only four losses in a row say that nothing is reordered."""
    reorder = Reorder()
    feed(reorder, *(number for number in range(16) if number % 5 != 1), 17, 16, 18, 20, 21, 22, 23)
    assert feed(reorder, 25, 24) == packets(24, 25)


def test_an_unreadable_packet_is_missing_at_once() -> None:
    """A packet that arrived but could not be opened keeps nobody waiting."""
    reorder = Reorder()
    feed(reorder, 1)
    reorder.push(2, None, 0.0)
    assert pull_all(reorder) == [Missing(1, None)]
    assert feed(reorder, 3) == packets(3)


@pytest.mark.parametrize("jump", [101, -101, 30_000])
def test_a_jump_of_more_than_a_hundred_starts_anew(jump: int) -> None:
    """A sender that restarts its numbering is followed at once, and what was held for the old numbering is dropped."""
    reorder = Reorder()
    feed(reorder, 1000, 1002)
    target = seq_add(1001, jump)
    assert reorder.look(target) is Arrival.RESYNC
    assert feed(reorder, target) == packets(target)


@given(order=st.permutations(range(12)), start=st.integers(0, 65_535))
def test_nothing_comes_out_twice_or_out_of_order(order: list[int], start: int) -> None:
    """Whatever the network does to the order, the facts run forward and account for every number exactly once."""
    reorder = Reorder()
    facts = feed(reorder, seq_add(start, -1))[1:]
    for offset in order:
        sequence = seq_add(start, offset)
        if reorder.look(sequence) is Arrival.WANTED:
            reorder.push(sequence, b"%d" % offset, 0.0)
        facts += pull_all(reorder)
    reached = 0
    for fact in facts + pull_all(reorder, 1.0):
        reached += fact.count if isinstance(fact, Missing) else 1
        assert isinstance(fact, Missing) or int(fact.payload) == reached - 1
    assert reached == 12


def test_what_is_in_order_passes() -> None:
    """The next packet needs no place while nothing waits; behind a gap, and before the first, it does."""
    order = Reorder()
    assert not order.passes(7)
    order.push(7, b"7", 0.0)
    assert not order.passes(8)
    assert order.pull(0.0) == Packet(b"7")
    assert [order.passes(sequence) for sequence in (9, 8, 8, 9)] == [False, True, False, True]
    order.push(11, b"11", 0.0)
    assert not order.passes(10)
    order.push(10, b"10", 0.0)
    assert [order.pull(0.0) for _ in range(3)] == [Packet(b"10"), Packet(b"11"), WAIT]
    assert order.passes(12)
