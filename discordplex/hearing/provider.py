"""Hearing: the ears of all calls of a process, as `hearing.enabled` asks for them."""

from collections.abc import Callable

from discordplex.clock import Clock
from discordplex.config import CascadeConfig
from discordplex.hearing import detector
from discordplex.hearing.ears import CallEars, DetectionThread
from discordplex.hearing.transcriber import Transcriber
from discordplex.metrics import Metrics
from discordplex.plaintext import with_model
from discordplex.services import clients
from discordplex.services.service import Service


class Hearing:
    """Makes the ears of each call. Thread: loop."""

    def __init__(self, config: CascadeConfig, *, name: str = "", clock: Clock) -> None:
        """`name` is how people are told who transcribes. Raises ConfigError where the extra is not installed; imports nothing of it."""
        if not (clients.is_installed() and detector.is_installed()):
            raise clients.not_installed()
        self._service = Service.of(config, "transcribe")
        self._end_of_speech_ms = config.end_of_speech_ms
        self._clock = clock
        self._thread = DetectionThread()
        self.name = name or with_model("a transcription service", config.transcribe.model)
        """How people are told who transcribes. No address."""

    def ears(self, allowed: Callable[[], bool], metrics: Metrics) -> CallEars:
        """The ears of one call; see `CallEars`."""
        return CallEars(
            new_transcriber=lambda: Transcriber(clients.Clients([self._service]), self._service, self._clock),
            allowed=allowed,
            end_of_speech_ms=self._end_of_speech_ms,
            thread=self._thread,
            clock=self._clock,
            metrics=metrics,
        )
