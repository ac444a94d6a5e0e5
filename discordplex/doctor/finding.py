"""Finding: the result of one check, in words for a newcomer."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from discordplex.descriptors import LIMIT_REACHED, RAISE_LIMIT, says_no_descriptors
from discordplex.errors import DiscordplexError
from discordplex.installing import pip
from discordplex.logs import kind_of
from discordplex.plaintext import one_line

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. A failure means that no call can work until it is fixed."""

    check: str
    """Two or three words: what was checked."""
    verdict: Verdict
    says: str
    """The result: one plain sentence without a secret."""
    mend: str = ""
    """What to do about it, "" where all is well."""


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", says)


def warning(check: str, says: str, mend: str) -> Finding:
    """A call can work, and something is not as it should be."""
    return Finding(check, "warning", says, mend)


def failure(check: str, says: str, mend: str) -> Finding:
    """No call can work."""
    return Finding(check, "failure", says, mend)


Findings: TypeAlias = Finding | list[Finding]
Check: TypeAlias = Callable[[], Findings | Awaitable[Findings]]


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
        return failure(name, f"This check could not open a file or a socket: {LIMIT_REACHED}.", f"Close other programs, or {RAISE_LIMIT}.")
    if isinstance(fault, ImportError):
        says = f"A package cannot be loaded: {one_line(str(fault.name or 'its name is not known'), 80)}."
        return failure(name, says, f"Run: {pip('install', '--force-reinstall', 'discordplex')}")
    return failure(
        name, f"This check itself failed ({kind_of(fault)}).", "Please report it with the output of `discordplex doctor --json`."
    )
