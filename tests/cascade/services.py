"""All three services together, as the tests use them."""

from collections.abc import Callable, Coroutine
from typing import Any

from discordplex.cascade.speak import Synthesizer
from discordplex.cascade.think import ChatModel
from discordplex.clock import Clock
from discordplex.hearing.transcriber import Transcriber
from discordplex.loopback import timeouts
from discordplex.services.clients import Clients
from discordplex.services.service import Service, ServiceName

MESSAGES = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi."}]
ONE_SECOND = bytes(32_000)
HASTY_S = 0.5 * timeouts.FACTOR
"""How long a service is waited for that falls silent."""


class Services:
    """Three services that share their clients and a clock."""

    def __init__(self, clients: Clients, transcribe: Service, think: Service, speak: Service, *, clock: Clock) -> None:
        self.transcriber = Transcriber(clients, transcribe, clock)
        self.chat_model = ChatModel(clients, think, clock)
        self.speaker = Synthesizer(clients, speak, clock)

    async def transcribe(self) -> str:
        return await self.transcriber.text_of(ONE_SECOND)

    async def think(self) -> str:
        return "".join([delta async for delta in self.chat_model.reply_to(MESSAGES)])

    async def speak(self) -> bytes:
        return b"".join([pcm async for pcm in self.speaker.sound_of("Hello there.", "shimmer")])

    def use(self, name: ServiceName) -> Callable[[], Coroutine[Any, Any, str | bytes]]:
        """One whole request of that service."""
        uses: dict[ServiceName, Callable[[], Coroutine[Any, Any, str | bytes]]] = {
            "transcribe": self.transcribe,
            "think": self.think,
            "speak": self.speak,
        }
        return uses[name]
