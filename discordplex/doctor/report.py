"""Run every check and print what was found: one line each, and the mend."""

import asyncio
import json
import sys
from dataclasses import asdict

from discordplex.config import Config
from discordplex.doctor.discord_side import check_discord
from discordplex.doctor.engines import check_engines
from discordplex.doctor.finding import Finding
from discordplex.doctor.machine import check_machine
from discordplex.doctor.round_trip import check_round_trip

SIGNS = {"ok": "ok     ", "warning": "warning", "failure": "FAILURE"}


def run(config: Config, *, as_json: bool) -> int:
    """Check everything and print it; 0 when a call can work, 1 when not."""
    findings = asyncio.run(examine(config))
    can_work = all(finding.verdict != "failure" for finding in findings)
    if as_json:
        content = {"ok": can_work, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        sys.stdout.write("".join(line(finding) for finding in findings))
        sys.stdout.write("A call can work.\n" if can_work else "A call cannot work yet: mend the failures above.\n")
    return 0 if can_work else 1


async def examine(config: Config) -> list[Finding]:
    """Every check, in the order in which a call meets them."""
    return [*check_machine(), await check_round_trip(), *await check_discord(config), *await check_engines(config)]


def line(finding: Finding) -> str:
    """One check as a line for people, its mend below it."""
    mend = f"\n         -> {finding.mend}" if finding.mend else ""
    return f"{SIGNS[finding.verdict]}  {finding.check}: {finding.says}{mend}\n"
