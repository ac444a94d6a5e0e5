"""Interactions: commands, buttons and modals that people use, and the application's answers. Pure.

As documented: the first answer has to come within 3 s, the token is valid for 15 minutes, there is one first answer only, and the first
follow-up after a deferred answer fills that one in.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discordplex.loopback.discord.rest import interaction_payloads as build
from discordplex.loopback.discord.rest.errors import ApiError, unknown
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import Channel, ChatMessage, InteractionSent
from discordplex.loopback.discord.world.world import World

Json = dict[str, Any]

ANSWER_WITHIN_S = 3.0
TOKEN_LIFE_S = 15 * 60.0

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
"""The types of a first answer."""

EPHEMERAL, LOADING = 64, 128
"""Message flags: only the person who asked sees it; "is thinking ..."."""


@dataclass(slots=True)
class Interaction:
    """One use of a command or component, with everything that the application answered."""

    id: str
    token: str
    application_id: str
    user_id: str
    channel: Channel
    kind: int
    opened_at_s: float
    source: ChatMessage | None = None
    """The message whose component was used."""
    answer_type: int | None = None
    original: ChatMessage | None = None
    followups: list[ChatMessage] = field(default_factory=list)
    choices: list[Json] | None = None
    modal: Json | None = None
    failed: bool = False
    """No answer came within 3 s: the person read "The application did not respond"."""

    @property
    def reply(self) -> ChatMessage | None:
        """The reply that a person can read by now: None while there is none, or while the application "is thinking"."""
        message = self.original
        return None if message is None or message.flags & LOADING or message.deleted_at_s is not None else message

    @property
    def content(self) -> str:
        """The text of the reply, empty while there is none."""
        return self.reply.content if self.reply else ""

    @property
    def ephemeral(self) -> bool:
        """Whether only the person who asked sees the reply."""
        return bool(self.original and self.original.flags & EPHEMERAL)

    @property
    def deferred(self) -> bool:
        """Whether the first answer only asked for time."""
        return self.answer_type in (DEFERRED, DEFERRED_UPDATE)

    @property
    def settled(self) -> bool:
        """Whether the person can see a result: a reply, choices, a modal, an updated message, or the failure."""
        shown = self.answer_type in (DEFERRED_UPDATE, UPDATE, CHOICES, MODAL)
        return self.failed or shown or self.reply is not None


class Interactions:
    """Every interaction so far."""

    def __init__(self, world: World, *, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.answer_within_s = answer_within_s
        self.all: list[Interaction] = []
        self._world = world

    # What people do

    def use_command(
        self,
        user_id: str,
        channel: Channel,
        name: str,
        values: Mapping[str, Any],
        *,
        application_id: str | None = None,
        focused: str | None = None,
    ) -> Interaction:
        """Use `/name` (with its subcommands: "persona set"); with `focused`, ask for that option's completions instead."""
        first, *path = name.removeprefix("/").split()
        owner, command = build.find_command(self._world, first, channel.guild_id, application_id)
        data = build.command_data(self._world, command, path, values, guild_id=channel.guild_id, focused=focused)
        return self._open(owner, user_id, channel, build.AUTOCOMPLETE if focused else build.COMMAND, data)

    def use_component(self, user_id: str, message: ChatMessage, custom_id: str, values: list[str] | None = None) -> Interaction:
        """Press a button of a message, or choose `values` in its menu."""
        channel = self._channel(message.channel_id)
        data = build.component_data(message, custom_id, values)
        return self._open(message.author_id, user_id, channel, build.COMPONENT, data, source=message)

    def submit_modal(self, opened: Interaction, values: Mapping[str, str]) -> Interaction:
        """Fill in and send the modal that an interaction was answered with."""
        if opened.modal is None:
            raise LookupError("the interaction was not answered with a modal")
        data = build.modal_data(opened.modal, values)
        return self._open(opened.application_id, opened.user_id, opened.channel, build.MODAL, data, source=opened.source)

    def _open(
        self, application_id: str, user_id: str, channel: Channel, kind: int, data: Json, *, source: ChatMessage | None = None
    ) -> Interaction:
        token = secrets.token_urlsafe(32)
        payload = build.envelope(
            self._world, application_id=application_id, user_id=user_id, channel=channel, kind=kind, token=token, data=data
        )
        if source:
            payload["message"] = payloads.message(self._world, source)
        opened = Interaction(payload["id"], token, application_id, user_id, channel, kind, self._world.clock.now(), source)
        self.all.append(opened)
        self._world.tell(InteractionSent(application_id, payload))
        return opened

    def give_up(self, interaction: Interaction) -> None:
        """Record that no answer came in time."""
        if interaction.answer_type is None:
            interaction.failed = True
            self._world.note("interaction failed")

    # What the application answers

    def answer(self, interaction_id: str, token: str, body: Json) -> Interaction:
        """Take the first answer; raises Discord's errors for one too late or a second one."""
        found = next((each for each in self.all if (each.id, each.token) == (interaction_id, token)), None)
        late = found is not None and self._world.clock.now() > found.opened_at_s + self.answer_within_s
        if found is None or found.failed or (late and found.answer_type is None):
            raise unknown("interaction", 10062)
        if found.answer_type is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        self._take(found, int(body["type"]), body.get("data") or {})
        found.answer_type = int(body["type"])
        self._world.note("interaction answered")
        return found

    def _take(self, found: Interaction, kind: int, data: Json) -> None:
        if kind in (MESSAGE, DEFERRED):
            thinking = {"content": "", "flags": LOADING | (data.get("flags") or 0) & EPHEMERAL}
            found.original = self._say(found, data if kind == MESSAGE else thinking)
        elif kind in (DEFERRED_UPDATE, UPDATE):
            found.original = found.source
            if kind == UPDATE and found.source:
                self._world.chat.edit(found.source, data)
        elif kind == CHOICES:
            found.choices = list(data.get("choices") or [])
        elif kind == MODAL:
            found.modal = data

    def by_token(self, application_id: str, token: str) -> Interaction:
        """The interaction whose token serves as a webhook; raises Discord's errors for an unknown or expired one."""
        found = next((each for each in self.all if (each.application_id, each.token) == (application_id, token)), None)
        if found is None or found.answer_type is None:
            raise unknown("Webhook", 10015)
        if self._world.clock.now() > found.opened_at_s + TOKEN_LIFE_S:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return found

    def follow_up(self, found: Interaction, body: Json) -> ChatMessage:
        """A further message; the first one after a deferred answer takes its place."""
        if found.original and found.original.flags & LOADING:
            return self.edit(found.original, body)
        message = self._say(found, body)
        found.followups.append(message)
        return message

    def edit(self, message: ChatMessage, body: Json) -> ChatMessage:
        """Edit a reply; one that was deferred is no longer "thinking", and stays ephemeral if it was."""
        kept = message.flags & EPHEMERAL
        self._world.chat.edit(message, body | {"flags": ((body.get("flags") or 0) & ~LOADING & ~EPHEMERAL) | kept})
        return message

    def message(self, found: Interaction, message_id: str) -> ChatMessage:
        """The original reply ("@original") or a follow-up of that id."""
        mine = [found.original, *found.followups]
        wanted = (each for each in mine if each and message_id in ("@original", each.id) and each.deleted_at_s is None)
        message = next(wanted, None)
        if message is None:
            raise unknown("ChatMessage", 10008)
        return message

    def _say(self, found: Interaction, body: Json) -> ChatMessage:
        message = self._world.chat.compose(found.channel.id, found.application_id, body, interaction_id=found.id)
        return message if message.flags & EPHEMERAL else self._world.chat.publish(message)

    def _channel(self, channel_id: str) -> Channel:
        channel = self._world.channel(channel_id)
        if channel is None:
            raise LookupError(f"there is no channel {channel_id}")
        return channel
