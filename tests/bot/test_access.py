"""Who may call the bot, and where it talks."""

import pytest

from discordplex.bot.access import may_call, may_talk_in
from discordplex.bot.rules import CaptionsPlace, Rules
from discordplex.config import BotConfig

ONE, TWO = frozenset({1}), frozenset({2})


@pytest.mark.parametrize(
    ("rules", "welcome"),
    [
        pytest.param(Rules(), [True, True], id="no list permits everything"),
        pytest.param(Rules(allow_channels=ONE, allow_roles=ONE), [True, False], id="a list permits what is on it"),
        pytest.param(Rules(deny_channels=ONE, deny_roles=ONE), [False, True], id="a denial denies"),
        pytest.param(
            Rules(allow_channels=ONE | TWO, deny_channels=TWO, allow_roles=ONE | TWO, deny_roles=TWO), [True, False], id="and goes first"
        ),
    ],
)
def test_lists_of_channels_and_roles(rules: Rules, welcome: list[bool]) -> None:
    """A denial goes before a permission, and an empty list permits everything."""
    assert [may_talk_in(rules, channel_id) for channel_id in (1, 2)] == welcome
    assert [may_call(rules, {role_id}) for role_id in (1, 2)] == welcome


def test_one_role_among_many_decides() -> None:
    """One that is allowed is enough, one that is denied is too much; who has none is nobody that is allowed."""
    assert may_call(Rules(allow_roles=ONE), {1, 5, 7})
    assert not may_call(Rules(deny_roles=ONE), {1, 5, 7})
    assert not may_call(Rules(allow_roles=ONE), ())


def test_the_configuration_makes_rules() -> None:
    """Ids become numbers, and where captions go is understood."""
    rules = Rules.configured(BotConfig(allow_channels=("5",), deny_roles=("6", "7"), captions="thread", idle_minutes=3, hear_bots=True))
    assert rules == Rules(
        allow_channels=frozenset({5}), deny_roles=frozenset({6, 7}), captions=CaptionsPlace("thread"), idle_minutes=3, hear_bots=True
    )
    assert Rules.configured(BotConfig()) == Rules()
    assert [CaptionsPlace.parse(word) for word in ("voice", "off", "12")] == [
        CaptionsPlace(),
        CaptionsPlace("off"),
        CaptionsPlace("channel", 12),
    ]
