"""What close codes ask for."""

import pytest

from discordplex.voice.close_codes import CLOSE_CODES, Repair, classify


@pytest.mark.parametrize("code", [None, 1000, 1006, 3999, 4000, 4015])
def test_a_lost_connection_is_resumed(code: int | None) -> None:
    """Network loss, WebSocket's own codes, an unnamed error and a crashed voice server leave the session alive."""
    assert classify(code).repair is Repair.RESUME


@pytest.mark.parametrize("code", [4004, 4006, 4009, 4999])
def test_a_lost_session_is_entered_anew(code: int) -> None:
    """Codes that end the session, and ones nobody documented, ask to leave and enter again."""
    assert classify(code).repair is Repair.REJOIN


@pytest.mark.parametrize("code", [4014, 4022])
def test_moved_or_removed_waits_for_what_discord_says(code: int) -> None:
    """The same code means a move or a removal; the next seconds tell."""
    assert classify(code).repair is Repair.WAIT


@pytest.mark.parametrize("code", [4012, 4016, 4017, 4021])
def test_what_no_repetition_can_mend_ends(code: int) -> None:
    """Coming back would only be refused again."""
    assert classify(code).repair is Repair.END


def test_every_sentence_names_its_code() -> None:
    """A person who reads the sentence can look the code up."""
    for code in CLOSE_CODES:
        assert f"(close code {code})" in classify(code).sentence
    assert "end-to-end encryption in this voice channel" in classify(4017).sentence
