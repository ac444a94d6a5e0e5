"""Whether the cascade's servers have the configured models, and for how long."""

import datetime as dt

from discordplex.cascade.provider import check_persona
from discordplex.config import Config
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.errors import ConfigError
from discordplex.hearing import detector
from discordplex.installing import pip_extra
from discordplex.services import clients
from discordplex.services.faults import NOUN
from discordplex.services.models import ModelFact, examine_models

INSTALL = f"Run: {pip_extra('cascade')}"


async def check_cascade(config: Config) -> list[Finding]:
    """Check the extra's packages, the persona, and each service's model."""
    if not (clients.is_installed() and detector.is_installed()):
        return [failure("packages", "The packages of the cascade engine are not installed.", INSTALL)]
    persona = config.persona_of("cascade")
    refusal = check_persona(persona.voice, persona.text_prompt)
    found = (
        failure("persona", refusal, "Change cascade.speak.voice or cascade.text_prompt.")
        if refusal
        else ok("persona", f"Voice {persona.voice}, a prompt of {len(persona.text_prompt)} characters.")
    )
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    try:
        facts = await examine_models(config.cascade, ("transcribe", "think", "speak"), today)
    except ConfigError as fault:
        return [found, failure("cascade", fault.full, "Do what the sentence says, then run this again.")]
    return [found, *(finding(fact) for fact in facts)]


def finding(fact: ModelFact) -> Finding:
    """The finding for a fact."""
    name = NOUN[fact.service].removeprefix("The ")
    if fact.verdict == "failed":
        return failure(name, fact.says, fact.mend)
    return ok(name, fact.says) if fact.verdict == "ok" else warning(name, fact.says, fact.mend)
