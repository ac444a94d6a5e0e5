"""The stand-in server as a program."""

import asyncio
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from discordplex.errors import DiscordplexError
from discordplex.loopback.personaplex.serve import serve
from discordplex.loopback.personaplex.server import StandInServer


async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """The ready-file appears whole and names the URL at which something answers, as does the log; afterwards nothing does."""
    ready_file, stop = tmp_path / "ready.json", asyncio.Event()
    with capture_logs() as logs:
        serving = asyncio.create_task(serve("127.0.0.1", 0, "parrot", ready_file, stop))
        while not ready_file.exists():  # noqa: ASYNC110 -- a file has no event
            await asyncio.sleep(0)
    url = json.loads(ready_file.read_text())["url"]
    assert [(line["event"], line["url"]) for line in logs] == [("stand-in server is up", url)]
    host, port = url.removeprefix("ws://").removesuffix("/api/chat").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()
    stop.set()
    await serving
    assert not ready_file.with_name("ready.json.part").exists()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection(host, int(port))


async def test_a_port_in_use_is_one_plain_sentence() -> None:
    """Whoever starts it twice is told which port, and what to do."""
    async with StandInServer("echo") as server:
        port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
        with pytest.raises(DiscordplexError, match=rf"Port {port} is already in use .* --port"):
            await serve("127.0.0.1", port, "echo", None, asyncio.Event())


async def test_a_host_that_is_none_is_one_plain_sentence() -> None:
    """An address of no interface of this machine."""
    with pytest.raises(DiscordplexError, match=r"cannot listen at 192\.0\.2\.1:0"):
        await serve("192.0.2.1", 0, "echo", None, asyncio.Event())


async def test_a_ready_file_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    """A folder that does not exist is told, and nothing is left listening."""
    with pytest.raises(DiscordplexError, match=r"ready-file .* cannot be written"):
        await serve("127.0.0.1", 0, "echo", tmp_path / "no" / "ready.json", asyncio.Event())
