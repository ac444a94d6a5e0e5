"""Checks of the bot's surroundings: the settings files, the trusted certificates, the proxies. They report nothing where all is usual."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from discordplex.config.settings import KEYS, Config, holds_secret
from discordplex.config.sources import Given
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.network import NetworkSettingError, check_trust, proxy_for


def check_files(files: Sequence[Path]) -> list[Finding]:
    """The files that hold secrets and may be read by others on this machine."""
    return [
        warning("settings", f"{file} holds a secret, and other users of this machine may read it.", f"Run: chmod 600 {file}")
        for file in files
    ]


def check_secrets(config: Config, given: Mapping[str, Given]) -> list[Finding]:
    """Where each secret comes from, never what it is."""
    return [
        ok("secrets", f"{key} is set {one.place}{'' if one.name == key else f' as {one.name}'}.")
        for key, one in ((key, given[key]) for key in KEYS if key in given)
        if holds_secret(key, config.value_of(key))
    ]


def check_certificates() -> list[Finding]:
    """Whether the certificates exist that the environment names."""
    try:
        check_trust()
    except NetworkSettingError as fault:
        return [failure("certificates", fault.full, "Correct the variable, or unset it to trust the machine's own certificates.")]
    return []


def check_proxies(config: Config) -> list[Finding]:
    """Which proxies are on the way to the configured servers, and whether they can be used."""
    try:
        ways = {proxy.variable: proxy for url in addresses(config) if (proxy := proxy_for(url)) is not None}
    except NetworkSettingError as fault:
        return [failure("proxies", fault.full, "Correct the variable, or unset it to reach servers directly.")]
    return [
        ok("proxies", f"Servers are reached through {proxy.place} ({variable}); voice is UDP and never goes through a proxy.")
        for variable, proxy in ways.items()
    ]


def addresses(config: Config) -> list[str]:
    """The servers that the bot talks to with these settings."""
    cascade = config.cascade
    services = [service.base_url or cascade.base_url for service in (cascade.transcribe, cascade.think, cascade.speak)]
    servers = {"cascade": services, "realtime": [config.realtime.url], "personaplex": config.personaplex.urls}
    ears = services[:1] if config.hearing.enabled else []
    return [config.discord.api_url, *(url for kind in config.engine.kinds for url in servers[kind]), *ears]
