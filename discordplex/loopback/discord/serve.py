"""A loopback Discord as a process: `discordplex loopback`."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import structlog

from discordplex.audio.wav import read_wav
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord

log = structlog.get_logger()

READY_FILE = "ready.json"

PAUSE_S = 4.0
"""Pause before the speaker repeats the recording: late clients hear it too, and an engine can answer in between."""


async def serve(
    directory: Path,
    port: int,
    speaker: Path | None,
    stop: asyncio.Event,
    *,
    require_dave: bool = False,
    shards: int = 1,
    announce: Callable[[dict[str, Any]], object] = lambda _: None,
) -> None:
    """Run until `stop` is set. `directory` gets ca.pem and, once connections are accepted, ready.json, which is also given to `announce`.

    With `speaker`, the first person is in the first voice channel and says that recording again and again. Raises ConfigError where the
    recording cannot be used. Calls are encrypted end to end; with `require_dave`, a client that cannot do that is refused (4017). `shards`
    is what `/gateway/bot` recommends.
    """
    speech = read_wav(speaker) if speaker else None
    _remove_ready_file(directory)
    async with LoopbackDiscord(port, directory, require_dave=require_dave, shards=shards) as discord, anyio.create_task_group() as tasks:
        _write_ready_file(directory, discord.ready())
        announce(discord.ready())
        log.info("loopback Discord is up", port=discord.port, guilds=len(discord.guilds), users=len(discord.users))
        if speech:
            tasks.start_soon(_speak, discord, speech, name="speaker")
        await stop.wait()
        tasks.cancel_scope.cancel()
    _remove_ready_file(directory)


async def _speak(discord: LoopbackDiscord, speech: bytes) -> None:
    async with Person(discord, discord.people[0], discord.guilds[0].voice_channels[0].id, e2ee="libdave") as person:
        while True:
            await person.say(speech)
            await asyncio.sleep(PAUSE_S)


def _write_ready_file(directory: Path, ready: dict[str, Any]) -> None:
    """Write ready.json in one step, so that a reader never sees a part of it."""
    draft = directory / f".{READY_FILE}.new"
    draft.write_text(json.dumps(ready, indent=2) + "\n", encoding="utf-8")
    draft.replace(directory / READY_FILE)


def _remove_ready_file(directory: Path) -> None:
    """Remove ready.json, so that nobody takes an earlier run's for this one's."""
    (directory / READY_FILE).unlink(missing_ok=True)
