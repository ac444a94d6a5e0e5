"""All three stages together, as the tests use them."""

from collections.abc import Callable, Coroutine
from typing import Any

from discordplex.cascade.clients import Clients
from discordplex.cascade.speak import Speaker
from discordplex.cascade.stage import Stage, StageName
from discordplex.cascade.think import Thinker
from discordplex.cascade.transcribe import Transcriber
from discordplex.clock import Clock
from discordplex.loopback import timeouts

MESSAGES = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi."}]
ONE_SECOND = bytes(32_000)
HASTY_S = 0.5 * timeouts.FACTOR
"""How long a stage is waited for that falls silent."""


class Stages:
    """Three stages that share their clients and a clock."""

    def __init__(self, clients: Clients, transcribe: Stage, think: Stage, speak: Stage, *, clock: Clock) -> None:
        self.transcriber = Transcriber(clients, transcribe, clock)
        self.thinker = Thinker(clients, think, clock)
        self.speaker = Speaker(clients, speak, clock)

    async def transcribe(self) -> str:
        return await self.transcriber.text_of(ONE_SECOND)

    async def think(self) -> str:
        return "".join([delta async for delta in self.thinker.reply_to(MESSAGES)])

    async def speak(self) -> bytes:
        return b"".join([pcm async for pcm in self.speaker.sound_of("Hello there.", "shimmer")])

    def use(self, name: StageName) -> Callable[[], Coroutine[Any, Any, str | bytes]]:
        """One whole request of that stage."""
        uses: dict[StageName, Callable[[], Coroutine[Any, Any, str | bytes]]] = {
            "transcribe": self.transcribe,
            "think": self.think,
            "speak": self.speak,
        }
        return uses[name]
