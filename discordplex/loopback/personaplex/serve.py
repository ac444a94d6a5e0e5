"""The stand-in server as a program that runs until it is stopped."""

import asyncio
import errno
import json
import os
from pathlib import Path

import structlog

from discordplex.errors import DiscordplexError
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import Mode

log = structlog.get_logger()

PROMPT_STEP_MS = 20.0
"""Slow enough to show a person at a terminal that the handshake takes time, some two seconds, but faster than on a GPU."""


async def serve(host: str, port: int, mode: Mode, ready_file: Path | None, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. `ready_file` appears, complete, once connections are accepted: `{"url": "ws://..."}`.

    Raises DiscordplexError with a sentence where the address is not available, or the file cannot be written.
    """
    server = StandInServer(mode, host, port, prompt_step_ms=PROMPT_STEP_MS)
    try:
        await server.__aenter__()
    except OSError as error:
        raise DiscordplexError(cannot_listen(host, port, error)) from error
    try:
        if ready_file is not None:
            announce(ready_file, server.url)
        log.info("stand-in server is up", url=server.url, mode=mode)
        await stop.wait()
    finally:
        await server.__aexit__(None, None, None)


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """The sentence for an address that is not available."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is already in use at {host}: stop what uses it, or choose another with --port (0 takes any)."
    reason = os.strerror(error.errno) if error.errno else "no such address"
    return f"The stand-in server cannot listen at {host}:{port} ({reason}): choose another --host or --port."


def announce(ready_file: Path, url: str) -> None:
    """Write the ready-file so that nobody ever reads a part of it."""
    draft = ready_file.with_name(ready_file.name + ".part")
    try:
        draft.write_text(json.dumps({"url": url}) + "\n", encoding="utf-8")
        draft.replace(ready_file)
    except OSError as error:
        raise DiscordplexError(
            f"The ready-file {ready_file} cannot be written ({error.strerror}): name a file in a folder that exists."
        ) from error
