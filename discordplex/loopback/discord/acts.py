"""Acts: what people and moderators do on the loopback Discord, and waiting for the effects."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio

from discordplex.loopback import timeouts
from discordplex.loopback.discord.rest.interactions import Interaction, Interactions
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.discord.world.model import Channel, ChatMessage, VoiceSessionGrant, VoiceState
from discordplex.loopback.discord.world.permissions import bit
from discordplex.loopback.discord.world.world import World

Found = TypeVar("Found")
Named = object
"""An object of the world or of any library with an `id`, or the id itself as text or number."""


class Acts:
    """Everything that a person or a moderator can do in a world, and queries of its state."""

    def __init__(self, world: World, interactions: Interactions) -> None:
        self.world = world
        self.interactions = interactions

    def messages(self, channel: Named) -> list[ChatMessage]:
        """Every message of a channel, the oldest first, deleted ones included, each with its history."""
        return self.world.chat.of(id_of(channel))

    def files(self, message: ChatMessage) -> list[Upload]:
        """What is attached to a message."""
        found = (self.world.files.find(each["id"]) for each in message.body.get("attachments") or [])
        return [upload for upload in found if upload]

    def voice_state(self, user: Named) -> VoiceState | None:
        """Where a user is in voice, None where they are in no channel."""
        return self.world.voice_state(id_of(user))

    async def wait_for(self, predicate: Callable[[], Found], *, timeout_s: float = 10.0) -> Found:
        """Return what `predicate` returns as soon as that is true. It is called after each change of the world; nothing is polled.

        Raises TimeoutError after `timeout_s`.
        """
        changed = asyncio.Event()
        unsubscribe = self.world.subscribe(lambda _: changed.set())
        try:
            with anyio.fail_after(timeout_s * timeouts.FACTOR):
                while not (found := predicate()):
                    await changed.wait()
                    changed.clear()
        finally:
            unsubscribe()
        return found

    # What people and moderators do

    def enter(self, user: Named, channel: Named) -> VoiceSessionGrant | None:
        """Let a user join a voice channel without media; None where Discord would not allow it."""
        place = self._channel(channel)
        return self.world.voice_join(id_of(user), place.guild_id, place.id)

    def leave(self, user: Named) -> None:
        """Let a user leave voice."""
        state = self.voice_state(user)
        if state:
            self.world.voice_leave(state.user_id, state.guild_id)

    async def move(self, user: Named, channel: Named) -> None:
        """Move a user from their voice channel into another, as a moderator."""
        if self.world.voice_move(id_of(user), id_of(channel)) is None:
            raise LookupError("the user is in no voice channel of that guild")

    def kick_from_voice(self, user: Named) -> None:
        """Disconnect a user from voice, as a moderator."""
        self.world.voice_kick(id_of(user))

    def remove_member(self, user: Named, guild: Named) -> None:
        """Remove a user from a guild."""
        self.world.remove_member(id_of(user), id_of(guild))

    def deny(self, guild: Named, channel: Named, user_or_role: Named, permission: str | int) -> None:
        """Deny a user or a role (the guild itself: everybody) a permission in a channel, by its name ("connect")."""
        self._overwrite(guild, channel, user_or_role, deny=bit(permission))

    def allow(self, guild: Named, channel: Named, user_or_role: Named, permission: str | int) -> None:
        """Allow a user or a role a permission in a channel."""
        self._overwrite(guild, channel, user_or_role, allow=bit(permission))

    def limit_users(self, channel: Named, limit: int) -> None:
        """Let at most `limit` users into a voice channel; 0 is no limit."""
        place = self._channel(channel)
        place.user_limit = limit
        self.world.touch(place)

    def write(self, user: Named, channel: Named, content: str) -> ChatMessage:
        """Let a user write a message."""
        return self.world.chat.post(id_of(channel), id_of(user), {"content": content})

    async def press_slash(
        self,
        person: Named,
        place: Named,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        bot: Named | None = None,
        timeout_s: float = 10.0,
    ) -> Interaction:
        """Use a slash command in a channel (or in a guild's text channel) and return it with the reply that the person sees.

        A value may be a user, a channel, a role, or an `Upload` for a file. Subcommands are written as people write them ("persona set").

        Raises LookupError where no application has registered such a command, TimeoutError where a deferred answer is not filled in within
        `timeout_s`. `failed` is set where no answer came within 3 s.
        """
        application = id_of(bot) if bot else None
        opened = self.interactions.use_command(id_of(person), self._place(place), name, options or {}, application_id=application)
        return await self._see(opened, timeout_s)

    async def complete_slash(
        self, person: Named, place: Named, name: str, options: Mapping[str, Any], *, focused: str, bot: Named | None = None
    ) -> list[dict[str, Any]]:
        """The choices that an application offers for the option `focused` while a person types its value."""
        application = id_of(bot) if bot else None
        where = self._place(place)
        opened = self.interactions.use_command(id_of(person), where, name, options, application_id=application, focused=focused)
        return (await self._see(opened, self.interactions.answer_within_s)).choices or []

    async def press_button(
        self, message: ChatMessage, custom_id: str, person: Named, *, values: list[str] | None = None, timeout_s: float = 10.0
    ) -> Interaction:
        """Press a button of a message (or choose `values` in its menu) and return what the person sees."""
        return await self._see(self.interactions.use_component(id_of(person), message, custom_id, values), timeout_s)

    async def submit_modal(self, opened: Interaction, values: Mapping[str, str], *, timeout_s: float = 10.0) -> Interaction:
        """Fill in the modal that an interaction was answered with, and return what the person sees."""
        return await self._see(self.interactions.submit_modal(opened, values), timeout_s)

    async def _see(self, opened: Interaction, timeout_s: float) -> Interaction:
        try:
            await self.wait_for(lambda: opened.answer_type is not None, timeout_s=self.interactions.answer_within_s)
        except TimeoutError:
            self.interactions.give_up(opened)
            return opened
        await self.wait_for(lambda: opened.settled, timeout_s=timeout_s)
        return opened

    def _overwrite(self, guild: Named, channel: Named, target: Named, *, allow: int = 0, deny: int = 0) -> None:
        place = self.world.guilds[id_of(guild)].channels[id_of(channel)]
        self.world.overwrite(place, id_of(target), allow=allow, deny=deny)

    def _channel(self, channel: Named) -> Channel:
        found = self.world.channel(id_of(channel))
        if found is None:
            raise LookupError(f"there is no channel {id_of(channel)}")
        return found

    def _place(self, place: Named) -> Channel:
        guild = self.world.guilds.get(id_of(place))
        return guild.text_channel if guild else self._channel(place)


def id_of(thing: Named) -> str:
    """The id of an object, or the id itself."""
    return str(getattr(thing, "id", thing))
