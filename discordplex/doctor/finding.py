"""Finding: the result of one check, in words for a newcomer."""

from dataclasses import dataclass
from typing import Literal

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
