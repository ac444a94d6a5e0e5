"""BotProcess: the real bot as a child process: `discordplex run` in an empty folder, without the person's own settings."""

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

import discordplex
from discordplex.config.sources import PREFIX
from discordplex.network import TRUST_VARIABLES
from discordplex.tasks import wait_for

STOP_WITHIN_S = 8.0
"""How long the bot may take to leave and end after SIGTERM; the contract says 5."""

LONGEST_LINE_BYTES = 1 << 20
"""A second's statistics of many calls are one line."""

LOUD = ("warning", "error", "critical")


class BotProcess:
    """The bot's process, for the length of an `async with` block; none is left behind."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        on_event: Callable[[Mapping[str, Any]], None],
        *,
        program: Sequence[str] = ("-m", "discordplex"),
        patience_s: float = STOP_WITHIN_S,
    ) -> None:
        """Does not start it. `on_event` is called with each log line of the bot. `program` is what Python runs, in `folder`."""
        self.complaints: deque[str] = deque(maxlen=20)
        """The newest warnings, errors and lines that are no JSON."""
        self._program = program
        self._patience_s = patience_s
        self._folder = folder
        self._environ = environ
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def report_file(self) -> Path:
        """Where the bot writes its measurements."""
        return self._folder / "bot.json"

    async def __aenter__(self) -> Self:
        arguments = ("run", "--report", str(self.report_file), "--log-format", "json", "--log-level", "debug")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._program,
            *arguments,
            cwd=self._folder,
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE_BYTES,
        )
        self._reader = asyncio.create_task(self._read_log(self._process), name="bot-log")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.shield(self._end())

    async def died(self) -> str:
        """Return when the process ends by itself, with a sentence about it."""
        if self._process is None or self._reader is None:
            raise RuntimeError("the bot was not started")
        code = await self._process.wait()
        await asyncio.wait({self._reader})
        return self.last_complaint() or f"The bot ended by itself (exit code {code})."

    def last_complaint(self) -> str:
        """The newest complaint as a sentence; empty where the bot had none."""
        return f"The bot said: {self.complaints[-1]}" if self.complaints else ""

    async def stop(self) -> tuple[int, dict[str, Any]]:
        """Ask the bot to end; returns its exit code and its report, which is empty where it left none."""
        code = await self._end()
        try:
            report: dict[str, Any] = json.loads(self.report_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            report = {}
        return code, report

    async def _end(self) -> int:
        """Send SIGTERM, wait, and then kill it."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await wait_for(self._process.wait(), self._patience_s)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._reader is not None:
            await asyncio.wait({self._reader})
        return await self._process.wait()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is None:
            return
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # longer than the limit; asyncio has dropped it
            if not line:
                return
            self._take(line.decode(errors="replace").rstrip())

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self.complaints.append(line.removeprefix("discordplex: "))
            return
        if event.get("level") in LOUD:
            self.complaints.append(str(event.get("event")))
        self._on_event(event)


def bot_environment(own: Mapping[str, str], settings: Mapping[str, str], bundle: Path) -> dict[str, str]:
    """The environment of the bot: the person's own without `DISCORDPLEX_` settings, with `bundle` as the only certificates."""
    kept = {name: value for name, value in own.items() if not name.upper().startswith(PREFIX) and name not in TRUST_VARIABLES}
    package = str(Path(discordplex.__file__).parent.parent)
    path = os.pathsep.join([package, *filter(None, [own.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "SSL_CERT_FILE": str(bundle), **settings}


def trust(ca_file: Path, bundle: Path) -> Path:
    """Write `bundle`: the loopback's authority beside those that this machine trusts, for an engine behind a public wss:// address."""
    bundle.write_bytes(b"\n".join(certificates(ca_file)))
    return bundle


def certificates(ca_file: Path) -> Iterator[bytes]:
    """The loopback's certificate, then the system's."""
    yield ca_file.read_bytes()
    system = ssl.get_default_verify_paths().cafile
    if system and Path(system).is_file():
        yield Path(system).read_bytes()
