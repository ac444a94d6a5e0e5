"""XaiSession: OpenAI's protocol as xAI serves it, with its oddities."""

from collections.abc import Mapping
from typing import Any, Final

from discordplex.loopback.openai.realtime.judge import Objection, not_among, server_complaint
from discordplex.loopback.openai.realtime.session import ServedSession
from discordplex.loopback.openai.realtime.settings import at

PING_S: Final = 10.0
TURNS: Final = "session.audio.input.turn_detection.type"


class XaiSession(ServedSession):
    """The first event is `conversation.created`, `ping` events come between, and there is no semantic VAD."""

    def start(self) -> None:
        """The connection is made."""
        self.wire.judge = complaint
        self.wire.emit("conversation.created", conversation={"id": f"conv_{self.wire.number}", "object": "realtime.conversation"})
        self.spawn(self._ping())

    def objection_to_update(self, session: Mapping[str, Any]) -> Objection | None:
        """Why an update is refused, None where it is not."""
        found = super().objection_to_update(session)
        semantic = at(session, TURNS) == "semantic_vad"
        return found or (not_among(TURNS, "semantic_vad", ["server_vad", "null"]) if semantic else None)

    def status_details(self, details: Mapping[str, Any] | None) -> Any:
        """A string instead of an object, as was seen."""
        return details and "unimplemented"

    async def _ping(self) -> None:
        while True:
            self.wire.emit("ping", timestamp=int(self.wire.clock.now() * 1000))
            await self.wire.clock.sleep_until(self.wire.clock.now() + PING_S)


def complaint(event: Mapping[str, Any]) -> str:
    """What the SDK's types find wrong, but for what xAI is known for."""
    return "" if event.get("type") in ("ping", "response.done") else server_complaint(event)
