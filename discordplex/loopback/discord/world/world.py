"""World: the whole state of the loopback Discord, with its rules. Pure: no loop, no socket, no thread.

Reading: `users`, `guilds`, `channel(id)`, `voice_states` and `voice_sessions` by (guild id, user id), `users_in(channel_id)`,
`chat` (messages). Every id is a decimal string. Every change is told at once, in order, to whoever called `subscribe(listener)`,
as the facts of `model.py`.

Voice, the way it goes on Discord:

* `voice_join(user_id, guild_id, channel_id, session_id=None, ...)` enters or moves and returns the `VoiceSessionGrant` whose `session_id`
  and `token` the voice gateway demands in op 0; None where Discord would keep silent (no permission, channel full, no such channel).
  Told: `VoiceSessionEnded(old, "left")` where another channel was left, `VoiceStateChanged`, then `VoiceSessionStarted(new)`.
  For the channel that one already sits in with the same session it only changes the mute flags and returns the session that stands.
* `voice_leave(user_id, guild_id)` leaves: `VoiceSessionEnded(session, "left")`, `VoiceStateChanged` with no channel.
* `voice_move(user_id, channel_id)` and `voice_kick(user_id)` are a moderator's: the cause is "moved" or "kicked"; after a move
  a new token follows.
* `voice_stage(user_id, guild_id)` lets somebody in the audience of a stage ask to speak, or speak: who enters one is suppressed.
* `new_voice_server(guild_id, user_id)`: the voice server goes away under a connection ("server"): `VoiceServerGone` (endpoint null),
  then a new token.
* `find_voice_session(server_id=, user_id=, session_id=, token=)`: the session that an identify or resume names, None where any of
  the four is wrong.
* `voice_endpoint` is `host:port` of the voice gateway, set by the server once it listens.
"""

import secrets
from dataclasses import replace

from discordplex.clock import Clock
from discordplex.loopback.discord.world.chat import Chat
from discordplex.loopback.discord.world.directory import Directory
from discordplex.loopback.discord.world.files import Files
from discordplex.loopback.discord.world.model import (
    STAGE,
    Channel,
    MemberRemoved,
    VoiceEnd,
    VoiceServerGone,
    VoiceSessionEnded,
    VoiceSessionGrant,
    VoiceSessionStarted,
    VoiceState,
    VoiceStateChanged,
)

MemberKey = tuple[str, str]
"""(guild id, user id): one user has at most one place in voice per guild."""


class World(Directory):
    """Users and guilds, voice states, and messages."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.voice_endpoint = ""
        self.voice_states: dict[MemberKey, VoiceState] = {}
        self.voice_sessions: dict[MemberKey, VoiceSessionGrant] = {}
        self.revoked_tokens: set[str] = set()
        """Tokens of voice sessions that a voice server has ended for good (4006).

        Who asks for the same channel again then gets a new session. Assumed: Discord does not document it, but discord.js relies on it.
        """
        self.chat = Chat(self)
        self.files = Files(self)

    # Queries

    def voice_state(self, user_id: str, guild_id: str | None = None) -> VoiceState | None:
        """Where a user is in voice, in one guild or in the first where they are; None where they are in no channel."""
        found = (state for (guild, user), state in self.voice_states.items() if user == user_id and guild_id in (None, guild))
        return next(found, None)

    def users_in(self, channel_id: str) -> list[str]:
        """The ids of the users in a voice channel, in the order in which they joined."""
        return [state.user_id for state in self.voice_states.values() if state.channel_id == channel_id]

    # What a user does

    def voice_join(
        self,
        user_id: str,
        guild_id: str,
        channel_id: str,
        *,
        session_id: str | None = None,
        self_mute: bool = False,
        self_deaf: bool = False,
    ) -> VoiceSessionGrant | None:
        """Join a voice channel, move to it, or change the mute flags in it; None where Discord would ignore the request."""
        channel = self.guilds[guild_id].channels.get(channel_id) if guild_id in self.guilds else None
        if channel is None or not self.may_enter(user_id, channel):
            return None
        before = self.voice_states.get((guild_id, user_id))
        current = self.voice_sessions.get((guild_id, user_id))
        session_id = session_id or (before.session_id if before else secrets.token_hex(16))
        mute, deaf = self._moderated(user_id, guild_id)
        audience = channel.kind == STAGE if before is None or before.channel_id != channel_id else before.suppress
        state = VoiceState(user_id, guild_id, channel_id, session_id, self_mute, self_deaf, mute, deaf, audience)
        is_the_same = before and current and (current.channel_id, current.session_id) == (channel_id, session_id)
        if current and is_the_same and current.token not in self.revoked_tokens:
            self._set(before, state)
            return current
        if current:
            self._end(current, "left")
        self._set(before, state)
        return self._start(state)

    def voice_leave(self, user_id: str, guild_id: str, *, cause: VoiceEnd = "left") -> None:
        """Leave voice in a guild; does nothing where the user is in no channel of it."""
        before = self.voice_states.get((guild_id, user_id))
        if before is None:
            return
        current = self.voice_sessions.get((guild_id, user_id))
        if current:
            self._end(current, cause)
        self._set(before, replace(before, channel_id=None))

    # What a moderator or Discord does

    def remove_member(self, user_id: str, guild_id: str) -> None:
        """Remove a user from a guild, which is then gone for them."""
        self.voice_leave(user_id, guild_id, cause="kicked")
        del self.guilds[guild_id].members[user_id]
        self.tell(MemberRemoved(guild_id, user_id))

    def voice_move(self, user_id: str, channel_id: str) -> VoiceSessionGrant | None:
        """Move a user into another channel of the guild where they are in voice; None where they are in none of it.

        A moderator with the permission Move Members can move people into a channel that they could not join by themselves (documented).
        """
        channel = self.channel(channel_id)
        before = self.voice_states.get((channel.guild_id, user_id)) if channel else None
        if channel is None or before is None:
            return None
        current = self.voice_sessions.get((channel.guild_id, user_id))
        if current:
            self._end(current, "moved")
        state = replace(before, channel_id=channel_id)
        self._set(before, state)
        return self._start(state)

    def voice_kick(self, user_id: str) -> None:
        """Disconnect a user from voice wherever they are."""
        for guild_id in [guild for guild, user in self.voice_states if user == user_id]:
            self.voice_leave(user_id, guild_id, cause="kicked")

    def voice_mute(self, user_id: str, guild_id: str, *, mute: bool | None = None, deaf: bool | None = None) -> None:
        """Server mute or deafen a member, until changed; None leaves it as it is."""
        member = self.guilds[guild_id].members[user_id]
        member.mute = member.mute if mute is None else mute
        member.deaf = member.deaf if deaf is None else deaf
        before = self.voice_states.get((guild_id, user_id))
        if before:
            self._set(before, replace(before, mute=member.mute, deaf=member.deaf))

    def voice_stage(self, user_id: str, guild_id: str, *, suppress: bool | None = None, asks: bool | None = None) -> None:
        """Let somebody on a stage channel speak or no longer, or let them ask to; None leaves it as it is."""
        before = self.voice_states.get((guild_id, user_id))
        if before is None:
            return
        asked = before.asked_to_speak_iso if asks is None else self.iso_now() if asks else None
        self._set(before, replace(before, suppress=before.suppress if suppress is None else suppress, asked_to_speak_iso=asked))

    def new_voice_server(self, guild_id: str, user_id: str) -> VoiceSessionGrant | None:
        """Replace the voice server of a user; None where they are in no channel."""
        current = self.voice_sessions.get((guild_id, user_id))
        state = self.voice_states.get((guild_id, user_id))
        if current is None or state is None:
            return None
        self.tell(VoiceServerGone(current))
        self._end(current, "server")
        return self._start(state)

    # What the voice gateway asks

    def find_voice_session(self, *, server_id: str, user_id: str, session_id: str, token: str) -> VoiceSessionGrant | None:
        """The session with all four of these values, None where there is none."""
        current = self.voice_sessions.get((server_id, user_id))
        if current and (current.session_id, current.token) == (session_id, token):
            return current
        return None

    def may_enter(self, user_id: str, channel: Channel) -> bool:
        """Whether Discord lets a user join: the permission, and a free place (not needed with Move Members)."""
        if not channel.is_voice or not self.may(user_id, channel, "connect"):
            return False
        inside = self.users_in(channel.id)
        full = bool(channel.user_limit) and user_id not in inside and len(inside) >= channel.user_limit
        return not full or self.may(user_id, channel, "move_members")

    def _moderated(self, user_id: str, guild_id: str) -> tuple[bool, bool]:
        member = self.guilds[guild_id].members[user_id]
        return member.mute, member.deaf

    def _set(self, before: VoiceState | None, after: VoiceState) -> None:
        key = (after.guild_id, after.user_id)
        if after.channel_id is None:
            self.voice_states.pop(key, None)
        else:
            if before and before.channel_id != after.channel_id:
                del self.voice_states[key]  # the newest in a channel is last
            self.voice_states[key] = after
        self.tell(VoiceStateChanged(before, after))

    def _start(self, state: VoiceState) -> VoiceSessionGrant:
        session = VoiceSessionGrant(state.user_id, state.guild_id, state.channel_id or "", state.session_id, secrets.token_hex(8))
        self.voice_sessions[state.guild_id, state.user_id] = session
        self.tell(VoiceSessionStarted(session))
        return session

    def _end(self, session: VoiceSessionGrant, cause: VoiceEnd) -> None:
        del self.voice_sessions[session.guild_id, session.user_id]
        self.tell(VoiceSessionEnded(session, cause))
