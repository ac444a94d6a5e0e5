"""Chat: the messages of every channel, with their text before each edit. Pure."""

from typing import TYPE_CHECKING, Any

from discordplex.loopback.discord.world.model import ChatMessage, MessageDeleted, MessageEdited, MessagePosted, Revision

if TYPE_CHECKING:
    from discordplex.loopback.discord.world.directory import Directory


class Chat:
    """Messages by channel, in order; deleted ones are kept."""

    def __init__(self, directory: "Directory") -> None:
        self._directory = directory
        self._by_channel: dict[str, list[ChatMessage]] = {}

    def of(self, channel_id: str) -> list[ChatMessage]:
        """Every message ever posted in a channel, the oldest first, deleted ones included."""
        return list(self._by_channel.get(channel_id, ()))

    def find(self, channel_id: str, message_id: str) -> ChatMessage | None:
        """A message that is not deleted."""
        found = (message for message in self._by_channel.get(channel_id, ()) if message.id == message_id)
        return next((message for message in found if message.deleted_at_s is None), None)

    def compose(self, channel_id: str, author_id: str, body: dict[str, Any], *, interaction_id: str | None = None) -> ChatMessage:
        """A message that only its receiver sees yet (ephemeral ones stay so)."""
        rest = {key: value for key, value in body.items() if key != "content"}
        first = Revision(self._directory.clock.now(), str(body.get("content") or ""))
        return ChatMessage(
            self._directory.snowflake(), channel_id, author_id, [first], rest, self._directory.iso_now(), interaction_id=interaction_id
        )

    def publish(self, message: ChatMessage) -> ChatMessage:
        """Put a composed message into its channel."""
        self._by_channel.setdefault(message.channel_id, []).append(message)
        self._directory.tell(MessagePosted(message))
        return message

    def post(self, channel_id: str, author_id: str, body: dict[str, Any]) -> ChatMessage:
        """Compose and publish."""
        return self.publish(self.compose(channel_id, author_id, body))

    def edit(self, message: ChatMessage, body: dict[str, Any]) -> None:
        """Change the fields in the body; without `content` the text stays."""
        if "content" in body:
            message.revisions.append(Revision(self._directory.clock.now(), str(body["content"] or "")))
        message.body |= {key: value for key, value in body.items() if key != "content"}
        message.edited_iso = self._directory.iso_now()
        self._tell(message, MessageEdited(message))

    def delete(self, message: ChatMessage) -> None:
        """Remove a message from its channel; the record keeps it."""
        message.deleted_at_s = self._directory.clock.now()
        self._tell(message, MessageDeleted(message))

    def _tell(self, message: ChatMessage, fact: MessageEdited | MessageDeleted) -> None:
        if message in self._by_channel.get(message.channel_id, ()):
            self._directory.tell(fact)
        else:
            self._directory.note("ephemeral message changed")
