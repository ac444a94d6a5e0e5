"""End-to-end encryption with the real library, against a delivery service written by hand."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.audio.opus import SILENCE_PACKET
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import MARKER, DaveSession
from discordplex.voice.gateway.events import (
    AnnounceCommit,
    E2eeEvent,
    ExecuteTransition,
    ExternalSender,
    PrepareEpoch,
    PrepareTransition,
    Proposals,
    SendInvalidCommitWelcome,
    SendKeyPackage,
    SendReadyForTransition,
    Welcome,
)
from tests.voice.delivery import ADD, REMOVE, Delivery, Member, call_of

SPEECH = b"an opus packet of some length"
ANN, BOB, CAT = 2**63 + 1, 22, 33


def sealed(member: Member, payload: bytes = SPEECH) -> bytes:
    """What a member sends, which must be encrypted."""
    frame = member.e2ee.encrypt(payload)
    assert frame is not None
    assert payload not in frame
    assert frame.endswith(MARKER)
    return frame


def test_two_members_hear_each_other() -> None:
    """Both ways through one group, with the same privacy code on both sides."""
    _, (ann, bob) = call_of(ANN, BOB)
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH
    code = ann.e2ee.privacy_code
    assert code == bob.e2ee.privacy_code
    assert code is not None
    assert (len(code), code.isdigit()) == (30, True)


def test_nothing_is_spoken_before_the_group_exists() -> None:
    """Alone, or still waiting for the welcome, there is no key, and nothing leaves in the clear."""
    delivery = Delivery()
    ann = Member(ANN, 1)
    delivery.arrive(ann)
    assert (ann.e2ee.encrypted, ann.e2ee.ready, ann.e2ee.privacy_code) == (True, False, None)
    assert ann.e2ee.encrypt(SPEECH) is None


def test_a_new_key_is_used_when_the_transition_is_executed_and_not_before() -> None:
    """While a third member is being added, everybody opens the old key; after op 22 the newcomer opens the new one."""
    delivery, (ann, bob) = call_of(ANN, BOB)
    cat = Member(CAT, 9)
    delivery.arrive(cat)
    transition_id = delivery.admit(cat)
    before = sealed(ann)
    assert cat.e2ee.decrypt(ANN, before) is None
    assert bob.e2ee.decrypt(ANN, before) == SPEECH
    assert not cat.e2ee.ready
    assert bob.e2ee.decrypt(ANN, SPEECH) is None
    delivery.execute(transition_id)
    after = sealed(ann)
    assert cat.e2ee.decrypt(ANN, after) == SPEECH
    assert bob.e2ee.decrypt(ANN, after) == SPEECH
    assert ann.e2ee.decrypt(CAT, sealed(cat)) == SPEECH


def test_receivers_know_the_new_key_before_it_is_used() -> None:
    """A peer that executes first is understood by one whose op 22 is late, and a late one by those who were first."""
    delivery, (ann, bob) = call_of(ANN, BOB)
    cat = Member(CAT, 9)
    delivery.arrive(cat)
    transition_id = delivery.admit(cat)
    ann.e2ee.receive(ExecuteTransition(transition_id))
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH


def test_overlapping_transitions_keep_their_own_keys() -> None:
    """Two epochs are announced before the first is executed: executing the first uses its key, not the newer one."""
    delivery, (ann, bob) = call_of(ANN, BOB)
    cat = Member(CAT, 9)
    delivery.arrive(cat)
    first = delivery.admit(cat)
    second = delivery.remove_member(cat)
    ann.e2ee.receive(ExecuteTransition(first))
    assert cat.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    ann.e2ee.receive(ExecuteTransition(second))
    last = sealed(ann)
    assert cat.e2ee.decrypt(ANN, last) is None
    assert bob.e2ee.decrypt(ANN, last) == SPEECH


def test_who_left_hears_no_more() -> None:
    """After a removal the rest goes on under a new code, and the one who left can open nothing of it."""
    delivery, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    code = ann.e2ee.privacy_code
    delivery.execute(delivery.remove_member(bob))
    frame = sealed(ann)
    assert cat.e2ee.decrypt(ANN, frame) == SPEECH
    assert bob.e2ee.decrypt(ANN, frame) is None
    assert ann.e2ee.privacy_code == cat.e2ee.privacy_code != code


def test_who_left_is_not_let_in_by_a_proposal_alone() -> None:
    """The server proposes to add somebody who, by its own word, is not in the call: nobody of us commits to that."""
    delivery, (ann, bob, _) = call_of(ANN, BOB, CAT)
    delivery.execute(delivery.remove_member(bob))
    stranger = Member(BOB, 7)
    stranger.take(stranger.e2ee.start(channel_id=delivery.channel_id, ssrc=7, protocol_version=1))
    assert ann.take(ann.e2ee.receive(Proposals(delivery.proposals(ADD + stranger.key_package)))) == []


def test_the_sender_is_found_by_its_key() -> None:
    """An unnamed stream belongs to whose key opens it; nobody's key opens a stranger's, and a frame opens once."""
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    frame = sealed(bob)
    assert ann.e2ee.find_sender(frame, [CAT, BOB]) == (BOB, SPEECH)
    assert ann.e2ee.find_sender(sealed(cat), [BOB]) is None
    assert ann.e2ee.find_sender(frame, [BOB, CAT]) is None
    assert ann.e2ee.find_sender(SPEECH, [BOB, CAT]) is None


@pytest.mark.parametrize(
    ("named", "ignored", "expected"),
    [
        ((), (), [BOB, CAT]),
        ((BOB,), (), [CAT, BOB]),
        ((), (BOB,), [CAT]),
        ((CAT,), (BOB,), []),
        ((BOB,), (BOB,), [CAT]),
        ((), (BOB, CAT), []),
        ((BOB, CAT), (), [BOB, CAT]),
        ((BOB, CAT), (BOB, CAT), []),
    ],
)
def test_whose_an_unnamed_stream_may_be(named: tuple[int, ...], ignored: tuple[int, ...], expected: list[int]) -> None:
    """Who has no stream yet comes first; nobody who is ignored comes at all; where only they have none, nobody does."""
    _, (ann, _, _) = call_of(ANN, BOB, CAT)
    assert ann.e2ee.candidates(frozenset(named), frozenset(ignored)) == expected


def test_who_has_no_key_yet_may_be_the_sender_too() -> None:
    """Somebody has joined, opted out, and is the only one without a stream: a stream without a name is theirs, key or no key."""
    delivery, (ann, _) = call_of(ANN, BOB)
    delivery.arrive(Member(CAT, 9))
    assert ann.e2ee.candidates(frozenset({BOB}), frozenset({CAT})) == []
    assert ann.e2ee.candidates(frozenset({BOB}), frozenset()) == [BOB]


def test_clear_frames_are_not_believed() -> None:
    """In an encrypted call an unencrypted frame does not open, whoever it claims to be from; our own silence marker goes out as it is."""
    _, (ann, _) = call_of(ANN, BOB)
    assert ann.e2ee.decrypt(BOB, SPEECH) is None
    assert ann.e2ee.decrypt(CAT, SPEECH) is None
    assert ann.e2ee.encrypt(SILENCE_PACKET) == SILENCE_PACKET


def test_a_damaged_commit_is_recovered_from() -> None:
    """A commit that cannot be read is reported with op 31 and a new key package, the old key serves on, and being added again heals it."""
    delivery, (ann, bob) = call_of(ANN, BOB)
    cat = Member(CAT, 9)
    delivery.arrive(cat)
    commit, _ = delivery.propose(ann, ADD + cat.key_package)
    damaged = commit[:-1] + bytes((commit[-1] ^ 1,))
    answer = bob.e2ee.receive(AnnounceCommit(delivery.transition_id, damaged))
    assert [type(command) for command in answer] == [SendInvalidCommitWelcome, SendKeyPackage]
    assert bob.metrics.counter("voice.e2ee.recoveries").value == 1
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH
    bob.take(answer)
    ann.take(ann.e2ee.receive(AnnounceCommit(delivery.transition_id, commit)))
    delivery.leaves[1] = None
    delivery.members = [ann, bob]
    rejoin, welcome = delivery.propose(ann, REMOVE + b"\x00\x00\x00\x01", ADD + bob.key_package)
    ann.take(ann.e2ee.receive(AnnounceCommit(delivery.transition_id, rejoin)))
    assert bob.take(bob.e2ee.receive(Welcome(delivery.transition_id, welcome))) == [SendReadyForTransition(delivery.transition_id)]
    delivery.execute(delivery.transition_id)
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH


def test_a_damaged_welcome_is_recovered_from() -> None:
    """The same for the way in."""
    delivery = Delivery()
    ann = Member(ANN, 1)
    delivery.arrive(ann)
    answer = ann.e2ee.receive(Welcome(5, b"\x00" * 40))
    assert answer[0] == SendInvalidCommitWelcome(5)
    assert isinstance(answer[1], SendKeyPackage)


def test_epoch_one_throws_the_group_away() -> None:
    """Alone again: a fresh key package is offered, and nothing can be sent until somebody comes, whose group then works."""
    delivery, (ann, bob) = call_of(ANN, BOB)
    delivery.members.remove(bob)
    ann.e2ee.leave(BOB)
    (fresh,) = ann.e2ee.receive(PrepareEpoch(1, 1))
    assert isinstance(fresh, SendKeyPackage)
    assert ann.e2ee.receive(PrepareTransition(0, 1)) == []
    assert (ann.e2ee.ready, ann.e2ee.privacy_code) == (False, None)
    assert ann.e2ee.encrypt(SPEECH) is None
    again = Delivery()
    again.external_sender, again._key = delivery.external_sender, delivery._key
    again.members = [ann]
    cat = Member(CAT, 9)
    again.arrive(cat)
    again.execute(again.admit(cat))
    assert cat.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    assert ann.e2ee.decrypt(CAT, sealed(cat)) == SPEECH


def test_a_later_epoch_is_no_new_group() -> None:
    """Only epoch 1 throws the group away: on any other number nothing is offered, the code stays, and the keys serve on."""
    _, (ann, bob) = call_of(ANN, BOB)
    code = ann.e2ee.privacy_code
    for epoch in (0, 2, 3):
        assert ann.e2ee.receive(PrepareEpoch(1, epoch)) == []
    assert ann.e2ee.privacy_code == code is not None
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH


def test_a_call_without_encryption_passes_everything() -> None:
    """Protocol 0 (a stage channel): frames go out and in as they are."""
    e2ee = DaveSession(user_id=ANN, metrics=Metrics())
    assert not e2ee.ready
    assert e2ee.encrypt(SPEECH) is None
    assert e2ee.start(channel_id=7, ssrc=1, protocol_version=0) == []
    assert (e2ee.encrypted, e2ee.ready) == (False, True)
    assert e2ee.encrypt(SPEECH) == SPEECH
    assert e2ee.decrypt(BOB, SPEECH) == SPEECH
    assert e2ee.decrypt(BOB, SPEECH + MARKER) == SPEECH + MARKER


def test_a_downgrade_takes_effect_when_it_is_executed() -> None:
    """Between its announcement and op 22 both kinds are opened and ours is still encrypted; afterwards all is clear."""
    _, (ann, bob) = call_of(ANN, BOB)
    for member in (ann, bob):
        assert member.e2ee.receive(PrepareTransition(40, 0)) == [SendReadyForTransition(40)]
    assert ann.e2ee.decrypt(BOB, SPEECH) == SPEECH
    assert ann.e2ee.decrypt(BOB, sealed(bob)) == SPEECH
    last = sealed(bob)
    for member in (ann, bob):
        member.e2ee.receive(ExecuteTransition(40))
    assert (ann.e2ee.encrypted, ann.e2ee.ready, ann.e2ee.privacy_code) == (False, True, None)
    assert ann.e2ee.encrypt(SPEECH) == SPEECH
    assert ann.e2ee.decrypt(BOB, last) == SPEECH


def code_of(member: Member) -> str | None:
    return member.e2ee.privacy_code


def test_a_session_that_is_described_anew_as_clear_shows_no_code() -> None:
    """People are not told that nobody listens in between while everything is clear; what was announced before is void."""
    _, (ann, _) = call_of(ANN, BOB)
    ann.e2ee.receive(PrepareTransition(40, 1))
    assert code_of(ann)
    ann.e2ee.start(channel_id=7, ssrc=1, protocol_version=0)
    assert (ann.e2ee.encrypted, ann.e2ee.encrypt(SPEECH), code_of(ann)) == (False, SPEECH, None)
    ann.e2ee.receive(ExecuteTransition(40))
    assert not ann.e2ee.encrypted


def test_an_upgrade_takes_effect_when_it_is_executed() -> None:
    """A clear call gets its group: until op 22 speech is clear, afterwards a clear frame is not believed any more."""
    delivery = Delivery()
    ann, bob = Member(ANN, 1), Member(BOB, 2)
    for member, other in ((ann, BOB), (bob, ANN)):
        member.e2ee.join([other])
        member.e2ee.start(channel_id=7, ssrc=member.ssrc, protocol_version=0)
        member.e2ee.receive(ExternalSender(delivery.external_sender))
        member.take(member.e2ee.receive(PrepareEpoch(1, 1)))
        delivery.members.append(member)
    transition_id = delivery.admit(bob)
    assert ann.e2ee.encrypt(SPEECH) == SPEECH
    assert bob.e2ee.decrypt(ANN, SPEECH) == SPEECH
    assert code_of(ann) is None, "people would take what is said for encrypted"
    delivery.execute(transition_id)
    assert code_of(ann)
    assert code_of(ann) == code_of(bob)
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH
    assert bob.e2ee.decrypt(ANN, SPEECH) is None


def test_an_empty_external_sender_is_survived() -> None:
    """The library would end the process for it; the one that was known before keeps its place."""
    delivery = Delivery()
    ann, bob = Member(ANN, 1), Member(BOB, 2)
    delivery.arrive(ann)
    ann.e2ee.receive(ExternalSender(b""))
    ann.take(ann.e2ee.receive(PrepareEpoch(1, 1)))
    delivery.arrive(bob)
    delivery.execute(delivery.admit(bob))
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH


def test_unknown_transitions_change_nothing() -> None:
    """Op 22 for a transition that nobody prepared is counted and ignored."""
    _, (ann, bob) = call_of(ANN, BOB)
    assert ann.e2ee.receive(ExecuteTransition(999)) == []
    assert ann.metrics.counter("voice.e2ee.unknown_transitions").value == 1
    assert bob.e2ee.decrypt(ANN, sealed(ann)) == SPEECH


EVENTS: st.SearchStrategy[E2eeEvent] = st.one_of(
    st.builds(ExternalSender, st.binary(max_size=80)),
    st.builds(Proposals, st.binary(max_size=80)),
    st.builds(AnnounceCommit, st.integers(0, 3), st.binary(max_size=80)),
    st.builds(Welcome, st.integers(0, 3), st.binary(max_size=80)),
    st.builds(PrepareTransition, st.integers(0, 3), st.integers(0, 2)),
    st.builds(ExecuteTransition, st.integers(0, 3)),
    st.builds(PrepareEpoch, st.integers(0, 3), st.integers(0, 3)),
)


@settings(max_examples=50, deadline=None)
@given(events=st.lists(EVENTS, max_size=8), frame=st.binary(max_size=60))
def test_no_script_of_a_server_raises(events: list[E2eeEvent], frame: bytes) -> None:
    """Whatever the server says to a member of a group, its calls answer; and rubbish never reaches Opus from an encrypted call."""
    _, (ann, _) = call_of(ANN, BOB)
    for event in events:
        ann.e2ee.receive(event)
    ann.e2ee.encrypt(SPEECH)
    opened = ann.e2ee.decrypt(BOB, frame + MARKER)
    assert opened is None or not ann.e2ee.encrypted
    ann.e2ee.find_sender(frame + MARKER, [BOB])


def test_the_library_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Frames that do not open are counted, and not logged one by one."""
    _, (ann, _) = call_of(ANN, BOB)
    with caplog.at_level(logging.DEBUG):
        ann.e2ee.decrypt(BOB, bytes(40) + MARKER)
    assert not [record for record in caplog.records if record.name == "dave"]
