"""Tests of discordplex.loopback.discord.rest.server and the routes, by plain HTTPS."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from discordplex.loopback.discord.certificate import client_context
from discordplex.loopback.discord.rest.rate_limits import BucketLimit
from discordplex.loopback.discord.rest.server import RETRY_AFTER_S
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import STAGE, User
from discordplex.loopback.discord.world.permissions import BITS


class Caller:
    """Plain HTTPS as one user."""

    def __init__(self, loopback: LoopbackDiscord, http: aiohttp.ClientSession, user: User) -> None:
        self.loopback = loopback
        self.guild = loopback.guilds[0]
        self.user = user
        self._http = http

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, version: str = "/v10"
    ) -> tuple[int, Any, Any]:
        """Status, JSON and headers of the answer."""
        headers = {"Authorization": f"Bot {self.user.token}" if token is None else token}
        async with self._http.request(method, self.loopback.api_url + version + path, json=body, headers=headers) as response:
            found = await response.json() if response.content_type == "application/json" else await response.text()
            return response.status, found, response.headers


@pytest.fixture
async def caller(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    async with LoopbackDiscord(dir=tmp_path_factory.mktemp("ca"), writes=BucketLimit(2, 60.0)) as loopback:
        connector = aiohttp.TCPConnector(ssl=client_context(loopback.ca_file))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Caller(loopback, session, loopback.bots[0])


async def test_json_is_plain_json(caller: Caller) -> None:
    """The content type has no charset (py-cord would not read it); with and without a version the answer is the same."""
    status, me, headers = await caller.ask("GET", "/users/@me")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert me["bot"] is True
    assert (await caller.ask("GET", "/users/@me", version=""))[1] == me


async def test_a_person_is_no_bot(caller: Caller) -> None:
    """People log in with their bare token and have no `bot` key."""
    ada = caller.loopback.people[0]
    status, me, _ = await caller.ask("GET", "/users/@me", token=ada.token)
    assert (status, me["id"]) == (200, ada.id)
    assert "bot" not in me


@pytest.mark.parametrize("token", ["", "Bot nobody's"])
async def test_a_wrong_token_is_401(caller: Caller, token: str) -> None:
    """In Discord's own error shape."""
    status, body, _ = await caller.ask("GET", "/users/@me", token=token)
    assert (status, body) == (401, {"message": "401: Unauthorized", "code": 0})


async def test_unknown_routes_are_recorded(caller: Caller) -> None:
    """What nobody answers is a 404 that a test can see afterwards."""
    status, body, _ = await caller.ask("POST", "/stars/7")
    assert (status, body) == (404, {"message": "404: Not Found", "code": 0})
    assert caller.loopback.unknown_routes == [("POST", "/stars/7")]


async def test_unknown_things_have_their_codes(caller: Caller) -> None:
    """Each kind of thing that is not there has its documented code."""
    text = caller.guild.text_channel.id
    for path, code in (
        ("/channels/1", 10003),
        ("/guilds/1", 10004),
        ("/users/1", 10013),
        (f"/channels/{text}/messages/1", 10008),
        (f"/guilds/{caller.guild.id}/members/1", 10007),
        (f"/guilds/{caller.guild.id}/voice-states/@me", 10065),
        (f"/applications/{caller.user.id}/commands/1", 10063),
        ("/webhooks/1/nothing/messages/@original", 10015),
    ):
        status, body, _ = await caller.ask("GET", path)
        assert (status, body["code"]) == (404, code), path


async def test_the_third_write_is_refused(caller: Caller) -> None:
    """Posts and edits share a channel's limit; the 429 says how long to wait, and another channel is not touched by it."""
    text, lounge = caller.guild.text_channel.id, caller.guild.voice_channels[0].id
    _, message, headers = await caller.ask("POST", f"/channels/{text}/messages", {"content": "one"})
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("2", "1")
    _, edited, headers = await caller.ask("PATCH", f"/channels/{text}/messages/{message['id']}", {"content": "two"})
    assert (edited["content"], headers["X-RateLimit-Remaining"]) == ("two", "0")
    assert edited["edited_timestamp"]
    status, body, headers = await caller.ask("POST", f"/channels/{text}/messages", {"content": "three"})
    assert (status, body["global"]) == (429, False)
    assert 59 < body["retry_after"] <= 60
    assert float(headers["Retry-After"]) == body["retry_after"]
    assert (await caller.ask("POST", f"/channels/{lounge}/messages", {"content": "here"}))[0] == 200
    assert len(caller.loopback.rest.refusals) == 1


async def test_bodies_of_the_wrong_shape_are_400(caller: Caller) -> None:
    """Empty messages, no JSON, fields that are missing: the server says so and stays up."""
    text = caller.guild.text_channel.id
    status, body, _ = await caller.ask("POST", f"/channels/{text}/messages", {"content": ""})
    assert (status, body["code"]) == (400, 50006)
    assert (await caller.ask("POST", f"/channels/{text}/messages", ["x"]))[0] == 400
    assert (await caller.ask("POST", f"/channels/{text}/threads", {}))[0] == 400
    status, body, _ = await caller.ask("PUT", f"/applications/{caller.user.id}/commands", [{"name": "x" * 33, "description": "d"}])
    assert body["errors"]["name"]["_errors"][0]["code"] == "BASE_TYPE_BAD_LENGTH"


async def test_a_thread_is_a_channel(caller: Caller) -> None:
    """A thread is made in a text channel, also from a message, and takes messages; in a voice channel there are none."""
    text, lounge = caller.guild.text_channel.id, caller.guild.voice_channels[0].id
    _, message, _ = await caller.ask("POST", f"/channels/{text}/messages", {"content": "start"})
    _, thread, _ = await caller.ask("POST", f"/channels/{text}/messages/{message['id']}/threads", {"name": "aside"})
    assert (thread["id"], thread["type"], thread["parent_id"]) == (message["id"], 11, text)
    _, other, _ = await caller.ask("POST", f"/channels/{text}/threads", {"name": "more", "type": 11})
    assert (await caller.ask("POST", f"/channels/{other['id']}/messages", {"content": "in it"}))[0] == 200
    assert (await caller.ask("POST", f"/channels/{lounge}/threads", {"name": "no"}))[0] == 403


async def test_the_voice_status_needs_presence(caller: Caller) -> None:
    """Only from inside the channel may one set its status, and at most 500 characters of it."""
    lounge = caller.guild.voice_channels[0]
    path = f"/channels/{lounge.id}/voice-status"
    assert (await caller.ask("PUT", path, {"status": "busy"}))[:2] == (403, {"message": "Missing Permissions", "code": 50013})
    caller.loopback.enter(caller.user, lounge)
    assert (await caller.ask("PUT", path, {"status": "busy"}))[0] == 204
    assert lounge.status == "busy"
    assert (await caller.ask("PUT", path, {"status": "x" * 501}))[0] == 400
    assert (await caller.ask("PUT", path, {"status": None}))[0] == 204
    assert lounge.status is None


async def test_a_moderator_moves_and_disconnects(caller: Caller) -> None:
    """PATCH of a member moves, mutes and disconnects them, with the permission to move members only."""
    lounge, study = caller.guild.voice_channels
    ben = caller.loopback.people[1]
    path = f"/guilds/{caller.guild.id}/members/{ben.id}"
    caller.loopback.enter(ben, lounge)
    assert (await caller.ask("PATCH", path, {"channel_id": study.id}))[0] == 403
    caller.guild.roles[caller.guild.id].permissions |= BITS["move_members"] | BITS["mute_members"]
    assert (await caller.ask("PATCH", path, {"channel_id": study.id, "mute": True}))[1]["mute"] is True
    state = caller.loopback.voice_state(ben)
    assert state
    assert (state.channel_id, state.mute) == (study.id, True)
    await caller.ask("PATCH", path, {"channel_id": None})
    assert caller.loopback.voice_state(ben) is None


async def test_commands_keep_their_ids(caller: Caller) -> None:
    """Overwriting the list keeps the id of a command of the same name; guilds have lists of their own; another's list is closed."""
    path = f"/applications/{caller.user.id}/commands"
    _, (first,), _ = await caller.ask("PUT", path, [{"name": "join", "description": "Join"}])
    _, (again, _), _ = await caller.ask("PUT", path, [{"name": "join", "description": "J"}, {"name": "leave", "description": "L"}])
    assert (again["id"], again["description"], again["application_id"]) == (first["id"], "J", caller.user.id)
    assert {"type", "version", "options"} <= set(again)
    local = f"/applications/{caller.user.id}/guilds/{caller.guild.id}/commands"
    _, made, _ = await caller.ask("POST", local, {"name": "here", "description": "Here"})
    assert made["guild_id"] == caller.guild.id
    _, altered, _ = await caller.ask("PATCH", f"{local}/{made['id']}", {"description": "There"})
    assert (altered["id"], altered["description"]) == (made["id"], "There")
    assert (await caller.ask("DELETE", f"{local}/{made['id']}"))[0] == 204
    assert (await caller.ask("GET", local))[1] == []
    assert len((await caller.ask("GET", path))[1]) == 2
    assert (await caller.ask("GET", f"/applications/{caller.loopback.bots[1].id}/commands"))[1]["code"] == 20012


async def test_faults_hit_what_they_are_told_to(caller: Caller) -> None:
    """REST can answer 5xx, late, or break the connection, for some paths or for all, until it is mended."""
    faults = caller.loopback.faults
    faults.status, faults.only = 503, "/messages$"
    text = caller.guild.text_channel.id
    assert (await caller.ask("POST", f"/channels/{text}/messages", {"content": "lost"}))[0] == 503
    assert caller.loopback.messages(text) == []
    assert (await caller.ask("GET", "/users/@me"))[0] == 200
    faults.status, faults.only, faults.delay_s = None, "", 0.01
    assert (await caller.ask("GET", "/users/@me"))[0] == 200
    faults.delay_s, faults.resets = 0.0, True
    with pytest.raises(aiohttp.ClientError):
        await caller.ask("GET", "/users/@me")
    faults.resets = False
    assert (await caller.ask("GET", "/users/@me"))[0] == 200


async def test_the_history_is_paged(caller: Caller) -> None:
    """Messages come newest first, within what is asked for; without the right to the history there are none."""
    text = caller.guild.text_channel
    ids = [caller.loopback.write(caller.loopback.people[0], text, str(index)).id for index in range(5)]
    path = f"/channels/{text.id}/messages"
    assert [message["content"] for message in (await caller.ask("GET", f"{path}?limit=2"))[1]] == ["4", "3"]
    assert [message["content"] for message in (await caller.ask("GET", f"{path}?before={ids[2]}"))[1]] == ["1", "0"]
    assert [message["content"] for message in (await caller.ask("GET", f"{path}?after={ids[2]}"))[1]] == ["4", "3"]
    caller.loopback.deny(caller.guild, text, caller.user, "read_message_history")
    assert (await caller.ask("GET", path))[1] == []


async def test_a_manager_alters_a_channel(caller: Caller) -> None:
    """Name, limit and overwrites of a channel can be changed by who manages channels, and read by everybody."""
    lounge = caller.guild.voice_channels[0]
    assert (await caller.ask("PATCH", f"/channels/{lounge.id}", {"name": "Den"}))[0] == 403
    caller.guild.roles[caller.guild.id].permissions |= BITS["manage_channels"]
    _, altered, _ = await caller.ask("PATCH", f"/channels/{lounge.id}", {"name": "Den", "user_limit": 2})
    assert (altered["name"], altered["user_limit"], lounge.user_limit) == ("Den", 2, 2)
    overwrite = {"type": 1, "allow": "0", "deny": str(BITS["speak"])}
    assert (await caller.ask("PUT", f"/channels/{lounge.id}/permissions/{caller.user.id}", overwrite))[0] == 204
    _, shown, _ = await caller.ask("GET", f"/channels/{lounge.id}")
    assert shown["permission_overwrites"] == [{"id": caller.user.id, **overwrite}]


async def test_only_the_author_edits(caller: Caller) -> None:
    """Another's message cannot be edited, and deleted only by who manages messages; one's own always."""
    text = caller.guild.text_channel
    theirs = [caller.loopback.write(caller.loopback.people[0], text, "theirs").id for _ in range(3)]
    path = f"/channels/{text.id}/messages"
    assert (await caller.ask("PATCH", f"{path}/{theirs[0]}", {"content": "mine"}))[1]["code"] == 50005
    assert (await caller.ask("DELETE", f"{path}/{theirs[0]}"))[1]["code"] == 50013
    assert (await caller.ask("PUT", f"{path}/{theirs[0]}/reactions/%F0%9F%91%8D/@me"))[0] == 204
    caller.guild.roles[caller.guild.id].permissions |= BITS["manage_messages"]
    assert (await caller.ask("DELETE", f"{path}/{theirs[0]}"))[0] == 204
    assert (await caller.ask("POST", f"{path}/bulk-delete", {"messages": [*theirs[1:], "1"]}))[0] == 204
    assert (await caller.ask("GET", path))[1] == []


async def test_a_reply_can_be_read_and_taken_back(caller: Caller) -> None:
    """Over REST alone an application answers, reads, edits and deletes its reply; the callback tells about it when asked."""
    caller.loopback.world.commands[caller.user.id, None] = [{"id": "1", "name": "now", "type": 1}]
    interactions = caller.loopback.interactions
    opened = interactions.use_command(caller.loopback.people[0].id, caller.guild.text_channel, "now", {})
    callback = f"/interactions/{opened.id}/{opened.token}/callback?with_response=true"
    status, told, _ = await caller.ask("POST", callback, {"type": 4, "data": {"content": "yes"}}, token="")
    assert (status, told["resource"]["message"]["content"]) == (200, "yes")
    reply = f"/webhooks/{caller.user.id}/{opened.token}/messages/@original"
    _, shown, _ = await caller.ask("GET", reply, token="")
    assert (shown["id"], shown["type"]) == (told["interaction"]["response_message_id"], 20)
    assert (await caller.ask("PATCH", reply, {"content": "no"}, token=""))[1]["content"] == "no"
    assert (await caller.ask("DELETE", reply, token=""))[0] == 204
    assert (await caller.ask("GET", reply, token=""))[1]["code"] == 10008


async def test_what_a_client_reads_at_the_start(caller: Caller) -> None:
    """Every list that libraries ask for at login is there and non-empty where something exists."""
    guild = f"/guilds/{caller.guild.id}"
    for path, count in (
        ("/users/@me/guilds", 2),
        (f"{guild}/channels", 3),
        (f"{guild}/roles", 2),
        (f"{guild}/members?limit=1000", 8),
        ("/soundboard-default-sounds", 1),
    ):
        status, found, _ = await caller.ask("GET", path)
        assert (status, len(found)) == (200, count), path
    assert (await caller.ask("GET", "/gateway/bot"))[1]["url"] == (await caller.ask("GET", "/gateway", token=""))[1]["url"]
    assert (await caller.ask("GET", "/oauth2/applications/@me"))[1]["id"] == caller.user.id
    assert (await caller.ask("GET", f"/applications/{caller.user.id}/emojis"))[1] == {"items": []}
    assert (await caller.ask("GET", f"{guild}/members/@me"))[1]["user"]["id"] == caller.user.id
    assert (await caller.ask("GET", guild))[1]["name"] == "Lighthouse"


async def test_an_injected_429_looks_like_discords(caller: Caller) -> None:
    """With the headers that a library waits by, as often as asked, and then all is well."""
    caller.loopback.faults.status, caller.loopback.faults.times = 429, 2
    for _ in range(2):
        status, body, headers = await caller.ask("GET", "/users/@me")
        assert (status, body["retry_after"]) == (429, RETRY_AFTER_S)
        assert {"Retry-After", "X-RateLimit-Reset-After", "Via"} <= set(headers)
    assert (await caller.ask("GET", "/users/@me"))[0] == 200


async def test_who_enters_a_stage_has_to_be_let_speak(caller: Caller) -> None:
    """They are in the audience; asking needs one permission, letting people speak another."""
    world, me = caller.loopback.world, caller.user
    stage = world.add_channel(caller.guild.id, "Stage", STAGE)
    mine, everyone = f"/guilds/{caller.guild.id}/voice-states/@me", caller.guild.id
    speak, ask = {"channel_id": stage.id, "suppress": False}, {"channel_id": stage.id, "request_to_speak_timestamp": "2026-01-01T00:00:00"}
    assert (await caller.ask("PATCH", mine, ask))[0] == 404
    caller.loopback.enter(me, stage)
    assert (await caller.ask("PATCH", mine, ask))[0] == 403
    caller.loopback.allow(caller.guild, stage, everyone, "request_to_speak")
    assert (await caller.ask("PATCH", mine, ask))[0] == 204
    assert (await caller.ask("GET", mine))[1]["request_to_speak_timestamp"]
    assert (await caller.ask("PATCH", mine, speak))[0] == 403
    caller.loopback.allow(caller.guild, stage, me, "mute_members")
    assert (await caller.ask("PATCH", mine, speak | {"request_to_speak_timestamp": None}))[0] == 204
    state = (await caller.ask("GET", mine))[1]
    assert (state["suppress"], state["request_to_speak_timestamp"]) == (False, None)
    caller.loopback.enter(me, caller.guild.voice_channels[0])
    caller.loopback.enter(me, stage)
    assert (await caller.ask("GET", mine))[1]["suppress"] is True
