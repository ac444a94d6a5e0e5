"""The doctor's own call."""

import os
from pathlib import Path

import pytest

from discordplex.doctor.round_trip import RoundTrip, check_round_trip, judge, trusting


async def test_this_machine_can_call() -> None:
    """Where the tests run, an encrypted call works, and nothing is left of it."""
    before = os.environ.get("SSL_CERT_FILE")
    finding = await check_round_trip()
    assert finding.verdict in ("ok", "warning"), finding
    assert os.environ.get("SSL_CERT_FILE") == before


@pytest.mark.parametrize(
    ("decrypted", "heard_back_s", "verdict"),
    [(100, 2.0, "ok"), (99, 2.0, "warning"), (50, 2.0, "failure"), (100, 0.5, "failure"), (0, 0.0, "failure")],
)
def test_a_call_is_judged_by_both_ways(decrypted: int, heard_back_s: float, verdict: str) -> None:
    """Deaf or mute is a failure, a few lost frames a warning."""
    assert judge(RoundTrip(sent=100, decrypted=decrypted, heard_back_s=heard_back_s, lateness_p99_ms=1.0)).verdict == verdict


def test_trust_is_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What SSL_CERT_FILE was, it is again."""
    monkeypatch.setenv("SSL_CERT_FILE", "/somewhere")
    with trusting(tmp_path):
        assert os.environ["SSL_CERT_FILE"] == str(tmp_path)
    assert os.environ["SSL_CERT_FILE"] == "/somewhere"
