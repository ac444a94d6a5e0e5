"""`discordplex demo`: run a call, show it, write the report, and summarise it in a few lines."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discordplex.demo.clip import speech
from discordplex.demo.live import PlainDisplay, show_for
from discordplex.demo.recording import spans
from discordplex.demo.report import report, summary, write
from discordplex.demo.scenario import PlayedCall, check_engine, play
from discordplex.errors import DiscordplexError
from discordplex.loopback.discord.world.population import BOTS, PEOPLE
from discordplex.stopping import Stop


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command line."""

    speech: Path | None
    out: Path
    engine: str
    seconds: float | None
    as_json: bool
    memory_s: float | None = None
    ears: bool = False


def run_demo(options: DemoOptions, stop: Stop) -> int:
    """Exit code 0 where the person got an answer. Raises DiscordplexError with a sentence, or OSError where the files cannot be written."""
    check_engine(options.engine, options.memory_s, ears=options.ears)
    said = speech(options.speech)
    options.out.mkdir(parents=True, exist_ok=True)
    with show_for(f"discordplex demo, {options.engine}", {"person": PEOPLE[0], "bot": BOTS[0]}, as_json=options.as_json) as show:
        playing = play(options.engine, said, options.seconds, show, options.memory_s, ears=options.ears)
        call = asyncio.run(until_terminated(stop, playing))
    measured = report(call, options.engine)
    write(measured, call, options.out)
    if options.as_json:
        sys.stdout.write(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    else:
        PlainDisplay(sys.stdout).step("\n" + "\n".join(summary(measured, call, options.out)))
    return verdict(call)


async def until_terminated(stop: Stop, call: Coroutine[Any, Any, PlayedCall]) -> PlayedCall:
    """Run the call and return its outcome. When the process is asked to end, the call ends first, so that no bot is left behind."""
    task, loop = asyncio.ensure_future(call), asyncio.get_running_loop()
    with stop.calling(lambda: loop.call_soon_threadsafe(task.cancel)):
        try:
            return await task
        except asyncio.CancelledError:
            raise DiscordplexError("The demo was cut short.") from None


def verdict(call: PlayedCall) -> int:
    """0 where the person heard something and the bot ended well; raises DiscordplexError with what was wrong otherwise."""
    if not spans(call.recording.bot):
        raise DiscordplexError(f"{call.person} heard nothing of {call.bot}; the report tells how far the frames came.")
    if call.exit_code != 0:
        raise DiscordplexError(f"The bot ended with exit code {call.exit_code}; it should be 0.")
    return 0
