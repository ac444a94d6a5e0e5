"""What the doctor says of this machine."""

import pytest

from discordplex.doctor.machine import check_discord_library, check_machine


def test_a_tested_machine_is_sound() -> None:
    """Where the tests run, no check of the machine fails."""
    assert [finding for finding in check_machine() if finding.verdict != "ok"] == []


@pytest.mark.parametrize(
    ("installed", "verdict"),
    [
        ({"py-cord": "2.8.1"}, "ok"),
        ({}, "failure"),
        ({"discord.py": "2.7.1"}, "failure"),
        ({"py-cord": "2.8.1", "discord.py": "2.7.1"}, "failure"),
    ],
)
def test_two_libraries_own_one_name(installed: dict[str, str], verdict: str) -> None:
    """Only py-cord alone will do, and a failure names the mend."""
    finding = check_discord_library(installed.get)
    assert finding.verdict == verdict
    assert (finding.verdict == "failure") == ("pip install" in finding.mend)
