"""Where a session is opened, with what, and which dialect is spoken there."""

import pytest

from discordplex.realtime.dialects import AZURE, DIALECTS, GPT_LIVE, OPENAI, OTHER, VLLM_OMNI, XAI, Dialect, dialect_of, needs_key

MODEL = "gpt-realtime-2.1-mini"

ADDRESSES = [
    ("https://api.openai.com/v1", MODEL, OPENAI, f"wss://api.openai.com/v1/realtime?model={MODEL}"),
    ("wss://api.openai.com/v1/realtime", MODEL, OPENAI, f"wss://api.openai.com/v1/realtime?model={MODEL}"),
    ("https://api.openai.com/v1/", "a b&c", OPENAI, "wss://api.openai.com/v1/realtime?model=a+b%26c"),
    ("https://ann.openai.azure.com", "voice", AZURE, "wss://ann.openai.azure.com/openai/v1/realtime?model=voice"),
    ("https://ann.openai.azure.com/openai/v1", "voice", AZURE, "wss://ann.openai.azure.com/openai/v1/realtime?model=voice"),
    ("https://api.x.ai/v1", "grok-voice-latest", XAI, "wss://api.x.ai/v1/realtime?model=grok-voice-latest"),
    ("http://localhost:8080/v1", "gpt-4o", OTHER, "ws://localhost:8080/v1/realtime?model=gpt-4o"),
    ("ws://localhost:8080/v1?tenant=1", "x", OTHER, "ws://localhost:8080/v1/realtime?model=x&tenant=1"),
    ("http://gpu:8099/v1", "nvidia/personaplex-7b-v1", VLLM_OMNI, "ws://gpu:8099/v1/realtime?duplex=1"),
    ("ws://gpu:8099/v1/realtime?duplex=1&autostart=0", "x", VLLM_OMNI, "ws://gpu:8099/v1/realtime?duplex=1&autostart=0"),
    ("https://api.openai.com/v1", "gpt-live-1", GPT_LIVE, "wss://api.openai.com/v1/live/sessions"),
    ("https://api.openai.com/v1/live/sessions", MODEL, GPT_LIVE, "wss://api.openai.com/v1/live/sessions"),
    ("https://notopenai.azure.com.evil.example", MODEL, OTHER, f"wss://notopenai.azure.com.evil.example/realtime?model={MODEL}"),
]


@pytest.mark.parametrize(("base", "model", "dialect", "url"), ADDRESSES)
def test_the_address_tells_the_dialect(base: str, model: str, dialect: Dialect, url: str) -> None:
    """With `auto`; the URL is that of a session, whatever of it was written already."""
    assert dialect_of("auto", base, model) is dialect
    assert dialect.url(base, model) == url


def test_the_services_of_others_cost_money() -> None:
    """A server of one's own does not, whatever it speaks."""
    assert {one for one in (OPENAI, OTHER, AZURE, XAI, VLLM_OMNI, GPT_LIVE) if one.costs_money} == {OPENAI, AZURE, XAI, GPT_LIVE}


@pytest.mark.parametrize(("base", "model", "dialect"), [address[:3] for address in ADDRESSES])
def test_a_service_needs_a_key_and_a_server_of_ones_own_may_need_none(base: str, model: str, dialect: Dialect) -> None:
    """Whatever the model is called."""
    del model
    assert needs_key(base) is dialect.costs_money


def test_no_path_makes_a_server_of_ones_own_a_service() -> None:
    """GPT-Live's path may lead to a stand-in."""
    assert not needs_key("http://localhost:8080/v1/live/sessions")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_that_is_set_is_spoken(name: str) -> None:
    """Wherever the server is."""
    assert dialect_of(name, "http://localhost:1234/v1", "personaplex").name == name


def test_the_key_is_in_one_header() -> None:
    """In the one that the service reads; none is sent without a key."""
    assert OPENAI.headers("k") == {"Authorization": "Bearer k"}
    assert AZURE.headers("k") == {"api-key": "k"}
    assert VLLM_OMNI.headers(None) == {}
