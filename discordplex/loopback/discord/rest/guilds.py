"""REST routes of users, guilds, applications and their commands. Pure: they change or read the world."""

from typing import Any

from discordplex.loopback.discord.gateway.dispatches import DEFAULT_SOUND
from discordplex.loopback.discord.rest.api import ApiCall, Table
from discordplex.loopback.discord.rest.errors import Json, invalid_form, missing_permissions, unknown
from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.model import STAGE, CommandsChanged, Guild

table = Table()

NAME_LIMIT_CHARS = 32
"""Longest name of a command (documented)."""


@table.route("GET", "/gateway", needs_token=False)
def get_gateway(call: ApiCall) -> Any:
    """Where the gateway is."""
    return {"url": call.gateway_url}


@table.route("GET", "/gateway/bot")
def get_gateway_bot(call: ApiCall) -> Any:
    """Where the gateway is, how many shards to open, and how many of them at once."""
    return {"url": call.gateway_url, **call.advise()}


@table.route("GET", "/users/@me")
def get_me(call: ApiCall) -> Any:
    """The caller."""
    return payloads.self_user(call.user)


@table.route("GET", "/users/@me/guilds")
def get_my_guilds(call: ApiCall) -> Any:
    """The caller's guilds."""
    found = call.world.guilds_of(call.user.id)
    return [payloads.guild(guild) | {"permissions": str(call.world.guild_permissions(call.user.id, guild))} for guild in found]


@table.route("GET", "/users/{user}")
def get_user(call: ApiCall) -> Any:
    """Another user."""
    found = call.world.users.get(call.path["user"])
    if found is None:
        raise unknown("User", 10013)
    return payloads.user(found)


@table.route("GET", "/guilds/{guild}")
def get_guild(call: ApiCall) -> Any:
    """A guild."""
    return payloads.guild(call.guild())


@table.route("GET", "/guilds/{guild}/channels")
def get_channels(call: ApiCall) -> Any:
    """The channels of a guild."""
    return [payloads.channel(channel) for channel in call.guild().channels.values()]


@table.route("GET", "/guilds/{guild}/roles")
def get_roles(call: ApiCall) -> Any:
    """The roles of a guild."""
    return [payloads.role(role, position=place) for place, role in enumerate(call.guild().roles.values())]


@table.route("GET", "/guilds/{guild}/members")
def get_members(call: ApiCall) -> Any:
    """The members of a guild."""
    limit = int(call.query.get("limit", 1))
    return [payloads.member(call.world, member) for member in list(call.guild().members.values())[:limit]]


@table.route("GET", "/guilds/{guild}/members/{member}")
def get_member(call: ApiCall) -> Any:
    """One member."""
    return payloads.member(call.world, _member(call, call.guild()))


@table.route("PATCH", "/guilds/{guild}/members/{member}")
def patch_member(call: ApiCall) -> Any:
    """Move a member to another voice channel, disconnect, mute or deafen them, rename them."""
    guild, body = call.guild(), call.body
    member = _member(call, guild)
    if "channel_id" in body:
        _need(call, guild, "move_members")
        if body["channel_id"] is None:
            call.world.voice_leave(member.user_id, guild.id, cause="kicked")
        else:
            call.world.voice_move(member.user_id, str(body["channel_id"]))
    if "mute" in body or "deaf" in body:
        _need(call, guild, "mute_members")
        call.world.voice_mute(member.user_id, guild.id, mute=body.get("mute"), deaf=body.get("deaf"))
    if "nick" in body:
        member.nick = body["nick"]
    return payloads.member(call.world, member)


@table.route("GET", "/guilds/{guild}/voice-states/{member}")
def get_voice_state(call: ApiCall) -> Any:
    """Where a member is in voice."""
    guild = call.guild()
    user_id = call.user.id if call.path["member"] == "@me" else call.path["member"]
    state = call.world.voice_states.get((guild.id, user_id))
    if state is None:
        raise unknown("Voice State", 10065)
    return payloads.voice_state(call.world, state, with_member=True)


@table.route("PATCH", "/guilds/{guild}/voice-states/{member}")
def patch_voice_state(call: ApiCall) -> Any:
    """Ask to speak on a stage channel, or let somebody speak there.

    Documented: for others with Mute Members; anybody may put themselves back into the audience.
    """
    guild, body = call.guild(), call.body
    user_id = call.user.id if call.path["member"] == "@me" else call.path["member"]
    state = call.world.voice_states.get((guild.id, user_id))
    channel = guild.channels.get(state.channel_id or "") if state else None
    if state is None or channel is None or channel.kind != STAGE:
        raise unknown("Voice State", 10065)
    suppress = body.get("suppress")
    if suppress is False or user_id != call.user.id:
        call.need(channel, "mute_members")
    if body.get("request_to_speak_timestamp"):
        call.need(channel, "request_to_speak")
    asks = bool(body["request_to_speak_timestamp"]) if "request_to_speak_timestamp" in body else None
    call.world.voice_stage(user_id, guild.id, suppress=suppress, asks=asks)


def _member(call: ApiCall, guild: Guild) -> Any:
    user_id = call.user.id if call.path["member"] == "@me" else call.path["member"]
    if user_id not in guild.members:
        raise unknown("Member", 10007)
    return guild.members[user_id]


def _need(call: ApiCall, guild: Guild, permission: str) -> None:
    if not call.world.may_in_guild(call.user.id, guild, permission):
        raise missing_permissions()


@table.route("GET", "/soundboard-default-sounds")
def get_default_sounds(_call: ApiCall) -> Any:
    """Discord's own sounds."""
    return [DEFAULT_SOUND]


@table.route("GET", "/applications/@me")
@table.route("GET", "/oauth2/applications/@me")
def get_application(call: ApiCall) -> Any:
    """The caller's application."""
    return payloads.application(call.world, call.user)


@table.route("GET", "/applications/{application}/emojis")
def get_application_emojis(call: ApiCall) -> Any:
    """The application's emojis: none."""
    call.application_id()
    return {"items": []}


# Commands, global ones and those of one guild


@table.route("GET", "/applications/{application}/commands")
@table.route("GET", "/applications/{application}/guilds/{guild}/commands")
def get_commands(call: ApiCall) -> Any:
    """The registered commands."""
    return _commands(call)


@table.route("PUT", "/applications/{application}/commands")
@table.route("PUT", "/applications/{application}/guilds/{guild}/commands")
def put_commands(call: ApiCall) -> Any:
    """Replace all commands; one that keeps its name and type keeps its id."""
    registered = {(command["name"], command["type"]): command for command in _commands(call)}
    found = [_registered(call, body, registered.get((body["name"], body.get("type", 1)))) for body in call.body]
    return _keep(call, found)


@table.route("POST", "/applications/{application}/commands")
@table.route("POST", "/applications/{application}/guilds/{guild}/commands")
def post_command(call: ApiCall) -> Any:
    """Add one command, or replace the one of that name."""
    same = [command for command in _commands(call) if (command["name"], command["type"]) == (call.body["name"], call.body.get("type", 1))]
    new = _registered(call, call.body, same[0] if same else None)
    _keep(call, [command for command in _commands(call) if command not in same] + [new])
    return new


@table.route("PATCH", "/applications/{application}/commands/{command}")
@table.route("PATCH", "/applications/{application}/guilds/{guild}/commands/{command}")
def patch_command(call: ApiCall) -> Any:
    """Change one command."""
    old = _command(call)
    new = _registered(call, old | call.body, old)
    _keep(call, [new if command is old else command for command in _commands(call)])
    return new


@table.route("GET", "/applications/{application}/commands/{command}")
@table.route("GET", "/applications/{application}/guilds/{guild}/commands/{command}")
def get_command(call: ApiCall) -> Any:
    """One command."""
    return _command(call)


@table.route("DELETE", "/applications/{application}/commands/{command}")
@table.route("DELETE", "/applications/{application}/guilds/{guild}/commands/{command}")
def delete_command(call: ApiCall) -> Any:
    """Delete one command."""
    old = _command(call)
    _keep(call, [command for command in _commands(call) if command is not old])


def _commands(call: ApiCall) -> list[Json]:
    return call.world.commands.get((call.application_id(), call.path.get("guild")), [])


def _command(call: ApiCall) -> Json:
    found = next((command for command in _commands(call) if command["id"] == call.path["command"]), None)
    if found is None:
        raise unknown("application command", 10063)
    return found


def _keep(call: ApiCall, commands: list[Json]) -> list[Json]:
    place = (call.application_id(), call.path.get("guild"))
    call.world.commands[place] = commands
    call.world.tell(CommandsChanged(*place))
    return commands


def _registered(call: ApiCall, body: Json, registered: Json | None) -> Json:
    name, kind = str(body.get("name", "")), int(body.get("type") or 1)
    if not 1 <= len(name) <= NAME_LIMIT_CHARS:
        raise invalid_form("name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 32 in length.")
    if kind == 1 and not body.get("description"):
        raise invalid_form("description", "BASE_TYPE_REQUIRED", "This field is required")
    defaults: Json = {
        "description": "",
        "options": [],
        "default_member_permissions": None,
        "dm_permission": True,
        "nsfw": False,
        "contexts": None,
        "integration_types": [0],
    }
    own: Json = {
        "id": registered["id"] if registered else call.world.snowflake(),
        "application_id": call.application_id(),
        "version": call.world.snowflake(),
        "type": kind,
    }
    return defaults | body | own | ({"guild_id": call.path["guild"]} if "guild" in call.path else {})
