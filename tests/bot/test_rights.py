"""Who may call the bot, where it talks, and who may do what to a call."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import discord
import pytest

from discordplex.bot.commands.base import CommandServices, rights_of
from discordplex.bot.commands.prefix import WrittenCommands
from discordplex.bot.commands.register import PANELS, add_commands
from discordplex.bot.guild_rules import CaptionsPlace, GuildRules
from discordplex.bot.rights import LIMITS, MODERATING, RIGHTS, MemberRights, Right, may_call, may_talk_in, may_use, right_to
from discordplex.config import BotConfig, LimitsConfig

ONE, TWO = frozenset({1}), frozenset({2})


@pytest.mark.parametrize(
    ("rules", "welcome"),
    [
        pytest.param(GuildRules(), [True, True], id="no list permits everything"),
        pytest.param(GuildRules(allow_channels=ONE, allow_roles=ONE), [True, False], id="a list permits what is on it"),
        pytest.param(GuildRules(deny_channels=ONE, deny_roles=ONE), [False, True], id="a denial denies"),
        pytest.param(
            GuildRules(allow_channels=ONE | TWO, deny_channels=TWO, allow_roles=ONE | TWO, deny_roles=TWO),
            [True, False],
            id="and goes first",
        ),
    ],
)
def test_lists_of_channels_and_roles(rules: GuildRules, welcome: list[bool]) -> None:
    """A denial goes before a permission, and an empty list permits everything."""
    assert [may_talk_in(rules, channel_id) for channel_id in (1, 2)] == welcome
    assert [may_call(rules, {role_id}) for role_id in (1, 2)] == welcome


def test_one_role_among_many_decides() -> None:
    """One that is allowed is enough, one that is denied is too much; who has none is nobody that is allowed."""
    assert may_call(GuildRules(allow_roles=ONE), {1, 5, 7})
    assert not may_call(GuildRules(deny_roles=ONE), {1, 5, 7})
    assert not may_call(GuildRules(allow_roles=ONE), ())


def test_the_configuration_makes_rules() -> None:
    """Ids become numbers, and where captions go is understood."""
    rules = GuildRules.configured(
        BotConfig(allow_channels=("5",), deny_roles=("6", "7"), captions="thread", idle_minutes=3, hear_bots=True),
        LimitsConfig(idle_minutes=2),
    )
    assert rules == GuildRules(
        allow_channels=frozenset({5}),
        deny_roles=frozenset({6, 7}),
        captions=CaptionsPlace("thread"),
        idle_minutes=3,
        paid_idle_minutes=2,
        hear_bots=True,
    )
    assert GuildRules.configured(BotConfig(), LimitsConfig()) == GuildRules()
    assert [CaptionsPlace.parse(word) for word in ("voice", "off", "12")] == [
        CaptionsPlace(),
        CaptionsPlace("off"),
        CaptionsPlace("channel", 12),
    ]


# Who may do what


CALL, OTHER = 11, 12
NOBODY = MemberRights(channel_id=None, moderates=frozenset(), admin=False)
IN_IT = MemberRights(channel_id=CALL, moderates=frozenset(), admin=False)
BESIDE = MemberRights(channel_id=OTHER, moderates=frozenset(), admin=False)
MODERATOR = MemberRights(channel_id=None, moderates=frozenset({CALL}), admin=False)
ELSEWHERE = MemberRights(channel_id=OTHER, moderates=frozenset({OTHER}), admin=False)
ADMIN = MemberRights(channel_id=None, moderates=frozenset({CALL, OTHER}), admin=True)
EVERYONE = (NOBODY, IN_IT, BESIDE, MODERATOR, ELSEWHERE, ADMIN)


@pytest.mark.parametrize(
    ("right", "call", "waiting", "allowed"),
    [
        pytest.param(Right.EVERYBODY, CALL, {OTHER}, EVERYONE, id="everybody"),
        pytest.param(Right.OWN, CALL, {OTHER}, EVERYONE, id="their own"),
        pytest.param(Right.CALLER, CALL, {OTHER}, EVERYONE, id="the command itself answers who sits nowhere"),
        pytest.param(Right.CALL, CALL, set(), (IN_IT, MODERATOR, ADMIN), id="a call"),
        pytest.param(Right.CALL, CALL, {OTHER}, (IN_IT, MODERATOR, ADMIN), id="who waits has no say in the call"),
        pytest.param(Right.CALL, None, {CALL}, (IN_IT, MODERATOR, ADMIN), id="no call, but one is wanted"),
        pytest.param(Right.CALL, None, set(), EVERYONE, id="nothing to change"),
        pytest.param(Right.QUEUE, CALL, {OTHER}, (BESIDE, ELSEWHERE, ADMIN), id="a place in the queue"),
        pytest.param(Right.QUEUE, CALL, {OTHER, CALL}, (IN_IT, BESIDE, MODERATOR, ELSEWHERE, ADMIN), id="one of several places"),
        pytest.param(Right.QUEUE, CALL, set(), EVERYONE, id="nobody waits"),
        pytest.param(Right.ADMIN, None, set(), (ADMIN,), id="the whole server"),
    ],
)
def test_who_may_do_what(right: Right, call: int | None, waiting: set[int], allowed: tuple[MemberRights, ...]) -> None:
    """Each right for each kind of person."""
    assert tuple(who for who in EVERYONE if may_use(right, who, call=call, waiting=waiting)) == allowed


def uses(command: Any) -> Iterator[str]:
    """A command's name and one for each switch of it, or those of all commands in a group."""
    below = getattr(command, "subcommands", None)
    if below:
        yield from (use for one in below for use in uses(one))
        return
    yield f"/{command.qualified_name}"
    yield from (
        f"/{command.qualified_name} {one.name}" for one in command.options if one.input_type is discord.SlashCommandOptionType.boolean
    )


def registered() -> set[str]:
    """Whatever people can use, by its name in the table."""
    bot = discord.Bot()  # type: ignore[no-untyped-call] # py-cord does not annotate it
    add_commands(bot, cast("CommandServices", None))
    slash = {use for command in bot.pending_application_commands for use in uses(command)}
    return slash | {f"!{word}" for word in WrittenCommands("!", cast("CommandServices", None)).words}


@pytest.mark.parametrize("use", RIGHTS)
def test_without_a_call_to_go_on_with_listen_is_join(use: str) -> None:
    """Whoever waits elsewhere in the server has no say in it; everything else asks for the same with and without a call."""
    assert right_to(use, 11) is RIGHTS[use]
    assert right_to(use, None) is (Right.CALLER if use in ("/listen", "!listen") else RIGHTS[use])


async def test_every_command_and_button_has_its_right() -> None:
    """What is registered stands in the table, and nothing else does. A command without a row is refused to everybody."""
    buttons = {f"*{button.label}*" for panel in PANELS for button in panel().children if isinstance(button, discord.ui.Button)}
    assert registered() | buttons == set(RIGHTS)
    assert set(LIMITS) <= set(RIGHTS)


def test_the_manual_shows_the_same_table() -> None:
    """Each right has one row in docs/using.md, with everything that asks for it in the order of the code."""
    using = (Path(__file__).parents[2] / "docs" / "using.md").read_text(encoding="utf-8")
    for right in Right:
        names = ", ".join(f"`{name}`" if name[0] in "/!" else name for name, asked in RIGHTS.items() if asked is right)
        assert f"| {right.value} | {names} |" in using


def test_what_makes_a_moderator_are_permissions_of_discord() -> None:
    """A name that Discord does not know would never be held by anybody."""
    assert set(MODERATING) <= set(discord.Permissions.VALID_FLAGS)


def test_who_is_no_member_has_no_rights() -> None:
    """Discord says only a user where the server is not known."""
    assert rights_of(object(), [CALL]) == NOBODY


@pytest.mark.parametrize("until_s", [None, -60, 60])
@pytest.mark.parametrize("rights", ["manage_guild", "administrator", "owner"])
async def test_who_is_in_timeout_is_no_moderator(until_s: float | None, rights: str) -> None:
    """Discord leaves them to see and to read, unless they are administrators or own the server. A timeout that is over counts no more."""
    held = 0 if rights == "owner" else discord.Permissions(**{rights: True}).value
    ends = until_s and (datetime.now(timezone.utc) + timedelta(seconds=until_s)).isoformat()
    guild = guild_with(owner_id=7 if rights == "owner" else 8, role=held)
    data = {
        "user": {"id": "7", "username": "ann", "discriminator": "0", "avatar": None},
        "roles": ["5"],
        "communication_disabled_until": ends,
    }
    member = discord.Member(data=cast("Any", {**data, "joined_at": None, "flags": 0}), guild=guild, state=guild._state)
    powerless = until_s == 60 and rights == "manage_guild"
    assert rights_of(member, [CALL]) == (NOBODY if powerless else MemberRights(None, frozenset({CALL}), admin=True))


def guild_with(*, owner_id: int, role: int) -> discord.Guild:
    """A guild of py-cord's with the call's channel, and a role of these permissions."""
    state: Any = discord.Bot()._connection  # type: ignore[no-untyped-call] # py-cord does not annotate it
    roles = [{"id": str(number), "name": "r", "permissions": str(held), "position": 1} for number, held in ((1, 1024), (5, role))]
    shared = {"color": 0, "colors": {"primary_color": 0}, "hoist": False, "managed": False, "mentionable": False, "flags": 0}
    channel = {"id": str(CALL), "type": 2, "name": "Lounge", "position": 0, "permission_overwrites": [], "bitrate": 64000, "user_limit": 0}
    data = {"id": "1", "name": "g", "owner_id": str(owner_id), "roles": [{**one, **shared} for one in roles], "channels": [channel]}
    return discord.Guild(data=cast("Any", {**data, "member_count": 1}), state=state)
