"""Who may call the bot, and where it talks. Pure: a denial goes before a permission, and an empty list permits everything."""

from collections.abc import Collection

from discordplex.bot.rules import Rules


def may_talk_in(rules: Rules, channel_id: int) -> bool:
    """Whether the bot talks in this channel, by itself or by anybody's wish."""
    return channel_id not in rules.deny_channels and (not rules.allow_channels or channel_id in rules.allow_channels)


def may_call(rules: Rules, role_ids: Collection[int]) -> bool:
    """Whether the bot comes for somebody with these roles. Every member has the role whose id is the guild's."""
    held = frozenset(role_ids)
    return not held & rules.deny_roles and (not rules.allow_roles or bool(held & rules.allow_roles))
