"""hermes-talk inside Hermes Agent: the stage that it needs, and `python -m benchmarks.peers.hermes run ...`, which becomes the bot.

Both run as they are published. They are only told where Discord and OpenAI are: the addresses of both are constants in them.
"""

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from typing_extensions import Self

from benchmarks.peers.install import PLUGIN_FOLDER, interpreter
from benchmarks.peers.realtime import RealtimeServer, RealtimeTalk
from benchmarks.probe import Probe
from benchmarks.stage import ENTER_WITHIN_S, Stage, Talk
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.personaplex.voice_model import VoiceModelFactory

PROGRAM = ("-m", "benchmarks.peers.hermes")
OPENAI = "api.openai.com"
ADDRESS_FILE = "talk_wire.py"
CONFIG = """
model: {default: none, provider: custom, base_url: "http://127.0.0.1:%d/v1"}
plugins: {enabled: [hermes-talk]}
"""
START = """
import os, sys
import discord.gateway, discord.http, yarl
address = yarl.URL(os.environ["DISCORDPLEX_DISCORD__API_URL"])
discord.http.Route.BASE = str(address)
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL.build(scheme="wss", host=address.host, port=address.port, path="/")
from hermes_cli.main import main
sys.argv = ["hermes", "gateway", "run"]
sys.exit(main())
"""
LISTENS_AFTER_S = 2.0


class HermesStage(Stage):
    """A stage with this bot on it, which is told by slash commands to join, and with its own server; the stand-in engine stays unused."""

    def __init__(self, *, model: VoiceModelFactory = Probe) -> None:
        super().__init__(program=PROGRAM, model=model)
        self._server = RealtimeServer(self._new_model)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            await exits.enter_async_context(self._server)
            await super().__aenter__()
            self._exits.push_async_callback(exits.pop_all().aclose)
        return self

    async def wait_online(self) -> None:
        """Return once the bot takes commands."""
        await super().wait_online()
        commands = self.discord.world.commands
        await self.discord.wait_for(lambda: commands.get((self.bot_id, None)), timeout_s=ENTER_WITHIN_S)
        await asyncio.sleep(LISTENS_AFTER_S)

    @contextlib.asynccontextmanager
    async def talk(self, number: int = 0) -> AsyncIterator[Talk]:
        """A person enters, and tells the bot to join and to talk; at the end the bot is told to leave, and then the person leaves."""
        async with Person(self.discord, self.people[number], self.rooms[number].id, e2ee="libdave") as person:
            self._command(number, "voice", {"mode": "join"})
            await self.discord.wait_for(lambda: not self.alone(number), timeout_s=ENTER_WITHIN_S)
            await asyncio.sleep(LISTENS_AFTER_S)
            self._command(number, "talk", {"args": "join"})
            session = await asyncio.wait_for(self._server.opened.get(), ENTER_WITHIN_S)
            await asyncio.sleep(random.uniform(0.5, 0.6))
            probe = session.model if isinstance(session.model, Probe) else None
            yield RealtimeTalk(person, self.engines[0], 1, probe, session)
            self._command(number, "voice", {"mode": "leave"})
            await asyncio.sleep(LISTENS_AFTER_S)

    def _command(self, number: int, name: str, values: dict[str, str]) -> None:
        """Let the person use a slash command; the bot answers with a message, some time later."""
        place = self.discord.world.guilds[self.rooms[number].guild_id].text_channel
        self.discord.interactions.use_command(self.people[number].id, place, name, values, application_id=self.bot_id)

    def _environment(self, folder: Path) -> dict[str, str]:
        """Its own settings, in a folder that it may write to, beside those of every bot."""
        home = folder / "hermes"
        plugin = home / "plugins" / "hermes-talk"
        shutil.copytree(PLUGIN_FOLDER, plugin)
        addresses = plugin / ADDRESS_FILE
        text = addresses.read_text(encoding="utf-8")
        for scheme, plain in (("https", "http"), ("wss", "ws")):
            text = text.replace(f"{scheme}://{OPENAI}", f"{plain}://127.0.0.1:{self._server.port}")
        addresses.write_text(text, encoding="utf-8")
        (home / "config.yaml").write_text(CONFIG % self._server.port, encoding="utf-8")
        return super()._environment(folder) | {
            "HOME": str(home),
            "HERMES_HOME": str(home),
            "DISCORD_BOT_TOKEN": self.discord.bots[0].token,
            "DISCORD_ALLOWED_USERS": ",".join(user.id for user in self.discord.people),
            "DISCORD_COMMAND_SYNC_POLICY": "bulk",
            "OPENAI_API_KEY": "none",
        }


def main() -> None:
    """Take this process's place, so that what it uses is measured under its own number."""
    python = str(interpreter())
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    os.execve(python, [python, "-c", START], environment)  # noqa: S606  # our own words


if __name__ == "__main__":
    main()
