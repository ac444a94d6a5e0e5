"""What the doctor says of the engine servers."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from discordplex.config import CascadeConfig, Config, EngineConfig, PersonaConfig, PersonaPlexConfig
from discordplex.doctor import cascade
from discordplex.doctor.engines import check_engines, check_server


@asynccontextmanager
async def something_listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def closed_port() -> int:
    async with something_listening() as port:
        return port


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_an_open_port_is_enough() -> None:
    """A server that accepts connections is fine; nothing is sent to it."""
    async with something_listening() as port:
        assert (await check_server(f"ws://127.0.0.1:{port}/api/chat", verify_tls=True)).verdict == "ok"


async def test_a_closed_port_is_a_failure() -> None:
    """Where nothing listens, the mend names the setting."""
    finding = await check_server(f"ws://127.0.0.1:{await closed_port()}/api/chat", verify_tls=True)
    assert finding.verdict == "failure"
    assert "personaplex.urls" in finding.mend


@pytest.mark.parametrize(("verify_tls", "verdict"), [(True, "failure"), (False, "ok")])
async def test_a_certificate_of_ones_own(verify_tls: bool, verdict: str) -> None:  # noqa: FBT001 -- the setting under test
    """An untrusted certificate fails with verification and passes without."""
    async with something_listening(tls_context()) as port:
        assert (await check_server(f"wss://127.0.0.1:{port}/api/chat", verify_tls=verify_tls)).verdict == verdict


async def test_a_dead_server_beside_a_living_one_is_a_warning() -> None:
    """A call can work while one server answers."""
    dead = await closed_port()
    async with something_listening() as port:
        urls = (f"ws://127.0.0.1:{port}/api/chat", f"ws://127.0.0.1:{dead}/api/chat")
        findings = await check_engines(Config(personaplex=PersonaPlexConfig(urls=urls)))
    assert [finding.verdict for finding in findings] == ["ok", "ok", "warning"]


async def test_a_voice_that_does_not_exist_is_a_failure() -> None:
    """The persona is checked as the engine would check it."""
    async with something_listening() as port:
        urls = (f"ws://127.0.0.1:{port}/api/chat",)
        config = Config(persona=PersonaConfig(voice="NATF9.pt"), personaplex=PersonaPlexConfig(urls=urls))
        findings = await check_engines(config)
    assert [finding.verdict for finding in findings] == ["failure", "ok"]


async def test_each_kind_is_checked_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call can work while one kind does: then what fails is a warning. A check that crashes hides no other kind."""
    dead = await closed_port()
    cascade_at = CascadeConfig.model_validate({"base_url": f"http://127.0.0.1:{dead}/v1"})
    async with something_listening() as port:
        alive = PersonaPlexConfig(urls=(f"ws://127.0.0.1:{port}/api/chat",))
        both = EngineConfig(kind=("personaplex", "cascade"))
        findings = await check_engines(Config(engine=both, personaplex=alive, cascade=cascade_at))
        assert [(one.check, one.verdict) for one in findings[:3]] == [
            ("personaplex, persona", "ok"),
            ("personaplex, engine", "ok"),
            ("cascade, persona", "ok"),
        ]
        assert {one.verdict for one in findings[3:]} == {"warning"}
        assert all(one.check.startswith("cascade, ") for one in findings[3:])

        async def crash(config: Config) -> None:
            raise ZeroDivisionError(config)

        monkeypatch.setattr(cascade, "check_cascade", crash)
        findings = await check_engines(Config(engine=both, personaplex=alive))
        assert [(one.check, one.verdict) for one in findings] == [
            ("personaplex, persona", "ok"),
            ("personaplex, engine", "ok"),
            ("cascade, engine", "warning"),
        ]
    findings = await check_engines(Config(engine=both, personaplex=PersonaPlexConfig(urls=(f"ws://127.0.0.1:{dead}/x",))))
    assert [one.check for one in findings if one.verdict == "failure"] == ["personaplex, engine", "cascade, engine"]
