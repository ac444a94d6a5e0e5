"""What the doctor says of this machine."""

from collections.abc import Callable

import pytest

from discordplex.doctor import machine
from discordplex.doctor.finding import Finding
from discordplex.doctor.machine import check_discord_library


@pytest.mark.parametrize(
    "check", [machine.check_python, machine.check_discord_library, machine.check_opus, machine.check_oggopus, machine.check_dave]
)
def test_a_tested_machine_is_sound(check: Callable[[], Finding]) -> None:
    """Where the tests run, no check of the machine fails."""
    assert check().verdict == "ok"


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
