"""Addresses, queries, voices and prompts."""

from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.config import PersonaConfig
from discordplex.engine import Persona
from discordplex.errors import ConfigError
from discordplex.personaplex.endpoint import PROMPT_LIMIT_BYTES, VOICES, Endpoint, check_prompt, check_voice, estimated_tokens


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("ws://localhost:8998/api/chat", "ws://localhost:8998/api/chat"),
        (" ws://localhost:8998 ", "ws://localhost:8998/api/chat"),
        ("ws://localhost:8998/", "ws://localhost:8998/api/chat"),
        ("http://gpu.example:80", "ws://gpu.example:80/api/chat"),
        ("https://gpu.example/api/chat/", "wss://gpu.example/api/chat"),
        ("wss://gpu.example/other", "wss://gpu.example/other"),
        ("localhost", "ws://localhost:8998/api/chat"),
        ("gpu.example:7000", "ws://gpu.example:7000/api/chat"),
        ("[::1]", "ws://[::1]:8998/api/chat"),
        ("WSS://user:secret@gpu.example/?token=secret#part", "wss://gpu.example/api/chat"),
    ],
)
def test_addresses_as_people_write_them(address: str, name: str) -> None:
    """Every usual way to write a server names it, and what is shown of it holds no secret."""
    assert Endpoint.parse(address).name == name


@pytest.mark.parametrize("address", ["", "ws://", "ftp://host", "ws://host:99999", "ws://a b", "::1", "ws://ho\x00st", "http:///api/chat"])
def test_what_is_no_address_is_refused_with_an_example(address: str) -> None:
    """A value that names no server is a configuration error that shows how one looks."""
    with pytest.raises(ConfigError, match="ws://localhost:8998/api/chat"):
        Endpoint.parse(address)


def test_a_refusal_repeats_no_password() -> None:
    """The sentence about a broken address leaves out its user, password and query."""
    with pytest.raises(ConfigError) as refusal:
        Endpoint.parse("ftp://user:hunter2@host/?token=hunter3")
    assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize("key", ["seed", "voice_prompt", "text_prompt"])
def test_an_address_may_not_choose_what_the_bot_chooses(key: str) -> None:
    """A seed would end every call, and voice and role belong to the persona."""
    with pytest.raises(ConfigError, match=key):
        Endpoint.parse(f"ws://localhost:8998/api/chat?{key}=1")


def test_the_url_carries_the_persona_and_nothing_else() -> None:
    """The query holds the two prompts, encoded as the server's web client does it, and no seed."""
    url = Endpoint.parse("localhost").url(Persona("NATF2.pt", " You are Ann & Bob's 100% é+. "))
    assert url == "ws://localhost:8998/api/chat?text_prompt=You+are+Ann+%26+Bob%27s+100%25+%C3%A9%2B.&voice_prompt=NATF2.pt"


def test_the_url_keeps_what_its_owner_put_there() -> None:
    """User, password and further query of the address reach the server."""
    url = Endpoint.parse("wss://user:pw@h/?worker=3").url(Persona("NATF0.pt", "x"))
    assert url == "wss://user:pw@h/api/chat?worker=3&text_prompt=x&voice_prompt=NATF0.pt"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_role_arrives_as_it_was_written(text: str) -> None:
    """Whatever the role says, the query decodes to it, stripped."""
    url = Endpoint.parse("localhost").url(Persona("NATF0.pt", text))
    assert parse_qs(urlsplit(url).query)["text_prompt"] == [text.strip()]


def test_there_are_eighteen_voices() -> None:
    """Four natural and five varied ones, of women and men, and the default is among them."""
    assert len(set(VOICES)) == 18
    assert {"NATF0.pt", "NATF3.pt", "NATM3.pt", "VARF4.pt", "VARM4.pt"} <= set(VOICES)
    assert all(check_voice(voice) is None for voice in VOICES)
    assert check_voice(PersonaConfig().voice) is None


@pytest.mark.parametrize(("voice", "hint"), [("NATF2", "NATF2.pt"), ("natm1.pt", "NATM1.pt"), ("../x", "VARM4.pt"), ("", "NATF0.pt")])
def test_a_voice_that_is_none_is_refused_with_advice(voice: str, hint: str) -> None:
    """A near miss names the voice that was meant, anything else the ones there are; a path never gets through."""
    refusal = check_voice(voice)
    assert refusal is not None
    assert hint in refusal


@pytest.mark.parametrize("text", ["", "  \n", "\ud800"])
def test_a_role_that_cannot_be_sent_is_refused(text: str) -> None:
    """The server dies of an empty role, and half a surrogate pair cannot be encoded."""
    assert check_prompt(text) is not None


def test_the_default_role_passes() -> None:
    """What the configuration starts with is accepted."""
    assert check_prompt(PersonaConfig().text_prompt) is None


@pytest.mark.parametrize("character", ["a", "é", "😀", " x"])
def test_a_role_is_measured_as_the_server_does(character: str) -> None:
    """The limit is on URL-encoded bytes: one below it passes, one more does not, and the sentence says how long it is."""
    fits = (PROMPT_LIMIT_BYTES - 1) // len(quote_plus(character))
    text = character * fits
    text += "a" * (PROMPT_LIMIT_BYTES - 1 - len(quote_plus(text.strip())))
    assert check_prompt(f"  {text}\n") is None
    refusal = check_prompt(text + "a")
    assert refusal is not None
    assert "too long" in refusal


def test_tokens_are_rather_overestimated() -> None:
    """The default role has 20 tokens or so; other scripts cost more for each letter."""
    assert 20 <= estimated_tokens(PersonaConfig().text_prompt) <= 60
    assert estimated_tokens("привет") > estimated_tokens("hello!")
