"""Whether what people say can be transcribed beside an engine that does not do so."""

import datetime as dt

from discordplex.config import Config
from discordplex.doctor.cascade import INSTALL, finding
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.errors import ConfigError
from discordplex.hearing import detector
from discordplex.services import clients
from discordplex.services.models import examine_models

CHECK = "ears"
"""What the findings are about: the transcription of the cascade has findings of its own."""


async def check_hearing(config: Config) -> list[Finding]:
    """Check the extra's packages and the transcription service, if `hearing.enabled`. A call can work without the service."""
    if not config.hearing.enabled:
        return []
    if not (clients.is_installed() and detector.is_installed()):
        return [failure(CHECK, "hearing.enabled needs packages that are not installed.", f"{INSTALL}, or set hearing.enabled = false.")]
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    try:
        facts = await examine_models(config.cascade, ("transcribe",), today)
    except ConfigError as fault:
        return [failure(CHECK, fault.full, "Do what the sentence says, then run this again.")]
    found = (finding(fact) for fact in facts)
    return [ok(CHECK, one.says) if one.verdict == "ok" else warning(CHECK, one.says, one.mend) for one in found]
