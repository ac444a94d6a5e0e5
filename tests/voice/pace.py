"""The watchdog in less than its time."""

import pytest

from discordplex.voice import deafness, watchdog


def hurry_watchdog(monkeypatch: pytest.MonkeyPatch, pace: float) -> None:
    """Divide everything that the watchdog waits for by `pace`, until the test is over."""
    for name in ("UNREADABLE_S", "ABSENT_S", "LATE_MESSAGE_S", "DEAD_PATH_S", "GRACE_S", "HEARD_S", "RETRY_S"):
        monkeypatch.setattr(deafness, name, getattr(deafness, name) / pace)
    monkeypatch.setattr(deafness, "UNREADABLE_PACKETS", 5)
    monkeypatch.setattr(watchdog, "LOOK_S", watchdog.LOOK_S / pace)
