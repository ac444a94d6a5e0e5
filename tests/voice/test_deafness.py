"""When a call takes itself for deaf, and when it does not: its judgement alone, half a second at a time."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.voice.deafness import (
    BUDGET_S,
    CALL_BUDGET,
    DEAD_PATH_S,
    MAX_SPEAKERS,
    PATH_BUDGET,
    SPEAKER_BUDGET,
    Deafness,
    Evidence,
    Finding,
    HeardAgain,
    NotHeard,
    Remedy,
    StreamCounts,
    Symptom,
    verdict,
)

ADA, BEN = 2**60, 2**60 + 1
LOOK_S = 0.5
NOTICED_WITHIN_S = 5.0
PACKETS = 25
"""What somebody sends in one step."""


class Room:
    """People, as a receiver counts them, and a judgement that looks at them twice a second."""

    def __init__(self, *people: int) -> None:
        self.deafness = Deafness()
        self.encrypted = True
        self.excused: set[int | None] = set()
        self.path_silent_s = 0.0
        self.now = 100.0
        self.stream_counts = {
            person: StreamCounts(ssrc=person % 1000, user_id=person, announced=0, arrived=0, read=0, silences=0, ended=True)
            for person in people
        }
        self.deafness.begin_session(self.now)
        self.wait(2.0)

    def wait(self, seconds: float, *speaking: int, readable: bool = True) -> list[Finding]:
        """Let time pass while these people speak; what is found, up to the first finding."""
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            for person in speaking:
                counts = self.stream_counts[person]
                self.stream_counts[person] = replace(
                    counts, arrived=counts.arrived + PACKETS, read=counts.read + readable * PACKETS, ended=False
                )
            found = self.deafness.look(
                self.now, self.stream_counts.values(), excused=self.excused, encrypted=self.encrypted, path_silent_s=self.path_silent_s
            )
            if found:
                return found
        return []

    def announce(self, person: int) -> None:
        self.stream_counts[person] = replace(self.stream_counts[person], announced=self.stream_counts[person].announced + 1)

    def end(self, person: int) -> None:
        self.stream_counts[person] = replace(self.stream_counts[person], silences=self.stream_counts[person].silences + 5, ended=True)

    def reconnect(self) -> None:
        """A new session: everything is counted from nothing."""
        self.stream_counts = {
            person: replace(counts, announced=0, arrived=0, read=0, silences=0, ended=True) for person, counts in self.stream_counts.items()
        }
        self.deafness.begin_session(self.now)


def deaf(speaker: int, symptom: Symptom, remedy: Remedy) -> list[Finding]:
    return [NotHeard(speaker, symptom, remedy)]


def test_what_cannot_be_read_is_noticed_and_mended_step_by_step() -> None:
    """Within five seconds of speech each time: new keys, then a new session, then people are told, and then nothing more for a minute."""
    room = Room(ADA)
    for remedy in (Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL):
        assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, remedy)
        if remedy is Remedy.RECONNECT:
            room.reconnect()
    assert room.wait(55.0, ADA, readable=False) == []
    assert room.wait(10.0, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.RECONNECT)
    room.reconnect()
    assert room.wait(BUDGET_S - 90, ADA, readable=False) == []
    assert room.wait(60.0, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.RECONNECT)


def test_a_mend_that_helped_is_the_first_again_next_time() -> None:
    """Once somebody is heard, what was tried before counts no more; and who was told about is told about again."""
    room = Room(ADA)
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.REKEY)
    assert room.wait(1.0, ADA) == []
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.REKEY)
    room.wait(NOTICED_WITHIN_S, ADA, readable=False)
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.TELL)
    assert room.wait(1.0, ADA) == [HeardAgain(ADA)]
    assert room.wait(1.0, ADA) == []


def test_what_does_not_arrive_is_noticed() -> None:
    """Somebody is said to speak, and nothing arrives from anybody: a new session within five seconds, then a word to the people."""
    room = Room(ADA, BEN)
    room.announce(ADA)
    assert room.wait(NOTICED_WITHIN_S) == deaf(ADA, Symptom.ABSENT, Remedy.RECONNECT)
    room.reconnect()
    assert room.wait(10.0) == []
    room.announce(ADA)
    assert room.wait(NOTICED_WITHIN_S) == deaf(ADA, Symptom.ABSENT, Remedy.TELL)


def test_a_missing_end_of_speech_proves_nothing() -> None:
    """Three utterances that end without the silence packets, each announced: no remedy; the path is asked for a while."""
    room = Room(ADA)
    for _ in range(3):
        room.announce(ADA)
        assert room.wait(4.0, ADA) == []
        doubts = [room.deafness.in_doubt]
        for silence_s in (LOOK_S, 20.0):
            assert room.wait(silence_s) == []
            doubts.append(room.deafness.in_doubt)
        assert doubts == [False, True, False]


def test_a_word_that_comes_late_is_about_what_was_said() -> None:
    """Somebody says half a word, and only then it is said that they speak: nobody is missed."""
    room = Room(ADA)
    room.wait(LOOK_S, ADA)
    room.announce(ADA)
    assert room.wait(20.0) == []


def test_a_dead_path_is_noticed_whoever_speaks() -> None:
    """Keep-alives unanswered for three seconds: a new session, as often as its budget allows, and never a change of keys."""
    room = Room(ADA, BEN)
    room.wait(2.0, ADA, BEN)
    room.path_silent_s = DEAD_PATH_S - 0.1
    assert room.wait(LOOK_S) == []
    room.path_silent_s = DEAD_PATH_S
    for _ in range(PATH_BUDGET[Remedy.RECONNECT]):
        assert room.wait(LOOK_S) == [NotHeard(None, Symptom.DEAD_PATH, Remedy.RECONNECT)]
        room.reconnect()
    assert room.wait(BUDGET_S - 10) == []
    assert room.wait(20.0) == [NotHeard(None, Symptom.DEAD_PATH, Remedy.RECONNECT)]


REKEY, RECONNECT, TELL, NOTHING = Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL, None
UNREADABLE, ABSENT, DEAD_PATH = Symptom.UNREADABLE, Symptom.ABSENT, Symptom.DEAD_PATH


@pytest.mark.parametrize(
    ("symptom", "encrypted", "others_heard", "tried", "told", "retry_due", "expected"),
    [
        (UNREADABLE, True, False, None, False, False, REKEY),
        (UNREADABLE, True, True, None, False, False, REKEY),
        (UNREADABLE, True, False, REKEY, False, False, RECONNECT),
        (UNREADABLE, True, True, REKEY, False, False, TELL),
        (UNREADABLE, False, False, None, False, False, RECONNECT),
        (UNREADABLE, False, True, None, False, False, TELL),
        (UNREADABLE, True, False, RECONNECT, False, False, TELL),
        (UNREADABLE, True, False, RECONNECT, True, False, NOTHING),
        (UNREADABLE, True, False, RECONNECT, True, True, RECONNECT),
        (UNREADABLE, True, True, RECONNECT, True, True, NOTHING),
        (ABSENT, True, False, None, False, False, RECONNECT),
        (ABSENT, True, False, RECONNECT, False, False, TELL),
        (ABSENT, True, False, RECONNECT, True, False, NOTHING),
        (ABSENT, True, False, RECONNECT, True, True, RECONNECT),
        (DEAD_PATH, True, False, None, False, False, RECONNECT),
        (DEAD_PATH, True, True, RECONNECT, True, False, RECONNECT),
    ],
)
def test_what_follows_from_the_facts(
    *,
    symptom: Symptom,
    encrypted: bool,
    others_heard: bool,
    tried: Remedy | None,
    told: bool,
    retry_due: bool,
    expected: Remedy | None,
) -> None:
    """The table of verdicts."""
    facts = Evidence(symptom=symptom, encrypted=encrypted, others_heard=others_heard, tried=tried, told=told, retry_due=retry_due)
    assert verdict(facts) is expected


def test_no_facts_reconnect_for_one_speaker_while_others_are_heard() -> None:
    """Whatever else is true."""
    flags = (False, True)
    for encrypted, tried, told, retry_due in itertools.product(flags, (None, *Remedy), flags, flags):
        facts = Evidence(symptom=UNREADABLE, encrypted=encrypted, others_heard=True, tried=tried, told=told, retry_due=retry_due)
        assert verdict(facts) is not RECONNECT


def remedies_of(room: Room, minutes: float, *others: int, attackers: tuple[int, ...]) -> Counter[Remedy]:
    """Attackers take turns: what cannot be read until something follows or six seconds are over, then a moment that can be read."""
    found: Counter[Remedy] = Counter()
    until = room.now + minutes * 60
    for attacker in itertools.cycle(attackers):
        if room.now >= until:
            return found
        for _ in range(6):
            for finding in room.wait(LOOK_S, attacker, readable=False) + room.wait(LOOK_S, *others):
                if isinstance(finding, NotHeard):
                    found[finding.remedy] += 1
                    if finding.remedy is Remedy.RECONNECT:
                        room.reconnect()
        room.wait(LOOK_S, attacker)
    return found


def test_bad_packets_then_a_good_one_are_not_worth_repeating() -> None:
    """Five minutes of it by one speaker, alone: no more than the speaker's budget, where there were 35 changes of keys and 35 sessions."""
    found = remedies_of(Room(ADA), 5, attackers=(ADA,))
    assert all(found[remedy] <= SPEAKER_BUDGET[remedy] for remedy in Remedy)


def test_an_attacker_never_costs_the_others_their_session() -> None:
    """The same while somebody else is heard: no new session at all."""
    assert remedies_of(Room(ADA, BEN), 10, BEN, attackers=(ADA,))[Remedy.RECONNECT] == 0


def test_many_attackers_share_the_budget_of_the_call() -> None:
    """Forty people who take turns, and leave and come back, get no more out of it than the call allows."""
    people = tuple(range(5000, 5040))
    found = remedies_of(Room(*people), 9, attackers=people)
    assert found[Remedy.REKEY] == CALL_BUDGET[Remedy.REKEY]
    assert all(found[remedy] <= CALL_BUDGET[remedy] for remedy in Remedy)


def test_who_leaves_and_comes_back_has_the_same_budget() -> None:
    """Leaving the channel takes the counts away and not the record of what was done."""
    room = Room(ADA)
    found: Counter[Remedy] = Counter()
    for _ in range(20):
        found.update(finding.remedy for finding in room.wait(4.0, ADA, readable=False) if isinstance(finding, NotHeard))
        room.wait(LOOK_S, ADA)
        (gone,) = room.stream_counts.values()
        room.stream_counts = {}
        room.wait(LOOK_S)
        room.stream_counts = {ADA: replace(gone, announced=0, arrived=0, read=0, ended=True)}
    assert all(found[remedy] <= SPEAKER_BUDGET[remedy] for remedy in Remedy)


def test_streams_without_a_name_share_a_budget() -> None:
    """A new SSRC is no new speaker."""
    room = Room()
    found: Counter[Remedy] = Counter()
    for ssrc in range(40):
        room.stream_counts = {ssrc: StreamCounts(ssrc=ssrc, user_id=None, announced=0, arrived=0, read=0, silences=0, ended=False)}
        found.update(finding.remedy for finding in room.wait(4.0, ssrc, readable=False) if isinstance(finding, NotHeard))
    assert sum(found.values()) > 0
    assert all(found[remedy] <= SPEAKER_BUDGET[remedy] for remedy in Remedy)


def test_what_is_remembered_of_people_is_bounded() -> None:
    """Ten thousand ids, each of whom is announced and never heard, leave as many records as are kept."""
    room = Room()
    for start in range(0, 10_000, 500):
        room.stream_counts = {
            person: StreamCounts(ssrc=person, user_id=person, announced=1, arrived=0, read=0, silences=0, ended=False)
            for person in range(start, start + 500)
        }
        room.wait(4.0)
    assert len(room.deafness._speakers) <= MAX_SPEAKERS


@settings(max_examples=60, deadline=None)
@given(script=st.lists(st.tuples(st.sampled_from([ADA, BEN]), st.booleans(), st.integers(1, 12), st.booleans()), max_size=80))
def test_no_script_of_two_speakers_costs_more_than_the_budgets(script: list[tuple[int, bool, int, bool]]) -> None:
    """Whoever sends what for how long, announced or not: within any ten minutes, no remedy is used more often than the call's budget."""
    room = Room(ADA, BEN)
    used: list[tuple[Remedy, float]] = []
    for person, readable, looks, announced in script:
        if announced:
            room.announce(person)
        for _ in range(looks):
            for finding in room.wait(LOOK_S, person, readable=readable):
                if isinstance(finding, NotHeard):
                    used.append((finding.remedy, room.now))
                    if finding.remedy is Remedy.RECONNECT:
                        room.reconnect()
    for remedy, at in used:
        assert sum(other is remedy and at - BUDGET_S < then <= at for other, then in used) <= CALL_BUDGET[remedy]


def test_who_is_announced_again_and_again_is_missed_from_the_first_time() -> None:
    """Short sentences with pauses between do not put the alarm off."""
    room = Room(ADA)
    found = []
    for _ in range(3):
        room.announce(ADA)
        found += room.wait(1.5)
    assert found == deaf(ADA, Symptom.ABSENT, Remedy.RECONNECT)


def test_a_clear_call_has_no_keys_to_change() -> None:
    """Without encryption the first mend is a new session."""
    room = Room(ADA)
    room.encrypted = False
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.RECONNECT)


def test_silence_is_no_symptom() -> None:
    """Nobody speaks, somebody has finished, somebody was announced and sent only the end of speech, somebody said half a word: no alarm."""
    room = Room(ADA, BEN)
    assert room.wait(20.0) == []
    room.wait(2.0, ADA)
    room.end(ADA)
    assert room.wait(20.0) == []
    room.announce(BEN)
    room.end(BEN)
    assert room.wait(20.0) == []
    room.wait(0.5, BEN)
    assert room.wait(20.0) == []


def test_who_is_excused_raises_no_alarm() -> None:
    """Muted in the middle of a word, or opted out: neither is missed; and nothing of that counts afterwards."""
    room = Room(ADA)
    room.wait(2.0, ADA)
    room.excused.add(ADA)
    room.announce(ADA)
    assert room.wait(20.0) == []
    assert room.wait(20.0, ADA, readable=False) == []
    room.excused.clear()
    assert room.wait(20.0) == []


def test_what_is_said_of_speakers_at_the_start_of_a_session_proves_nothing() -> None:
    """It may be old news for a newcomer."""
    room = Room(ADA)
    room.reconnect()
    room.announce(ADA)
    assert room.wait(20.0) == []


def test_where_others_arrive_the_way_is_open() -> None:
    """Somebody is announced and absent while somebody else is heard: it is their own connection, and no reason to leave."""
    room = Room(ADA, BEN)
    room.wait(2.0, ADA, BEN)
    assert room.wait(10.0, BEN) == []
    room.announce(ADA)
    assert room.wait(10.0, BEN) == []


def test_one_who_cannot_be_read_does_not_disturb_the_others_for_ever() -> None:
    """While somebody else is heard, keys are changed once, people are told once, and that is all."""
    room = Room(ADA, BEN)
    found = []
    for _ in range(60):
        room.wait(2.0, BEN)
        for finding in room.wait(5.0, ADA, readable=False):
            assert isinstance(finding, NotHeard)
            found.append(finding.remedy)
            if finding.remedy is Remedy.RECONNECT:
                room.reconnect()
    assert found == [Remedy.REKEY, Remedy.TELL]


def test_a_mend_is_for_everybody() -> None:
    """Two who cannot be read cause one change of keys and one new session, and each is told about."""
    room = Room(ADA, BEN)
    remedies = []
    for _ in range(5):
        (finding, *_) = room.wait(NOTICED_WITHIN_S, ADA, BEN, readable=False) or [HeardAgain(0)]
        remedies.append(finding.remedy if isinstance(finding, NotHeard) else None)
    assert remedies == [Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL, Remedy.TELL, None]


def test_a_few_late_packets_are_no_proof() -> None:
    """The rest of a sentence under the last key is not speech that cannot be read."""
    room = Room(ADA)
    room.stream_counts[ADA] = replace(room.stream_counts[ADA], arrived=20, ended=True)
    assert room.wait(20.0) == []


@pytest.mark.parametrize("former_first", [True, False])
def test_somebody_with_a_new_stream_is_missed_too(*, former_first: bool) -> None:
    """Who reconnects has another SSRC; what the former one has counted hides nothing of the new one, in whatever order they come."""
    room = Room(ADA)
    assert room.wait(5.0, ADA) == []
    former = replace(room.stream_counts[ADA], ssrc=1)
    new = replace(former, ssrc=2, arrived=0, read=0)
    found: list[Finding] = []
    for _ in range(round(NOTICED_WITHIN_S / LOOK_S)):
        new = replace(new, arrived=new.arrived + PACKETS)
        room.stream_counts = {1: former, 2: new} if former_first else {2: new, 1: former}
        found += room.wait(LOOK_S)
    assert found == deaf(ADA, Symptom.UNREADABLE, Remedy.REKEY)


def test_somebody_without_a_name_is_missed_too() -> None:
    """Where Discord never says whose a stream is, the stream is who is not heard; its name, once it comes, begins anew."""
    room = Room(ADA)
    nameless = replace(room.stream_counts[ADA], user_id=None)
    room.stream_counts = {ADA: nameless}
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(nameless.ssrc, Symptom.UNREADABLE, Remedy.REKEY)
    room.stream_counts[ADA] = replace(room.stream_counts[ADA], user_id=ADA, read=room.stream_counts[ADA].arrived, ended=True)
    assert room.wait(20.0) == []
