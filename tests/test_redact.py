"""What nobody may read is masked, and ordinary text is left alone."""

import pytest

from discordplex.redact import redact, shown_url

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


def signed(length: int) -> str:
    return f"{'M' * length}.GabcdE.{'x' * 38}"


@pytest.mark.parametrize("length", range(23, 31))
def test_tokens_of_old_and_new_bots_are_masked(length: int) -> None:
    """The first part is the bot's id, which grows with the years."""
    assert redact(f"a {signed(length)} b") == "a *** b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wss://host/x?Token=abc&API_KEY=d&b=2", "wss://host/x?Token=***&API_KEY=***&b=2"),
        ("https://h/v1?Signature=abc&X-Auth-Code=d", "https://h/v1?Signature=***&X-Auth-Code=***"),
        ("https://h/v1?api-key=abc#x", "https://h/v1?api-key=***"),
        ("{'Authorization': 'Bearer abc.def', 'Host': 'h'}", "{'Authorization': 'Bearer ***', 'Host': 'h'}"),
        ("authorization: basic dTpw", "authorization: basic ***"),
        ("Proxy-Authorization: Basic dTpw==", "Proxy-Authorization: Basic ***"),
        ("sent bearer abcdefghij to it", "sent bearer *** to it"),
        ("X-Api-Key=abcdef", "X-Api-Key=***"),
        ("api_key=abc other=1", "api_key=*** other=1"),
        ('{"token": "abc", "n": 1}', '{"token": "***", "n": 1}'),
        ("password = 'abc'", "password = '***'"),
        ("postgresql://u:a/b@c@db/x", "postgresql://***@db/x"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop.", "Incorrect API key provided: ***."),
        ("POST /webhooks/123456/aW50ZXJ/messages/@original", "POST /webhooks/123456/***/messages/@original"),
        ("/interactions/123456/aW50ZXJ/callback", "/interactions/123456/***/callback"),
    ],
)
def test_secrets_are_masked_as_people_and_programs_write_them(text: str, expected: str) -> None:
    """Headers, assignments, JSON, keys by their beginning, and Discord's addresses that are secrets themselves."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://discord.com/api/v10", "https://discord.com/api/v10"),
        ("ws://me:pw@gpu.lan:8998/api/chat?worker=3", "ws://***@gpu.lan:8998/api/chat?***"),
        ("https://h/openai/deployments/mine?api-version=1", "https://h/openai/deployments/***?***"),
        ("https://[fd00::1]:8/v1", "https://[fd00::1]:8/v1"),
        ("sqlite+aiosqlite:///data/discordplex.db", "sqlite+aiosqlite:///data/discordplex.db"),
        ("sqlite:///x.db?key=abc", "sqlite:///x.db?***"),
        ("postgresql://u:p@h/bot?password=x", "postgresql://***@h/bot?***"),
        ("postgresql://u:p/q@h/bot", "postgresql://***"),
        ("postgresql://u:1#@h/bot", "postgresql://***"),
        ("postgresql://a:1,b:2/bot", "postgresql://a:1,b:2/bot"),
        ("localhost:8880", "localhost:8880"),
        ("sk-abcdefghijk", "***"),
        ("host=h password=x", "***"),
        ("gopher://x", "***"),
        ("", "***"),
    ],
)
def test_of_a_url_only_what_is_known_to_be_no_secret_is_shown(url: str, expected: str) -> None:
    """Everything else is masked, the whole where it cannot be taken apart for certain."""
    assert shown_url(url) == expected
