"""Think: the conversation so far to the reply, delta by delta."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from discordplex.cascade.clients import Clients, once_more
from discordplex.cascade.faults import failed, refuse_page, stage_error
from discordplex.cascade.stage import Stage
from discordplex.clock import Clock


class Thinker:
    """One call's chat stage."""

    def __init__(self, clients: Clients, stage: Stage, clock: Clock) -> None:
        self._clients = clients
        self._stage = stage
        self._clock = clock

    async def reply_to(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[str, None]:
        """The reply's text while it is written. Raises StageError. Close it where it is left early: the request ends then."""
        stage, said_any = self._stage, False
        try:
            stream = await once_more(lambda: self._ask(messages), stage, self._clock)
            async with stream:
                refuse_page(stream.response.headers.get("content-type", ""), stage, "html")
                async for chunk in stream:
                    if delta := content_of(chunk):
                        said_any = True
                        yield delta
        except Exception as error:
            raise stage_error(error, stage) from error
        if not said_any:
            raise failed(stage, f"wrote no reply. Look at {stage.model_setting} and cascade.think.extra.")

    async def _ask(self, messages: Sequence[Mapping[str, str]]) -> Any:
        body = {"model": self._stage.model, "messages": list(messages), "stream": True}
        return await self._clients.post(self._stage, "/chat/completions", body, stream=True)


def content_of(chunk: Any) -> str | None:
    """The text in one chunk of a streamed reply, None where it has none; servers also send chunks without choices, and null."""
    try:
        content = chunk["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None
