"""Spans: what a call did and how long it took, for a tracer outside of the process. Pure; without a tracer every span is `NO_SPAN`.

A part begins a span below the one of its call (`Metrics.span`), or below another one. Spans carry times, counts and codes: no words, no
names, no ids of people, servers or channels, no addresses. `SPANS` and `ATTRIBUTES` list all that there is; those that begin with `gen_ai.`
are from OpenTelemetry's conventions for generative AI (https://github.com/open-telemetry/semantic-conventions-genai, voice agents).
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, TypeAlias

from typing_extensions import Self

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

CALL: Final = "discordplex.call"
JOIN: Final = "discordplex.join"
OPEN_ENGINE: Final = "discordplex.open_engine"
HANDOVER: Final = "discordplex.handover"
TURN: Final = "invoke_agent"

SPANS: Final = {
    CALL: "A call, from its start to its end.",
    JOIN: "Joining the voice channel, until the bot is in it and may speak.",
    OPEN_ENGINE: "Opening an engine, until it listens.",
    HANDOVER: "From the decision to change to the engine's next conversation until people talk with it.",
    TURN: "A turn of the cascade: from the end of what a person said until the answer was heard.",
    "speech_to_text": "In a turn: transcribing what was said. The model's name is part of the span's name.",
    "chat": "In a turn: the chat model's reply, from the request to its end. The model's name is part of the span's name.",
    "text_to_speech": "In a turn: the sound of one piece of the reply. The model's name is part of the span's name.",
}
"""Every span, with what it covers."""

CALL_NUMBER: Final = "discordplex.call.number"
CALL_NEXT: Final = "discordplex.call.next"
ENGINE_KIND: Final = "discordplex.engine.kind"
HANDOVER_RESULT: Final = "discordplex.handover.result"
UNHEARD_S: Final = "discordplex.handover.unheard_s"
ERROR_TYPE: Final = "error.type"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
OUTPUT_TYPE: Final = "gen_ai.output.type"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
END_REASON: Final = "gen_ai.agent.invocation.end_reason"

ATTRIBUTES: Final = {
    CALL_NUMBER: "The number of the call in this process, as in the log.",
    CALL_NEXT: "What follows the call: `done`, `retry`, `wait` or `requeue`.",
    ENGINE_KIND: "`personaplex`, `realtime` or `cascade`.",
    HANDOVER_RESULT: "`taken over` by a second slot, `renewed` in place, or `dropped`.",
    UNHEARD_S: "How long nobody was heard, in seconds.",
    ERROR_TYPE: "The code of what failed, as `cause` in the log.",
    OPERATION: "`invoke_agent`, `speech_to_text`, `chat` or `text_to_speech`.",
    PROVIDER: "`openai`: the protocol, whoever serves it.",
    MODEL: "The model, as set.",
    OUTPUT_TYPE: "`speech` where sound was asked for.",
    FIRST_CHUNK: "Seconds from the request to the first text or sound.",
    END_REASON: "How a turn ended: `completed`, `interrupted` or `session_closed`.",
}
"""Every attribute of a span, with what it says."""


class TraceSpan:
    """A span that nobody sees; the tracer's own spans are its subclass. As a `with` block it ends, and an exception is its failure.

    Thread: loop. No method blocks or raises.
    """

    __slots__ = ()

    def child(self, name: str, attributes: Attributes | None = None) -> "TraceSpan":  # noqa: ARG002 -- for those that are seen
        """Begin a span below this one."""
        return self

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def note_elapsed(self, attribute: str) -> None:
        """Add the seconds since the span began as an attribute; only the first time counts."""

    def fail(self, cause: str) -> None:
        """It failed, for a reason that is a code and not a sentence."""

    def end(self) -> None:
        """It is over; further calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self.fail(getattr(error, "cause", "") or type(error).__name__)
        self.end()


NO_SPAN: Final = TraceSpan()
"""What there is without a tracer."""
