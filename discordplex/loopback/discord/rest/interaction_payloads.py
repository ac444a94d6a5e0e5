"""INTERACTION_CREATE payloads, built from what an application has registered. Pure.

A command, an option or a component that does not exist raises a LookupError with a sentence: no person on Discord could use it.
"""

from collections.abc import Mapping
from typing import Any

from discordplex.loopback.discord.world import payloads
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.discord.world.model import Channel, ChatMessage
from discordplex.loopback.discord.world.world import World

Json = dict[str, Any]

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
"""The interaction types."""

SUB_COMMAND, SUB_COMMAND_GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
CONVERT: Mapping[int, Any] = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: float}
BUTTON, TEXT_INPUT = 2, 4


def envelope(world: World, *, application_id: str, user_id: str, channel: Channel, kind: int, token: str, data: Json) -> Json:
    """What every interaction contains besides its data: user, channel, permissions."""
    guild = world.guilds[channel.guild_id]
    person = payloads.member(world, guild.members[user_id])
    here = payloads.channel(channel) | {"permissions": str(world.permissions(user_id, channel))}
    return {
        "id": world.snowflake(),
        "application_id": application_id,
        "type": kind,
        "token": token,
        "version": 1,
        "data": data,
        "guild_id": guild.id,
        "guild": {"id": guild.id, "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "locale": "en-US",
        "channel_id": channel.id,
        "channel": here,
        "member": person | {"permissions": str(world.permissions(user_id, channel))},
        "app_permissions": str(world.permissions(application_id, channel)),
        "entitlements": [],
        "authorizing_integration_owners": {"0": guild.id},
        "context": 0,
        "attachment_size_limit": 10 * 1024 * 1024,
    }


def find_command(world: World, name: str, guild_id: str, application_id: str | None) -> tuple[str, Json]:
    """The application that has registered a command, and the command; a guild's own takes precedence over a global one of that name."""
    found = {
        owner: command
        for scope in (None, guild_id)
        for (owner, place), commands in world.commands.items()
        for command in commands
        if place == scope and command["type"] == 1 and command["name"] == name and application_id in (None, owner)
    }
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        names = ", ".join(world.users[owner].name for owner in found)
        raise LookupError(f"several applications have registered /{name}: {names}; say which one is meant")
    known = sorted({command["name"] for commands in world.commands.values() for command in commands})
    raise LookupError(f"no application has registered /{name}; registered are: {', '.join(known) or 'none'}")


def command_data(world: World, command: Json, path: list[str], values: Mapping[str, Any], *, guild_id: str, focused: str | None) -> Json:
    """The data of a command's use: `path` are the names of the subcommand group and subcommand, if there are any."""
    options, wrap = command.get("options") or [], []
    for name in path:
        step = next((option for option in options if option["name"] == name), None)
        if step is None or step["type"] not in (SUB_COMMAND, SUB_COMMAND_GROUP):
            raise LookupError(f"/{command['name']} has no subcommand {name!r}")
        wrap.append(step)
        options = step.get("options") or []
    attached = {name: world.files.keep(value) for name, value in values.items() if isinstance(value, Upload)}
    values = {name: attached[name]["id"] if name in attached else getattr(value, "id", value) for name, value in values.items()}
    filled = _fill(command["name"], options, values, focused)
    resolved = _resolve(world, filled, guild_id)
    resolved |= {"attachments": {one["id"]: one for one in attached.values()}} if attached else {}
    for step in reversed(wrap):
        filled = [{"name": step["name"], "type": step["type"], "options": filled}]
    data = {"id": command["id"], "name": command["name"], "type": 1, "options": filled}
    data |= {"resolved": resolved} if resolved else {}
    return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})


def _fill(name: str, options: list[Json], values: Mapping[str, Any], focused: str | None) -> list[Json]:
    known = {option["name"]: option for option in options}
    for asked in (*values, *([focused] if focused else [])):
        if asked not in known:
            raise LookupError(f"/{name} has no option {asked!r}; it has: {', '.join(known) or 'none'}")
    for option in options:
        if option["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP):
            raise LookupError(f"/{name} needs a subcommand, for instance {option['name']!r}")
        if option.get("required") and option["name"] not in values and focused is None:
            raise LookupError(f"/{name} needs the option {option['name']!r}")
    return [_option(known[key], value, focused=key == focused) for key, value in values.items()]


def _option(option: Json, value: Any, *, focused: bool) -> Json:
    choices = [choice["value"] for choice in option.get("choices") or []]
    if choices and value not in choices:
        raise LookupError(f"the option {option['name']!r} has no choice {value!r}; it has: {choices}")
    converted = CONVERT.get(option["type"], str)(value)
    return {"name": option["name"], "type": option["type"], "value": converted} | ({"focused": True} if focused else {})


def _resolve(world: World, filled: list[Json], guild_id: str) -> Json:
    guild = world.guilds[guild_id]
    found: dict[str, Json] = {}
    for option in filled:
        value = option["value"]
        if option["type"] in (USER, MENTIONABLE) and value in guild.members:
            found.setdefault("users", {})[value] = payloads.user(world.users[value])
            person = payloads.member(world, guild.members[value])
            found.setdefault("members", {})[value] = {key: each for key, each in person.items() if key not in ("user", "deaf", "mute")}
        elif option["type"] == CHANNEL and value in guild.channels:
            found.setdefault("channels", {})[value] = payloads.channel(guild.channels[value]) | {"permissions": "0"}
        elif option["type"] in (ROLE, MENTIONABLE) and value in guild.roles:
            found.setdefault("roles", {})[value] = payloads.role(guild.roles[value], position=0)
    return found


def component_data(message: ChatMessage, custom_id: str, values: list[str] | None) -> Json:
    """The data of pressing a button, or of a choice in a menu, of a message that shows it."""
    component = next((each for each in components(message.body.get("components") or []) if each.get("custom_id") == custom_id), None)
    if component is None:
        known = [each["custom_id"] for each in components(message.body.get("components") or []) if each.get("custom_id")]
        raise LookupError(f"the message shows no component {custom_id!r}; it shows: {', '.join(known) or 'none'}")
    if component.get("disabled"):
        raise LookupError(f"the component {custom_id!r} is disabled")
    data: Json = {"custom_id": custom_id, "component_type": component["type"], "id": component.get("id", 1)}
    return data if component["type"] == BUTTON else data | {"values": values or []}


def components(rows: list[Json]) -> list[Json]:
    """Every component in a tree of them."""
    found: list[Json] = []
    for row in rows:
        inner = row.get("components") or [part for key in ("accessory", "component") if (part := row.get(key))]
        found += [row, *components(inner)]
    return found


def modal_data(modal: Json, values: Mapping[str, str]) -> Json:
    """The data of a filled-in modal: every text input in it, empty where `values` has none for its custom id."""
    known = [each for each in components(modal.get("components") or []) if each.get("type") == TEXT_INPUT]
    for asked in values:
        if asked not in {each["custom_id"] for each in known}:
            raise LookupError(f"the modal has no field {asked!r}")
    rows = [
        {"type": 1, "components": [{"type": TEXT_INPUT, "custom_id": each["custom_id"], "value": values.get(each["custom_id"], "")}]}
        for each in known
    ]
    return {"custom_id": modal["custom_id"], "components": rows}
