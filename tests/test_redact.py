"""What nobody may read is masked, and ordinary text is left alone."""

import pytest

from discordplex.redact import redact

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyzABCDEF"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Authorization: Bot {TOKEN}", "Authorization: Bot ***"),
        ("ws://user:pass@host:1/x", "ws://***@host:1/x"),
        ("wss://host/x?a=1&token=abc&b=2", "wss://host/x?a=1&token=***&b=2"),
        ("postgresql://me:pw@db/name and https://a@b/c", "postgresql://***@db/name and https://***@b/c"),
    ],
)
def test_secrets_are_masked_by_their_shape(text: str, expected: str) -> None:
    """Bot tokens, passwords in URLs and parameters named like secrets are masked wherever they stand."""
    assert redact(text) == expected


def test_known_secrets_are_masked_whatever_their_shape() -> None:
    """A secret that was made known is found inside any text."""
    assert redact("it was hunter22.", frozenset({"hunter22"})) == "it was ***."


@pytest.mark.parametrize("text", ["discordplex.loopback.discord.server", "mail me@example.org", "https://127.0.0.1:4/api/v10", "1.2.3"])
def test_ordinary_text_stays(text: str) -> None:
    """Module names, addresses and versions are not secrets."""
    assert redact(text) == text
