"""`discordplex run` as a process of its own, beside `discordplex loopback` and `discordplex standin`, the way a newcomer starts them."""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from discordplex.bot.texts.calls import ENDED, INTERRUPTED
from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.log import Log
from discordplex.loopback.openai.realtime import faults
from discordplex.loopback.openai.realtime.log import AudioAppended, SessionConnected
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.personaplex.log import ConversationClosed
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.tasks import cancel_and_wait

END_WITHIN_S = 5.0
"""What the command line promises for SIGTERM."""


@asynccontextmanager
async def started(*arguments: str, cwd: Path, **environment: str) -> AsyncIterator[Process]:
    """`discordplex ...` in a folder of its own, killed at the end where it still runs."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DISCORDPLEX_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "discordplex", *arguments,
        cwd=cwd, env={**clean, "PYTHONASYNCIODEBUG": "1", **environment}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def environment_for(discord: LoopbackDiscord, *urls: str, token: str | None = None) -> dict[str, str]:
    """What `run` needs to know of a loopback."""
    return {
        "DISCORDPLEX_DISCORD__TOKEN": token or discord.bots[0].token,
        "DISCORDPLEX_DISCORD__API_URL": discord.api_url + "/v10",
        "DISCORDPLEX_PERSONAPLEX__URLS": json.dumps(urls),
        "SSL_CERT_FILE": str(discord.ca_file),
    }


async def end(process: Process) -> tuple[int, str]:
    """SIGTERM, the exit code within what is promised, and what stood on stderr."""
    process.send_signal(signal.SIGTERM)
    _, errors = await timeouts.wait_for(process.communicate(), END_WITHIN_S)
    return process.returncode or 0, errors.decode()


async def test_sigterm_in_a_call(tmp_path: Path, speech: bytes) -> None:
    """It leaves the channel, closes the engine, exits 0 within 5 s, and development mode finds nothing that was left behind."""
    async with LoopbackDiscord() as discord, StandInServer(mode="echo") as engine:
        bot, channel = discord.bots[0], next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        async with (
            Person(discord, discord.people[0], channel.id) as person,
            started("run", "--report", "report.json", cwd=tmp_path, **environment_for(discord, engine.url)) as process,
        ):
            await discord.wait_for(lambda: any("listening" in message.content for message in discord.messages(channel)), timeout_s=20)
            await person.say(speech[: 2 * 96_000])
            await person.wait_for_audio(bot.id, 0.3)
            code, errors = await end(process)
            await discord.wait_for(lambda: discord.voice_state(bot) is None)
            await engine.log.wait_for(lambda log: log.of(ConversationClosed))
    assert code == 0, errors
    for trace in ("Traceback", "ResourceWarning", "never awaited", "was destroyed", "Unclosed", bot.token):
        assert trace not in errors, errors
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["metrics"]["uplink.ticks"] > 0
    assert [record.code for record in engine.log.of(ConversationClosed)] == [1000]


async def test_sigterm_while_a_realtime_server_floods(tmp_path: Path) -> None:
    """Seven events for each piece of sound, as many as a call takes: it exits 0 within 5 s, and nothing is left behind."""
    async with LoopbackDiscord() as discord, RealtimeServer() as server:
        channel = next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        settings = {
            **environment_for(discord, "ws://127.0.0.1:9"),
            "DISCORDPLEX_ENGINE__KIND": "realtime",
            "DISCORDPLEX_REALTIME__URL": server.url,
            "DISCORDPLEX_REALTIME__API_KEY": "sk-proj-0123456789abcdef",
        }

        flooded = asyncio.Event()

        def has_heard(log: Log, pieces: int) -> bool:
            return len(log.of(AudioAppended)) >= pieces

        async def flood() -> None:
            for pieces in itertools.count(1):
                await server.log.wait_for(functools.partial(has_heard, pieces=pieces), timeout_s=60)
                for message in faults.flood(7):
                    server.sessions[-1].wire.inject(message)
                if pieces == 100:
                    flooded.set()

        async with Person(discord, discord.people[0], channel.id), started("run", cwd=tmp_path, **settings) as process:
            await discord.wait_for(lambda: any("listening" in message.content for message in discord.messages(channel)), timeout_s=20)
            flooding = asyncio.create_task(flood())
            await timeouts.wait_for(flooded.wait(), 20)
            code, errors = await end(process)
            await cancel_and_wait(flooding)
            assert server.log.of(SessionConnected, 1)
            assert len(server.sessions) == 1, "the flood was more than a call takes"
    assert code == 0, errors
    for trace in ("Traceback", "ResourceWarning", "never awaited", "was destroyed", "Unclosed", "sk-proj"):
        assert trace not in errors, errors


async def test_sigterm_while_somebody_watches(tmp_path: Path, closed_port: int) -> None:
    """Live feeds are open in a call, one of them with a reader that does not read, and a connection that asks for nothing."""
    pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")
    get = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with LoopbackDiscord() as discord, StandInServer(mode="echo") as engine, contextlib.AsyncExitStack() as watching:
        channel = next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        settings = {**environment_for(discord, engine.url), "DISCORDPLEX_MONITORING__LISTEN": f"127.0.0.1:{closed_port}"}
        async with Person(discord, discord.people[0], channel.id), started("run", cwd=tmp_path, **settings) as process:
            await discord.wait_for(lambda: any("listening" in message.content for message in discord.messages(channel)), timeout_s=20)
            for request in (get, get, get, b"", get[:20]):
                reader, writer = await asyncio.open_connection("127.0.0.1", closed_port)
                watching.callback(writer.close)
                writer.write(request)
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", closed_port)
                watching.callback(writer.close)
                writer.write(get)
                await timeouts.wait_for(reader.readuntil(b"data: {"), 5)
            code, errors = await end(process)
    assert code == 0, errors
    for trace in ("Traceback", "ResourceWarning", "never awaited", "was destroyed", "Unclosed"):
        assert trace not in errors, errors


async def test_sigterm_while_a_collector_of_traces_does_not_answer(tmp_path: Path) -> None:
    """It takes the spans of a call and says nothing: the process ends in time all the same. The token comes from a file."""
    pytest.importorskip("opentelemetry", reason="the extra `otel` is not installed")
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.read(1)
            asked.set()
            await reader.read()

    async with (
        LoopbackDiscord() as discord,
        StandInServer(mode="echo") as engine,
        await asyncio.start_server(say_nothing, "127.0.0.1") as wedged,
    ):
        bot, channel = discord.bots[0], next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        settings = environment_for(discord, engine.url)
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "discord.token").write_text(f"{settings.pop('DISCORDPLEX_DISCORD__TOKEN')}\n", encoding="utf-8")
        settings["DISCORDPLEX_SECRETS_DIR"] = "secrets"
        settings["DISCORDPLEX_MONITORING__TRACES_URL"] = f"http://127.0.0.1:{wedged.sockets[0].getsockname()[1]}"
        async with Person(discord, discord.people[0], channel.id), started("run", cwd=tmp_path, **settings) as process:
            await discord.wait_for(lambda: any("listening" in message.content for message in discord.messages(channel)), timeout_s=20)
            await timeouts.wait_for(asked.wait(), 20)
            code, errors = await end(process)
            await discord.wait_for(lambda: discord.voice_state(bot) is None)
    assert code == 0, errors
    for trace in ("Traceback", "ResourceWarning", "never awaited", "was destroyed", "Unclosed", bot.token, "opentelemetry"):
        assert trace not in errors, errors


async def test_the_notice_of_a_killed_process_is_ended_by_the_next(tmp_path: Path) -> None:
    """Kill -9 in a call: the next process takes the buttons off its message, and says in a new one that it listens again."""
    async with LoopbackDiscord() as discord, StandInServer(mode="echo") as engine:
        channel = next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        settings = environment_for(discord, engine.url)
        database = tmp_path / "discordplex.db"
        async with Person(discord, discord.people[0], channel.id):
            async with started("run", cwd=tmp_path, **settings) as process:
                await discord.wait_for(lambda: any("listening in" in one.content for one in discord.messages(channel)), timeout_s=20)
                await rows(database, 1)
                process.kill()
                await process.wait()
            (left,) = discord.messages(channel)
            assert "listening in" in left.content
            assert left.body["components"] != []
            async with started("run", cwd=tmp_path, **settings) as process:
                await discord.wait_for(lambda: left.content == INTERRUPTED and len(discord.messages(channel)) > 1, timeout_s=20)
                await discord.wait_for(lambda: "listening in" in discord.messages(channel)[1].content, timeout_s=20)
                code, errors = await end(process)
                assert code == 0, errors
    assert left.body["components"] == []
    assert ENDED in discord.messages(channel)[1].content
    assert left.content == INTERRUPTED, "and not twice"
    await rows(database, 0)


async def test_sigterm_while_another_program_holds_the_database(tmp_path: Path) -> None:
    """A change cannot be saved, whatever is tried: the process ends in time all the same."""
    async with LoopbackDiscord() as discord:
        bot, channel = discord.bots[0], next(c for c in discord.guilds[0].channels.values() if c.is_voice)
        async with started("run", cwd=tmp_path, **environment_for(discord, "ws://127.0.0.1:9")) as process:
            await discord.wait_for(lambda: discord.world.commands.get((bot.id, None)), timeout_s=20)
            with contextlib.closing(sqlite3.connect(tmp_path / "discordplex.db", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                discord.enter(discord.people[0], channel)
                await discord.wait_for(lambda: discord.messages(channel), timeout_s=20)
                code, errors = await end(process)
    assert code == 0, errors
    assert "changes not saved" in errors
    assert "Traceback" not in errors


async def rows(database: Path, count: int) -> None:
    """Wait until so many unfinished notices are stored. Another process writes them, so there is nothing to wait on but the file."""
    with anyio.fail_after(20 * timeouts.FACTOR), contextlib.closing(sqlite3.connect(database)) as other:
        while other.execute("SELECT count(*) FROM unfinished_notices").fetchone() != (count,):  # noqa: ASYNC110 - see above
            await anyio.sleep(0.02)


async def test_a_wrong_token_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 1, one sentence on stderr, and the token is not in it."""
    async with LoopbackDiscord() as discord:
        secret = "MTIz.wrong.token-of-nobody"
        settings = environment_for(discord, "ws://127.0.0.1:9", token=secret)
        async with started("run", cwd=tmp_path, **settings) as process:
            _, errors = await timeouts.wait_for(process.communicate(), 20)
    text = errors.decode()
    assert process.returncode == 1, text
    assert "token" in text
    assert secret not in text
    assert "Traceback" not in text


async def test_no_token_is_a_wrong_configuration(tmp_path: Path) -> None:
    """Without a token there is nothing to run: exit code 2, and where to get one."""
    async with started("run", cwd=tmp_path) as process:
        _, errors = await timeouts.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert "DISCORDPLEX_DISCORD__TOKEN" in errors.decode()


async def test_discord_is_started_last(tmp_path: Path) -> None:
    """Discord cannot be reached: the bot says so and keeps trying, and is in the call once Discord is there."""
    async with LoopbackDiscord(dir=tmp_path / "discord") as discord:
        port, settings = discord.port, environment_for(discord, "ws://127.0.0.1:9")
    async with started("run", cwd=tmp_path, **settings) as process:
        assert process.stderr is not None
        line = await timeouts.wait_for(process.stderr.readline(), 20)
        while b"reach" not in line:
            assert line, "the bot ended instead of trying on"
            line = await timeouts.wait_for(process.stderr.readline(), 20)
        async with LoopbackDiscord(port=port, dir=tmp_path / "discord") as discord:
            channel = next(channel for channel in discord.guilds[0].channels.values() if channel.is_voice)
            discord.enter(discord.people[0], channel)
            await discord.wait_for(lambda: discord.voice_state(discord.bots[0]) is not None, timeout_s=30)
            code, errors = await end(process)
            assert code == 0, errors


@pytest.mark.parametrize("mode", ["echo", "parrot", "talker"])
async def test_three_terminals(tmp_path: Path, mode: str) -> None:
    """`loopback`, `standin` and `run` find each other by what they write into files, and a speaker on the loopback is answered."""
    clip = Path(__file__).parents[2] / "discordplex" / "demo" / "hello.wav"
    async with (
        started("loopback", "--dir", "discord", "--speaker", str(clip), cwd=tmp_path) as discord,
        started("standin", "--port", "0", "--mode", mode, "--ready-file", "engine.json", cwd=tmp_path) as engine,
    ):
        ready = json.loads(await written(tmp_path / "discord" / "ready.json"))
        url = json.loads(await written(tmp_path / "engine.json"))["url"]
        bot = next(user for user in ready["users"] if user["bot"])
        settings = {
            "DISCORDPLEX_DISCORD__TOKEN": bot["token"],
            "DISCORDPLEX_DISCORD__API_URL": ready["api_url"] + "/v10",
            "DISCORDPLEX_PERSONAPLEX__URLS": json.dumps([url]),
            "SSL_CERT_FILE": str(tmp_path / "discord" / "ca.pem"),
        }
        async with started("run", "--report", "report.json", "--log-format", "json", cwd=tmp_path, **settings) as process:
            assert process.stderr is not None
            while b"engine ready" not in (line := await timeouts.wait_for(process.stderr.readline(), 20)):
                assert line
            assert (await end(process))[0] == 0
        for other in (discord, engine):
            code, errors = await end(other)
            assert code == 0, errors


async def written(path: Path, timeout_s: float = 20.0) -> str:
    """What stands in a file as soon as it is there. Another process writes it, so there is nothing to wait on but the file."""
    file = anyio.Path(path)
    with anyio.fail_after(timeout_s * timeouts.FACTOR):
        while not await file.exists():  # noqa: ASYNC110 -- see above
            await anyio.sleep(0.02)
    return await file.read_text()
