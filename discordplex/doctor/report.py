"""Run every check and print the results: one line each, and what to do."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from discordplex.config import Config
from discordplex.config.sources import Given
from discordplex.doctor.finding import Check, Finding, Findings, broken, isolated
from discordplex.doctor.surroundings import check_certificates, check_files, check_proxies, check_secrets
from discordplex.network import check_room_for_loop
from discordplex.plaintext import one_line

SIGNS = {"ok": "ok     ", "warning": "warning", "failure": "FAILURE"}


def run(config: Config, *, as_json: bool, given: Mapping[str, Given], exposed: Sequence[Path] = (), deep: bool = False) -> int:
    """Check everything and print it; 0 when a call can work, 1 when not.

    `given` are the settings as they were given, `exposed` the files with secrets that others may read.
    `deep` opens a session with a service that may charge for it.
    """
    findings = [*examine_all(config, deep=deep), *check_secrets(config, given), *check_files(exposed)]
    can_work = all(finding.verdict != "failure" for finding in findings)
    if as_json:
        content = {"ok": can_work, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        sys.stdout.write("".join(line(finding) for finding in findings))
        sys.stdout.write("A call can work.\n" if can_work else "A call cannot work yet: fix the failures above.\n")
    return 0 if can_work else 1


def examine_all(config: Config, *, deep: bool = False) -> list[Finding]:
    """Run every check. A machine that cannot even begin to run them gets that as a finding."""
    try:
        check_room_for_loop()
    except OSError as fault:
        return [broken("machine", fault)]
    return asyncio.run(examine(config, deep=deep))


async def examine(config: Config, *, deep: bool = False) -> list[Finding]:
    """Run every check, in the order in which a call needs them. One that crashes, even on import, does not stop the others."""
    found: list[Finding] = []
    for name, check in checks(config, deep=deep):
        found += await isolated(name, check)
    return found


def checks(config: Config, *, deep: bool = False) -> list[tuple[str, Check]]:
    """Each check with its name. Their modules are imported when they run, so that a missing library fails only one check."""

    def machine(name: str) -> Check:
        def check() -> Findings:
            from discordplex.doctor import machine as module

            found: Findings = getattr(module, name)()
            return found

        return check

    def voice() -> Awaitable[Findings]:
        from discordplex.doctor.round_trip import check_round_trip

        return check_round_trip()

    def discord() -> Awaitable[Findings]:
        from discordplex.doctor.discord_side import check_discord

        return check_discord(config)

    def engines() -> Awaitable[Findings]:
        from discordplex.doctor.engines import check_engines

        return check_engines(config, deep=deep)

    def hearing() -> Awaitable[Findings]:
        from discordplex.doctor.hearing import check_hearing

        return check_hearing(config)

    def monitoring() -> Awaitable[Findings]:
        from discordplex.doctor.monitoring import check_monitoring

        return check_monitoring(config.monitoring)

    def traces() -> Awaitable[Findings]:
        from discordplex.doctor.monitoring import check_traces

        return check_traces(config.monitoring)

    def cluster() -> Awaitable[Findings]:
        from discordplex.doctor.cluster import check_cluster

        return check_cluster(config.cluster, config.discord.shards)

    return [
        ("python", machine("check_python")),
        ("discord library", machine("check_discord_library")),
        ("libopus", machine("check_opus")),
        ("oggopus", machine("check_oggopus")),
        ("encryption", machine("check_dave")),
        ("certificates", check_certificates),
        ("proxies", lambda: check_proxies(config)),
        ("voice", voice),
        ("discord", discord),
        ("engine", engines),
        ("ears", hearing),
        ("cluster", cluster),
        ("monitoring", monitoring),
        ("traces", traces),
    ]


def line(finding: Finding) -> str:
    """One finding as a line for people, with what to do below it."""
    mend = f"\n         -> {one_line(finding.mend)}" if finding.mend else ""
    return f"{SIGNS[finding.verdict]}  {one_line(finding.check)}: {one_line(finding.says)}{mend}\n"
