"""Run every check and print the results: one line each, and what to do."""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from discordplex.config import Config
from discordplex.descriptors import says_no_descriptors
from discordplex.doctor.finding import Finding, failure
from discordplex.doctor.surroundings import check_certificates, check_files, check_proxies
from discordplex.errors import DiscordplexError
from discordplex.installing import pip
from discordplex.logs import kind_of
from discordplex.network import check_room_for_loop
from discordplex.plaintext import one_line

SIGNS = {"ok": "ok     ", "warning": "warning", "failure": "FAILURE"}

Findings: TypeAlias = Finding | list[Finding]
Check: TypeAlias = Callable[[], Findings | Awaitable[Findings]]


def run(config: Config, *, as_json: bool, files: Sequence[Path] = (), deep: bool = False) -> int:
    """Check everything and print it; 0 when a call can work, 1 when not. `files` are the settings files that were read.

    `deep` opens a session with a service that may charge for it.
    """
    findings = [*examine_all(config, deep=deep), *check_files(files)]
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
    ]


async def isolated(name: str, check: Check) -> list[Finding]:
    """The findings of a check; where it crashes, that is the finding."""
    try:
        found = check()
        found = await found if inspect.isawaitable(found) else found
    except Exception as fault:  # noqa: BLE001 -- the edge of a check: whatever it is, the others still run
        return [broken(name, fault)]
    return found if isinstance(found, list) else [found]


def broken(name: str, fault: Exception) -> Finding:
    """The finding about a check that could not be run."""
    if isinstance(fault, DiscordplexError):
        return failure(name, fault.full, "Do what the sentence says, then run this again.")
    if says_no_descriptors(fault):
        says = "This check could not open a file or a socket: the process or the machine has reached its limit of open files."
        return failure(name, says, "Close other programs, or allow more: ulimit -n 4096")
    if isinstance(fault, ImportError):
        says = f"A package cannot be loaded: {one_line(str(fault.name or 'its name is not known'), 80)}."
        return failure(name, says, f"Run: {pip('install', '--force-reinstall', 'discordplex')}")
    return failure(
        name, f"This check itself failed ({kind_of(fault)}).", "Please report it with the output of `discordplex doctor --json`."
    )


def line(finding: Finding) -> str:
    """One finding as a line for people, with what to do below it."""
    mend = f"\n         -> {one_line(finding.mend)}" if finding.mend else ""
    return f"{SIGNS[finding.verdict]}  {one_line(finding.check)}: {one_line(finding.says)}{mend}\n"
