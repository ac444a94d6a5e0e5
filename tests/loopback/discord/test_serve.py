"""Tests of discordplex.loopback.discord.serve."""

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from discordplex.errors import ConfigError
from discordplex.loopback.discord.certificate import client_context
from discordplex.loopback.discord.serve import serve


class Served:
    """`serve` in a task, from its announcement on."""

    def __init__(self, directory: Path, speaker: Path | None = None) -> None:
        self.stop = asyncio.Event()
        self._announced: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(serve(directory, 0, speaker, self.stop, announce=self._announced.set_result))

    async def ready(self) -> dict[str, Any]:
        either: list[asyncio.Future[Any]] = [self._task, self._announced]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return await self._announced

    async def end(self) -> None:
        self.stop.set()
        await self._task


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def asked(api_url: str, path: str, token: str, ca_file: Path) -> Any:
    connector = aiohttp.TCPConnector(ssl=client_context(ca_file))
    async with (
        aiohttp.ClientSession(connector=connector, headers={"Authorization": token}) as http,
        http.get(f"{api_url}/v10{path}") as response,
    ):
        return await response.json()


async def test_ready_means_ready(tmp_path: Path) -> None:
    """Once ready.json is there every user can log in with what it says; after the stop it is gone, and a restart is trusted as before."""
    kept = b""
    for _ in range(2):
        served = Served(tmp_path)
        ready = await served.ready()
        assert json.loads(content_of(tmp_path / "ready.json")) == ready
        assert kept in (b"", content_of(tmp_path / "ca.pem"))
        kept = content_of(tmp_path / "ca.pem")
        for user in ready["users"]:
            assert (await asked(ready["api_url"], "/users/@me", user["token"], tmp_path / "ca.pem"))["id"] == user["id"]
        await served.end()
        assert "ready.json" not in names_in(tmp_path)


async def test_the_speaker_is_in_the_first_channel(tmp_path: Path) -> None:
    """With a recording one person sits in the first voice channel, and stopping in the middle of a sentence is clean."""
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(bytes(48_000 * 2))
    served = Served(tmp_path, tmp_path / "speech.wav")
    ready = await served.ready()
    guild, person = ready["guilds"][0], next(user for user in ready["users"] if not user["bot"])
    state: dict[str, Any] = {}
    while "channel_id" not in state:
        path = f"/guilds/{guild['id']}/voice-states/{person['id']}"
        state = await asked(ready["api_url"], path, ready["users"][0]["token"], tmp_path / "ca.pem")
    assert state["channel_id"] == guild["voice_channel_ids"][0]
    await served.end()


async def test_a_bad_recording_is_told_before_anything_starts(tmp_path: Path) -> None:
    """No half-open loopback for a speaker who cannot speak."""
    with pytest.raises(ConfigError, match="cannot be read"):
        await serve(tmp_path, 0, tmp_path / "none.wav", asyncio.Event())
    assert names_in(tmp_path) == set()
