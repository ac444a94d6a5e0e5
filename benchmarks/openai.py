"""`python -m benchmarks.openai`: the stand-in OpenAI server as a process of its own, so that its work is not counted as the cascade's.

It prints where it listens, and ends with its standard input.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from discordplex.loopback.openai.faults import REALISTIC, Delays
from discordplex.loopback.openai.server import StandInOpenAI, in_turn

ROOT = Path(__file__).parent.parent
PROMPT = Delays()
REPLIES = (
    "I think that we should go and look at it together one of these days.",
    "Oh, hello! It is good to hear you again after such a long time.",
    "That sounds like a lot of fun to me, and I would like to hear more of it.",
    "Nobody has ever asked me such a question before. Let me think about it.",
    "Well, it depends on whom you ask, my friend. What do you think yourself?",
)
"""Said one after the other. Their first pieces come after three to five tokens, as a first sentence, a first clause or at a word."""


async def serve(delays: Delays) -> None:
    """Until standard input ends."""
    async with StandInOpenAI(delays=delays, replies=in_turn(REPLIES * 100)) as server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def served(delays: Delays) -> AsyncIterator[str]:
    """The address of such a process, which ends with the block."""
    command = (sys.executable, "-m", "benchmarks.openai", *(["--realistic"] if delays is REALISTIC else []))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        if process.stdout is None or not (line := await process.stdout.readline()):
            raise RuntimeError("the stand-in did not start")
        yield line.decode().strip()
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    parser = argparse.ArgumentParser(description="A stand-in OpenAI server that ends with its standard input.")
    parser.add_argument("--realistic", action="store_true", help="take as long as OpenAI does on a good day")
    asyncio.run(serve(REALISTIC if parser.parse_args(arguments).realistic else PROMPT))


if __name__ == "__main__":
    main()
