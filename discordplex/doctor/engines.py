"""Whether the engine servers answer.

A server carries one call, and a probe would count as one: so the doctor connects without opening a WebSocket.
"""

import asyncio
import functools
import ssl
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp

from discordplex.config import Config
from discordplex.config.values import EngineKind
from discordplex.doctor.finding import Finding, failure, isolated, ok, warning
from discordplex.network import DEFAULT_PORTS, Connector, NetworkSettingError, ProxyFailedError, proxy_for, tls_context
from discordplex.personaplex.endpoint import check_prompt, check_voice
from discordplex.tasks import wait_for

PROBE_TIMEOUT_S = 5.0
BAD_GATEWAY = (502, 503, 504)
"""What a proxy answers where it cannot reach the server."""


async def check_engines(config: Config, *, deep: bool = False) -> list[Finding]:
    """Check each kind of engine. A call can work while one kind does."""
    kinds = config.engine.kinds
    if len(kinds) == 1:
        return await check_kind(config, kinds[0], deep=deep)
    found = {kind: await isolated("engine", functools.partial(check_kind, config, kind, deep=deep)) for kind in kinds}
    one_works = not all(has_failed(findings) for findings in found.values())
    named = [replace(finding, check=f"{kind}, {finding.check}") for kind, findings in found.items() for finding in findings]
    return [as_warning(finding) for finding in named] if one_works else named


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether no call can work with a kind of engine."""
    return any(finding.verdict == "failure" for finding in findings)


async def check_kind(config: Config, kind: EngineKind, *, deep: bool) -> list[Finding]:
    """Check the persona and the servers of one kind. The modules are imported here, so that a missing library fails only its kind."""
    if kind == "cascade":
        from discordplex.doctor.cascade import check_cascade  # noqa: PLC0415 -- see above

        return await check_cascade(config)
    if kind == "realtime":
        from discordplex.doctor.realtime import check_realtime  # noqa: PLC0415 -- see above

        return await check_realtime(config, deep=deep)
    return await check_personaplex(config)


async def check_personaplex(config: Config) -> list[Finding]:
    """Check the persona and every server. A call can work while one server answers."""
    findings = [
        check_persona(config),
        *[await check_server(url, verify_tls=config.personaplex.verify_tls) for url in config.personaplex.urls],
    ]
    servers = findings[1:]
    if any(finding.verdict == "ok" for finding in servers):
        return [findings[0], *(as_warning(finding) for finding in servers)]
    return findings


def as_warning(finding: Finding) -> Finding:
    """What fails beside something of the same use that works is only a warning."""
    return warning(finding.check, finding.says, finding.mend) if finding.verdict == "failure" else finding


def check_persona(config: Config) -> Finding:
    """Whether the engine would accept the configured persona."""
    refusal = check_voice(config.persona.voice) or check_prompt(config.persona.text_prompt)
    if refusal is not None:
        return failure("persona", refusal, "Change persona.voice or persona.text_prompt.")
    return ok("persona", f"Voice {config.persona.voice}, a prompt of {len(config.persona.text_prompt)} characters.")


async def check_server(url: str, *, verify_tls: bool) -> Finding:
    """Whether something accepts connections at `url`, with TLS where the URL says so."""
    address = urlsplit(url)
    place = f"{address.scheme}://{address.hostname}:{address.port or DEFAULT_PORTS.get(address.scheme, 80)}"
    try:
        await wait_for(probe(url, verify_tls=verify_tls), PROBE_TIMEOUT_S)
    except (NetworkSettingError, ProxyFailedError) as fault:
        return failure("engine", fault.full, "Start the proxy, or change the variable.")
    except ssl.SSLCertVerificationError:
        return failure(
            "engine",
            f"The certificate of {place} is not trusted.",
            "Set personaplex.verify_tls = false, or point SSL_CERT_FILE at its certificate.",
        )
    except ssl.SSLError:
        return failure("engine", f"{place} does not speak TLS.", "Write ws:// instead of wss:// in personaplex.urls.")
    except (OSError, aiohttp.ClientError, asyncio.TimeoutError):
        return failure(
            "engine",
            f"Nothing answers at {place}.",
            "Start PersonaPlex there, or set personaplex.urls. To try without a model, run `discordplex standin`.",
        )
    return ok("engine", f"{place} accepts connections.")


async def probe(url: str, *, verify_tls: bool) -> None:
    """Connect and close. Through a proxy a plain request is made, since only that shows whether the proxy reaches the server."""
    address = urlsplit(url)
    secure = address.scheme == "wss"
    if proxy_for(url) is not None:
        async with aiohttp.ClientSession(connector=Connector(verify=verify_tls)) as session:
            origin = f"{'https' if secure else 'http'}://{address.netloc.rpartition('@')[2]}/"
            async with session.head(origin, allow_redirects=False) as answer:
                if answer.status in BAD_GATEWAY:
                    raise ConnectionError
        return
    context = await asyncio.to_thread(tls_context, verify=verify_tls) if secure else None
    port = address.port or DEFAULT_PORTS.get(address.scheme, 80)
    _, writer = await asyncio.open_connection(address.hostname, port, ssl=context)
    writer.close()
    await writer.wait_closed()
