"""What people's sound means while the engine speaks, and who spoke when."""

import pytest

from discordplex.realtime.turns import CUT_MS, DOUBT_MS, HOLD_MS, Floor, FloorWatch, SpokenTimes

H, R, C = Floor.HOLD, Floor.RESUME, Floor.CUT

CASES = [
    ("a click", [(60, True), (1000, False)], True, []),
    ("a cough", [(160, True), (1000, False)], True, [H, R]),
    ("a cough in two parts", [(100, True), (200, False), (100, True), (1000, False)], True, [H, R]),
    ("in earnest", [(2000, True)], True, [H, C]),
    ("in earnest, with pauses between the words", [(200, True), (200, False), (1000, True)], True, [H, C]),
    ("noise that the server does not take for speech", [(3000, True)], False, [H, R]),
    ("two coughs", [(160, True), (1000, False), (160, True), (1000, False)], True, [H, R, H, R]),
]


@pytest.mark.parametrize(("spans", "hears", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_over_the_engines_voice(spans: list[tuple[int, bool]], expected: list[Floor], *, hears: bool) -> None:
    """A short sound costs a short pause, a long one the reply."""
    floor = FloorWatch()
    found = [floor.tick(loud=loud, sounding=True, server_hears=hears) for length, loud in spans for _ in range(length // 20)]
    assert [decision for decision in found if decision] == expected


def test_when_it_is_decided() -> None:
    """Held within 80 ms, cut at 400, given up at 800; nothing where the engine is silent."""
    for hears, second in ((True, CUT_MS), (False, DOUBT_MS)):
        floor = FloorWatch()
        found = {tick * 20: floor.tick(loud=True, sounding=True, server_hears=hears) for tick in range(1, 60)}
        assert sorted(at for at, decision in found.items() if decision) == [HOLD_MS, second]
    assert not any(FloorWatch().tick(loud=True, sounding=False, server_hears=True) for _ in range(60))


def test_who_spoke() -> None:
    """One person where they clearly did, nobody where it was several or none."""
    spoken = SpokenTimes()
    for length, loud in ((1000, {1}), (500, set()), (400, {2}), (100, {1, 2}), (300, {3})):
        for _ in range(length // 20):
            spoken.add(20, frozenset(loud))
    assert spoken.now_ms == 2300
    assert spoken.speaker(0, 1000) == 1
    assert spoken.speaker(1000, 1500) is None
    assert spoken.speaker(1500, 2000) == 2
    assert spoken.speaker(0, 2300) is None
    assert spoken.speakers(900, 2300) == {1, 2, 3}
