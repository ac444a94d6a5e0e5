"""VoiceSteps: a full-duplex voice model behind continuous sound: 80 ms out for each 80 ms in. No input, no output."""

import asyncio
from collections.abc import Callable

from discordplex.clock import Clock
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.voice_model import ModelOutput, VoiceModelFactory


class VoiceSteps:
    """`hear` takes 24 kHz PCM in pieces of any size. Run `run` beside it. Thread: loop."""

    def __init__(self, new_model: VoiceModelFactory, clock: Clock, step_ms: Callable[[], float]) -> None:
        self._new_model = new_model
        self._clock = clock
        self._step_ms = step_ms
        self._model = new_model()
        # Unbounded, as in real servers: a client that sends too much gets later and later answers.
        self._input = bytearray()
        self._arrived = asyncio.Event()

    def hear(self, pcm: bytes) -> None:
        """Sound of the person."""
        self._input += pcm
        self._arrived.set()

    def restart(self) -> None:
        """Forget the conversation, and what was not yet heard."""
        self._model = self._new_model()
        self._input.clear()

    async def run(self, speak: Callable[[ModelOutput], None]) -> None:
        """Run one step after the other, and hand each one's output over."""
        while True:
            while len(self._input) < STEP_BYTES:
                self._arrived.clear()
                await self._arrived.wait()
            heard = bytes(self._input[:STEP_BYTES])
            del self._input[:STEP_BYTES]
            started = self._clock.now()
            spoken = self._model.step(heard)
            await self._clock.sleep_until(started + self._step_ms() / 1000)
            speak(spoken)
