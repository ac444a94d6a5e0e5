"""Problems: what went wrong in the last hour, as codes with their causes. Pure: the time is a parameter.

They are the warnings and errors of the log, which by its own rules contain no speech, no names and no text of a server.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from discordplex.bounded import drop_oldest
from discordplex.plaintext import one_line

MOST = 64
"""The most different problems that are kept. After that, the one that occurred longest ago is dropped."""

MOST_CODES = 64
"""The most different codes that are counted for ever; what comes after them counts as `other`."""

HOUR_MIN = 60
LONGEST = 120

CAUSE = re.compile(r"[\w .,:()*-]{1,80}")
"""A cause that is shown. Others may name a file or an address, and stay in the log."""

LIBRARY = "a library's warning"
"""The code of lines that our own code did not write."""

OTHER = "other"

ADVICE = {
    "discord unreachable": "Discord or the network does not answer. The bot tries again by itself.",
    "discord answer unreadable": "Something else than Discord answered, perhaps a proxy. The bot tries again by itself.",
    "slash commands not registered": "Discord did not take the commands. The bot tries again by itself.",
    "engine lost": "A call lost its engine. It tries to get it back, or another one.",
    "engine replaced": "A call went on with an engine of another kind.",
    "engine too slow": "The engine computes more slowly than people speak: its GPU is too slow, or something else uses it.",
    "engine did not close in time": "The server did not end the connection. It may still be busy with the old call.",
    "engine sent a bad message": "The engine's server does not keep to its protocol. Check its version.",
    "service failed": "A request of the cascade failed; people were told in the call.",
    "problem in a call": "Part of a call failed and the call went on; people were told.",
    "call failed": "A call ended because of a bug. The log has the details: please report it.",
    "call refused": "A call did not start: the bot may not join the channel, or the engine refuses the persona.",
    "voice lost": "A call lost Discord's voice server.",
    "voice connection lost": "A call lost Discord's voice server. It reconnects by itself.",
    "voice server not reached": "Discord's voice server does not answer. Check that UDP may leave this machine.",
    "voice connection failed": "The connection to a voice channel failed because of a bug. The log has the details: please report it.",
    "speaker not heard": "Somebody speaks and nothing of it can be decoded. The bot repairs the connection by itself.",
    "join refused": "Discord refused the voice channel.",
    "join timed out": "Discord did not let the bot into the voice channel. It may be full.",
    "join failed": "Joining the voice channel failed.",
    "database failed": "The database refused a request. Settings may not be saved.",
    "settings are kept in memory only": "The database cannot be opened. Settings are lost when the bot ends.",
    "changes not saved yet": "The database does not take changes. The bot tries again by itself.",
    "transcript not saved": "The database does not take transcripts. The bot tries again by itself.",
    "queue order not saved": "The database does not take the queue. Its order would be lost by a restart.",
    "cluster database unreachable": "The database that the processes share does not answer. Calls go on, and no new one begins.",
    "cluster beat failed": "The rows of the cluster could not be used because of a bug. The log has the details: please report it.",
    "not allowed to write in a channel": "The bot lacks the permission to write captions and notices.",
    "writing in a channel failed": "Discord did not take a message. The bot tries again by itself.",
    "command failed": "A slash command failed because of a bug. The log has the details: please report it.",
}
"""What the most frequent codes mean, and what to do. The others are plain words already."""


@dataclass(slots=True)
class LoggedProblem:
    """One problem with one cause."""

    code: str
    cause: str
    level: str
    last: float = 0.0
    by_minute: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How often it occurred in the last hour."""
        return self.by_minute.total()

    @property
    def advice(self) -> str:
        """What it means; empty if the code says it."""
        return ADVICE.get(self.code, "")


class Problems:
    """The problems of the last hour, the newest first. Give `note` the lines of the log for which `is_problem` is true."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        """How often each code occurred since the start."""
        self._found: OrderedDict[tuple[str, str], LoggedProblem] = OrderedDict()

    def note(self, line: Mapping[str, object], now: float) -> None:
        """Keep a warning or an error of the log."""
        level = str(line.get("level", ""))
        own = "library" not in line
        code = one_line(str(line.get("event", "")), LONGEST) if own else LIBRARY
        said = str(line.get("cause") or line.get("service") or line.get("symptom") or line.get("library") or "")
        cause = said if CAUSE.fullmatch(said) else ""
        self.totals[code if code in self.totals or len(self.totals) < MOST_CODES else OTHER] += 1
        found = self._found.setdefault((code, cause), LoggedProblem(code, cause, level))
        self._found.move_to_end((code, cause))
        drop_oldest(self._found, MOST)
        found.last = now
        found.by_minute[int(now // 60)] += 1
        forget(found, now)

    def last_hour(self, now: float) -> list[LoggedProblem]:
        """What occurred in the last hour, the newest first."""
        for problem in self._found.values():
            forget(problem, now)
        self._found = OrderedDict((key, problem) for key, problem in self._found.items() if problem.count)
        return list(reversed(self._found.values()))


def is_problem(line: Mapping[str, object]) -> bool:
    """Whether a line of the log is a warning or an error. Thread: any."""
    return line.get("level") in ("warning", "error", "critical")


def forget(problem: LoggedProblem, now: float) -> None:
    """Forget what is older than an hour."""
    oldest = int(now // 60) - HOUR_MIN
    for minute in [minute for minute in problem.by_minute if minute <= oldest]:
        del problem.by_minute[minute]
