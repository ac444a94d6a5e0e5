"""Tests of discordplex.loopback.discord.rest.interactions: the documented rules of answering."""

from typing import Any

import pytest

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.rest.errors import ApiError
from discordplex.loopback.discord.rest.interactions import (
    ANSWER_WITHIN_S,
    DEFERRED,
    DEFERRED_UPDATE,
    EPHEMERAL,
    MESSAGE,
    TOKEN_LIFE_S,
    Interaction,
    Interactions,
)
from discordplex.loopback.discord.world.model import Fact, InteractionSent
from discordplex.loopback.discord.world.population import populate
from discordplex.loopback.discord.world.world import World

OPTIONS: list[dict[str, Any]] = [
    {"name": "who", "type": 6, "description": "d", "required": True},
    {"name": "how", "type": 3, "description": "d", "choices": [{"name": "Softly", "value": "soft"}]},
]


class Scene:
    """A world in which one bot has registered /hug and /now."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock)
        populate(self.world)
        self.interactions = Interactions(self.world)
        self.bots = [user.id for user in self.world.users.values() if user.bot]
        self.ada = next(user.id for user in self.world.users.values() if not user.bot)
        self.channel = next(iter(self.world.guilds.values())).text_channel
        hug = {"id": "1", "name": "hug", "type": 1, "options": OPTIONS}
        self.world.commands[self.bots[0], None] = [hug, {"id": "2", "name": "now", "type": 1}]
        self.told: list[Fact] = []
        self.world.subscribe(self.told.append)

    def use(self, name: str = "now", **values: Any) -> Interaction:
        return self.interactions.use_command(self.ada, self.channel, name, values)

    def answer(self, opened: Interaction, kind: int, **data: Any) -> None:
        self.interactions.answer(opened.id, opened.token, {"type": kind, "data": data})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_payload_names_everybody(scene: Scene) -> None:
    """Options carry their type, users are resolved, and the person comes with their permissions."""
    scene.use("hug", who=scene.bots[1], how="soft")
    (sent,) = scene.told
    assert isinstance(sent, InteractionSent)
    assert sent.application_id == scene.bots[0]
    data = sent.payload["data"]
    assert [(option["name"], option["type"], option["value"]) for option in data["options"]] == [
        ("who", 6, scene.bots[1]),
        ("how", 3, "soft"),
    ]
    assert set(data["resolved"]["users"]) == set(data["resolved"]["members"]) == {scene.bots[1]}
    assert sent.payload["member"]["user"]["id"] == scene.ada
    assert int(sent.payload["app_permissions"]) & 1 << 20


def test_impossible_uses_are_told_apart(scene: Scene) -> None:
    """A wrong name, option, choice or a missing option cannot be used, and the sentence says which."""
    for values, sentence in (
        ({}, "needs the option 'who'"),
        ({"who": "1", "what": 1}, "has no option 'what'; it has: who, how"),
        ({"who": "1", "how": "hard"}, "has no choice 'hard'"),
    ):
        with pytest.raises(LookupError, match=sentence):
            scene.use("hug", **values)
    with pytest.raises(LookupError, match="registered are: hug, now"):
        scene.use("hugs")
    scene.world.commands[scene.bots[1], None] = [{"id": "3", "name": "now", "type": 1}]
    with pytest.raises(LookupError, match="several applications have registered /now: Plex, Echo"):
        scene.use("now")


async def test_an_answer_after_three_seconds_is_refused(scene: Scene) -> None:
    """At three seconds an answer still counts, later it is an unknown interaction."""
    in_time, late = scene.use(), scene.use()
    await scene.clock.advance(ANSWER_WITHIN_S)
    scene.answer(in_time, MESSAGE, content="just")
    await scene.clock.advance(0.1)
    with pytest.raises(ApiError) as refused:
        scene.answer(late, MESSAGE, content="too late")
    assert refused.value.body["code"] == 10062
    assert in_time.content == "just"


def test_only_one_first_answer(scene: Scene) -> None:
    """A second first answer is code 40060; a wrong token answers nothing."""
    opened = scene.use()
    with pytest.raises(ApiError):
        scene.interactions.answer(opened.id, "wrong", {"type": MESSAGE, "data": {"content": "x"}})
    scene.answer(opened, MESSAGE, content="one")
    with pytest.raises(ApiError) as refused:
        scene.answer(opened, MESSAGE, content="two")
    assert refused.value.body["code"] == 40060


def test_an_ephemeral_deferral_stays_ephemeral(scene: Scene) -> None:
    """What fills in a deferred ephemeral reply is seen by the person alone, and is a reply only from then on."""
    opened = scene.use()
    scene.answer(opened, DEFERRED, flags=EPHEMERAL)
    assert opened.reply is None
    assert not opened.settled
    scene.interactions.follow_up(opened, {"content": "done"})
    assert (opened.content, opened.ephemeral, opened.followups) == ("done", True, [])
    assert scene.world.chat.of(scene.channel.id) == []


async def test_the_token_lives_a_quarter_of_an_hour(scene: Scene) -> None:
    """The reply can be edited for 15 minutes; before the first answer there is no webhook at all."""
    opened = scene.use()
    with pytest.raises(ApiError) as early:
        scene.interactions.by_token(opened.application_id, opened.token)
    assert early.value.body["code"] == 10015
    scene.answer(opened, MESSAGE, content="hello")
    await scene.clock.advance(TOKEN_LIFE_S)
    assert scene.interactions.by_token(opened.application_id, opened.token) is opened
    await scene.clock.advance(1)
    with pytest.raises(ApiError) as late:
        scene.interactions.by_token(opened.application_id, opened.token)
    assert late.value.body["code"] == 50027


def test_a_button_of_ones_own_message(scene: Scene) -> None:
    """Only a component that the message shows, and that is not disabled, can be used."""
    rows = [{"type": 1, "components": [{"type": 2, "custom_id": "go"}, {"type": 2, "custom_id": "no", "disabled": True}]}]
    message = scene.world.chat.post(scene.channel.id, scene.bots[0], {"content": "panel", "components": rows})
    pressed = scene.interactions.use_component(scene.ada, message, "go")
    scene.answer(pressed, DEFERRED_UPDATE)
    assert pressed.settled
    assert pressed.original is message
    with pytest.raises(LookupError, match="is disabled"):
        scene.interactions.use_component(scene.ada, message, "no")
    with pytest.raises(LookupError, match="it shows: go, no"):
        scene.interactions.use_component(scene.ada, message, "stop")
    with pytest.raises(LookupError, match="not answered with a modal"):
        scene.interactions.submit_modal(pressed, {})
