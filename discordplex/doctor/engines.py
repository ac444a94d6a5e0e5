"""Whether the engine servers answer.

A server carries one call, and a probe would count as one: so the doctor connects without opening a WebSocket.
"""

import asyncio
import ssl
from urllib.parse import urlsplit

import aiohttp

from discordplex.config import Config
from discordplex.doctor.cascade import check_cascade
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.doctor.realtime import check_realtime
from discordplex.network import DEFAULT_PORTS, Connector, NetworkSettingError, ProxyFailedError, proxy_for, tls_context
from discordplex.personaplex.endpoint import check_prompt, check_voice

PROBE_TIMEOUT_S = 5.0
BAD_GATEWAY = (502, 503, 504)
"""What a proxy answers where it cannot reach the server."""


async def check_engines(config: Config, *, deep: bool = False) -> list[Finding]:
    """Check the persona and every server. A call can work while one PersonaPlex server answers."""
    if config.engine.kind == "cascade":
        return await check_cascade(config)
    if config.engine.kind == "realtime":
        return await check_realtime(config, deep=deep)
    findings = [
        check_persona(config),
        *[await check_server(url, verify_tls=config.personaplex.verify_tls) for url in config.personaplex.urls],
    ]
    servers = findings[1:]
    if any(finding.verdict == "ok" for finding in servers):
        return [findings[0], *(as_warning(finding) for finding in servers)]
    return findings


def as_warning(finding: Finding) -> Finding:
    """A dead server beside a working one is only a warning."""
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
        await asyncio.wait_for(probe(url, verify_tls=verify_tls), PROBE_TIMEOUT_S)
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
