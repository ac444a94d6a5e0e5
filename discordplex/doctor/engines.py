"""Do the engine servers answer.

A server carries one call, probes included, so the doctor knocks without entering: no WebSocket is opened.
"""

import asyncio
import ssl
from urllib.parse import urlsplit

from discordplex.config import Config
from discordplex.doctor.cascade import check_cascade
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.personaplex.endpoint import check_prompt, check_voice

KNOCK_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"ws": 80, "wss": 443}


async def check_engines(config: Config) -> list[Finding]:
    """The persona, and every server. A call can work while one PersonaPlex server answers."""
    if config.engine.kind == "cascade":
        return await check_cascade(config)
    findings = [
        check_persona(config),
        *[await check_server(url, verify_tls=config.personaplex.verify_tls) for url in config.personaplex.urls],
    ]
    servers = findings[1:]
    if any(finding.verdict == "ok" for finding in servers):
        return [findings[0], *(lessen(finding) for finding in servers)]
    return findings


def lessen(finding: Finding) -> Finding:
    """A dead server beside a living one is a warning."""
    return warning(finding.check, finding.says, finding.mend) if finding.verdict == "failure" else finding


def check_persona(config: Config) -> Finding:
    """Would the engine take the configured persona."""
    refusal = check_voice(config.persona.voice) or check_prompt(config.persona.text_prompt)
    if refusal is not None:
        return failure("persona", refusal, "Change persona.voice or persona.text_prompt.")
    return ok("persona", f"Voice {config.persona.voice}, a prompt of {len(config.persona.text_prompt)} characters.")


async def check_server(url: str, *, verify_tls: bool) -> Finding:
    """Does something accept connections at `url`, with TLS where the URL says so."""
    address = urlsplit(url)
    place = f"{address.scheme}://{address.hostname}:{address.port or DEFAULT_PORTS.get(address.scheme, 80)}"
    try:
        await asyncio.wait_for(knock(url, verify_tls=verify_tls), KNOCK_TIMEOUT_S)
    except ssl.SSLCertVerificationError:
        return failure(
            "engine",
            f"The certificate of {place} is not trusted.",
            "Set personaplex.verify_tls = false, or SSL_CERT_FILE to its certificate.",
        )
    except ssl.SSLError:
        return failure("engine", f"{place} does not speak TLS.", "Write ws:// instead of wss:// in personaplex.urls.")
    except (OSError, asyncio.TimeoutError):
        return failure(
            "engine",
            f"Nothing answers at {place}.",
            "Start PersonaPlex there, or set personaplex.urls; `discordplex standin` is one to try with.",
        )
    return ok("engine", f"{place} accepts connections.")


async def knock(url: str, *, verify_tls: bool) -> None:
    """Connect and hang up."""
    address = urlsplit(url)
    context: ssl.SSLContext | None = None
    if address.scheme == "wss":
        context = ssl.create_default_context()
        if not verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    port = address.port or DEFAULT_PORTS.get(address.scheme, 80)
    _, writer = await asyncio.open_connection(address.hostname, port, ssl=context)
    writer.close()
    await writer.wait_closed()
