"""When a call takes itself for deaf, and when it does not: its judgement alone, half a second at a time."""

from dataclasses import replace

import pytest

from discordplex.voice.deafness import Again, Deaf, Deafness, Finding, Remedy, Symptom, Vital

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
        self.excused: set[int] = set()
        self.now = 100.0
        self.vitals = {
            person: Vital(ssrc=person % 1000, user_id=person, announced=0, arrived=0, read=0, silences=0, ended=True) for person in people
        }
        self.deafness.begin_session(self.now)
        self.wait(2.0)

    def wait(self, seconds: float, *speaking: int, readable: bool = True) -> list[Finding]:
        """Let time pass while these people speak; what is found, up to the first finding."""
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            for person in speaking:
                vital = self.vitals[person]
                self.vitals[person] = replace(vital, arrived=vital.arrived + PACKETS, read=vital.read + readable * PACKETS, ended=False)
            found = self.deafness.look(self.now, self.vitals.values(), excused=self.excused, encrypted=self.encrypted)
            if found:
                return found
        return []

    def announce(self, person: int) -> None:
        self.vitals[person] = replace(self.vitals[person], announced=self.vitals[person].announced + 1)

    def end(self, person: int) -> None:
        self.vitals[person] = replace(self.vitals[person], silences=self.vitals[person].silences + 5, ended=True)

    def reconnect(self) -> None:
        """A new session: everything is counted from nothing."""
        self.vitals = {
            person: replace(vital, announced=0, arrived=0, read=0, silences=0, ended=True) for person, vital in self.vitals.items()
        }
        self.deafness.begin_session(self.now)


def deaf(speaker: int, symptom: Symptom, remedy: Remedy) -> list[Finding]:
    return [Deaf(speaker, symptom, remedy)]


def test_what_cannot_be_read_is_noticed_and_mended_step_by_step() -> None:
    """Within five seconds of speech each time: new keys, then a new session, then people are told, and then nothing more for a minute."""
    room = Room(ADA)
    for remedy in (Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL):
        assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, remedy)
        if remedy is Remedy.RECONNECT:
            room.reconnect()
    assert room.wait(55.0, ADA, readable=False) == []
    assert room.wait(10.0, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.RECONNECT)


def test_a_mend_that_helped_is_the_first_again_next_time() -> None:
    """Once somebody is heard, what was tried before counts no more; and who was told about is told about again."""
    room = Room(ADA)
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.REKEY)
    assert room.wait(1.0, ADA) == []
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.REKEY)
    room.wait(NOTICED_WITHIN_S, ADA, readable=False)
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(ADA, Symptom.UNREADABLE, Remedy.TELL)
    assert room.wait(1.0, ADA) == [Again(ADA)]
    assert room.wait(1.0, ADA) == []


@pytest.mark.parametrize("cut_off", [False, True])
def test_what_does_not_arrive_is_noticed(cut_off: bool) -> None:  # noqa: FBT001 - a table of values
    """Somebody is said to speak, or breaks off without the silence that ends speech: a new session within five seconds."""
    room = Room(ADA, BEN)
    if cut_off:
        assert room.wait(2.0, ADA) == []
    else:
        room.announce(ADA)
    assert room.wait(NOTICED_WITHIN_S) == deaf(ADA, Symptom.ABSENT, Remedy.RECONNECT)
    room.reconnect()
    assert room.wait(10.0) == []
    room.announce(ADA)
    assert room.wait(NOTICED_WITHIN_S) == deaf(ADA, Symptom.ABSENT, Remedy.TELL)


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
    """Somebody is cut off or announced and absent while somebody else is heard: it is their own connection, and no reason to leave."""
    room = Room(ADA, BEN)
    room.wait(2.0, ADA, BEN)
    assert room.wait(10.0, BEN) == []
    room.announce(ADA)
    assert room.wait(10.0, BEN) == []


def test_one_who_cannot_be_read_does_not_disturb_the_others_for_ever() -> None:
    """While somebody else is heard, both mends are tried once, people are told once, and that is all."""
    room = Room(ADA, BEN)
    found = []
    for _ in range(60):
        room.wait(2.0, BEN)
        for finding in room.wait(5.0, ADA, readable=False):
            assert isinstance(finding, Deaf)
            found.append(finding.remedy)
            if finding.remedy is Remedy.RECONNECT:
                room.reconnect()
    assert found == [Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL]


def test_a_mend_is_for_everybody() -> None:
    """Two who cannot be read cause one change of keys and one new session, and each is told about."""
    room = Room(ADA, BEN)
    remedies = []
    for _ in range(5):
        (finding, *_) = room.wait(NOTICED_WITHIN_S, ADA, BEN, readable=False) or [Again(0)]
        remedies.append(finding.remedy if isinstance(finding, Deaf) else None)
    assert remedies == [Remedy.REKEY, Remedy.RECONNECT, Remedy.TELL, Remedy.TELL, None]


def test_a_few_late_packets_are_no_proof() -> None:
    """The rest of a sentence under the last key is not speech that cannot be read."""
    room = Room(ADA)
    room.vitals[ADA] = replace(room.vitals[ADA], arrived=20, ended=True)
    assert room.wait(20.0) == []


def test_somebody_without_a_name_is_missed_too() -> None:
    """Where Discord never says whose a stream is, the stream is who is not heard; its name, once it comes, begins anew."""
    room = Room(ADA)
    nameless = replace(room.vitals[ADA], user_id=None)
    room.vitals = {ADA: nameless}
    assert room.wait(NOTICED_WITHIN_S, ADA, readable=False) == deaf(nameless.ssrc, Symptom.UNREADABLE, Remedy.REKEY)
    room.vitals[ADA] = replace(room.vitals[ADA], user_id=ADA, read=room.vitals[ADA].arrived, ended=True)
    assert room.wait(20.0) == []
