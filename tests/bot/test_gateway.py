"""The client hears of what it needs on Discord, and of nothing else."""

from collections.abc import Collection
from typing import Any, cast

import pytest

from discordplex.bot.gateway import GatewayClient, Listener, least_intents
from discordplex.loopback.clock import settle

CHANNEL, MESSAGE = 7, 8


class Noted:
    """A listener that keeps what it hears of messages."""

    def __init__(self) -> None:
        self.deleted: list[tuple[int, set[int]]] = []

    def messages_deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        self.deleted.append((channel_id, set(message_ids)))


@pytest.mark.parametrize(
    ("name", "event", "ids"),
    [
        ("MESSAGE_DELETE", {"id": str(MESSAGE)}, {8}),
        ("MESSAGE_DELETE_BULK", {"ids": ["8", "9"]}, {8, 9}),
        ("MESSAGE_CREATE", {"id": "no message is looked at, whatever it is"}, None),
        ("MESSAGE_UPDATE", {"id": "nor is an edited one"}, None),
    ],
)
async def test_what_becomes_of_messages(name: str, event: dict[str, Any], ids: set[int] | None, caplog: pytest.LogCaptureFixture) -> None:
    """The client asks Discord for it without a privileged intent, hears of deletions, and reads nobody's message."""
    heard = Noted()
    client = GatewayClient(cast("Listener", heard))
    client._connection.parsers[name]({"channel_id": str(CHANNEL), "guild_id": "6", **event})
    await settle()
    assert heard.deleted == ([] if ids is None else [(CHANNEL, ids)])
    assert client.intents.guild_messages
    assert not least_intents(messages=False).message_content
    assert not caplog.records
    await client.close()
    assert client.http.connector is not None
    await client.http.connector.close()
