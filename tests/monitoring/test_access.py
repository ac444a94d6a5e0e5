"""Who may read what monitoring tells."""

import base64

import pytest
from pydantic import SecretStr

from discordplex.config import MonitoringConfig
from discordplex.errors import ConfigError
from discordplex.monitoring.access import Access, password_in

PASSWORD = "correct horse battery"


def access(listen: str = "127.0.0.1:9464", password: str | None = None) -> Access:
    return Access.of(MonitoringConfig(listen=listen, password=SecretStr(password) if password else None))


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "192.168.1.2:9464", "[::]:9464", "bot.example.org:80"])
def test_other_machines_need_a_password(listen: str) -> None:
    """Without one the bot refuses to start, in one sentence that names both ways out."""
    with pytest.raises(ConfigError) as caught:
        access(listen)
    assert "set it, or listen on 127.0.0.1" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert access(listen, PASSWORD).password == PASSWORD.encode()


@pytest.mark.parametrize("listen", ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", "localhost:0"])
def test_this_machine_needs_none(listen: str) -> None:
    """Loopback addresses are open to whoever is on the machine."""
    assert access(listen).shown == listen


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:9464", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:9464", True),
        ("", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example:9464", False),
        ("localhost@evil.example", False),
        ("evil.example#localhost", False),
        ("[::1", False),
        ("0.0.0.0:9464", False),
    ],
)
def test_a_name_that_was_made_to_resolve_to_us_is_refused(host: str, *, answered: bool) -> None:
    """DNS rebinding: the browser sends the name of the attacker's page as Host."""
    assert (access().refusal("/metrics", {"Host": host}) is None) is answered
    assert (access().refusal("/healthz", {"Host": host}) is None) is answered


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:9464"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://localhost:9464"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, True),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, False),
    ],
)
def test_pages_of_other_origins_read_nothing(headers: dict[str, str], *, answered: bool) -> None:
    """Neither with a password, which a browser may add by itself, nor without."""
    assert (access().refusal("/events", {"Host": "127.0.0.1:9464", **headers}) is None) is answered
    asked = {"Host": "127.0.0.1:9464", "Authorization": basic(PASSWORD), **headers}
    assert (access(password=PASSWORD).refusal("/events", asked) is None) is answered


@pytest.mark.parametrize(
    ("authorization", "answered"),
    [
        (basic(PASSWORD), True),
        (basic(PASSWORD, user=""), True),
        (basic(PASSWORD).replace("Basic", "basic"), True),
        (basic(PASSWORD + " "), False),
        (basic(""), False),
        (basic("ß"), False),
        ("", False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic \udcff", False),
        ("Bearer " + PASSWORD, False),
    ],
)
def test_the_password_opens_every_page(authorization: str, *, answered: bool) -> None:
    """From any name, since a page that rebinds its own name cannot know the password."""
    refusal = access("0.0.0.0:9464", PASSWORD).refusal("/", {"Host": "bot.example.org", "Authorization": authorization})
    assert (refusal is None) is answered
    assert refusal is None or refusal.status == 401


def test_probes_need_no_password() -> None:
    """A container's health check cannot keep one."""
    guarded = access("0.0.0.0:9464", PASSWORD)
    for path, answered in {
        "/healthz": True,
        "/readyz": True,
        "/": False,
        "/metrics": False,
        "/events": False,
        "/healthz/..": False,
    }.items():
        assert (guarded.refusal(path, {"Host": "10.0.0.7:9464"}) is None) is answered


def test_a_password_may_have_any_characters() -> None:
    """Also a colon, and what is not ASCII."""
    assert password_in(basic("zwölf: Boxkämpfer")) == "zwölf: Boxkämpfer".encode()
