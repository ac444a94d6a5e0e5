"""Tests of discordplex.loopback.discord.gateway.gateway and its connections, over a plain WebSocket."""

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from discordplex.loopback.discord.certificate import client_context
from discordplex.loopback.discord.server import LoopbackDiscord


class Client:
    """A gateway client that knows no more than JSON and zlib."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self.wire = wire
        self.seq: int | None = None
        self.binary = 0
        self._inflate = zlib.decompressobj()

    async def next(self) -> dict[str, Any]:
        """The next message; raises ConnectionError with the close code in place of one."""
        message = await self.wire.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.BINARY:
            self.binary += 1
            assert message.data.endswith(b"\x00\x00\xff\xff")
            text = self._inflate.decompress(message.data).decode()
        elif message.type is aiohttp.WSMsgType.TEXT:
            text = message.data
        else:
            raise ConnectionError(self.wire.close_code)
        found: dict[str, Any] = json.loads(text)
        self.seq = found["s"] or self.seq
        return found

    async def until(self, name: str) -> dict[str, Any]:
        """The payload of the next event of that name."""
        while (found := await self.next())["t"] != name:
            pass
        payload: dict[str, Any] = found["d"]
        return payload

    async def say(self, opcode: int, body: Any) -> None:
        await self.wire.send_str(json.dumps({"op": opcode, "d": body}))

    async def identify(self, token: str, **more: Any) -> dict[str, Any]:
        """Log in; gives READY."""
        await self.say(2, {"token": token, "intents": 0x1FFFFFF, "properties": {}} | more)
        return await self.until("READY")


class Place:
    """The loopback and a way to its gateway."""

    def __init__(self, loopback: LoopbackDiscord, http: aiohttp.ClientSession) -> None:
        self.loopback = loopback
        self.bot = loopback.bots[0]
        self.guild = loopback.guilds[0]
        self._http = http
        self._clients: list[Client] = []

    async def close(self) -> None:
        for client in self._clients:
            await client.wire.close()

    async def connect(self, *, path: str = "/", compress: str = "") -> Client:
        """A connection after its hello."""
        query = "?v=10&encoding=json" + (f"&compress={compress}" if compress else "")
        wire: Any = await self._http.ws_connect(f"wss://127.0.0.1:{self.loopback.port}{path}{query}")  # generic only in newer aiohttp
        client = Client(wire)
        self._clients.append(client)
        hello = await client.next()
        assert (hello["op"], hello["d"]["heartbeat_interval"]) == (10, 41_250)
        return client


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with LoopbackDiscord() as loopback:
        connector = aiohttp.TCPConnector(ssl=client_context(loopback.ca_file))
        async with aiohttp.ClientSession(connector=connector) as http:
            opened = Place(loopback, http)
            yield opened
            await opened.close()


@pytest.mark.parametrize(("path", "compress"), [("/", ""), ("/gateway", ""), ("/", "zlib-stream"), ("/", "zstd-stream")])
async def test_the_login_in_plain_and_compressed(place: Place, path: str, compress: str) -> None:
    """READY and every guild come, as text or as one zlib stream; who asks for anything else gets text."""
    client = await place.connect(path=path, compress=compress)
    ready = await client.identify(place.bot.token)
    assert ready["resume_gateway_url"] == f"wss://127.0.0.1:{place.loopback.port}"
    assert ready["application"]["id"] == ready["user"]["id"] == place.bot.id
    assert isinstance(ready["application"]["flags"], int)
    created = [await client.until("GUILD_CREATE") for _ in ready["guilds"]]
    assert [guild["id"] for guild in created] == [guild["id"] for guild in ready["guilds"]]
    assert bool(client.binary) is (compress == "zlib-stream")
    await client.say(1, client.seq)
    assert (await client.next())["op"] == 11


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([(2, {"token": "wrong", "intents": 0})], 4004),
        ([(4, {"guild_id": "1", "channel_id": None})], 4003),
        ([(99, {})], 4001),
        ([(2, {"intents": 0})], 4002),
        ([(2, {"token": "$", "intents": 0, "shard": [2, 2]})], 4010),
        ([(2, {"token": "$", "intents": 0}), (2, {"token": "$", "intents": 0})], 4005),
        ([(2, {"token": "$", "intents": 0}), (4, {"channel_id": None})], 4002),
    ],
)
async def test_wrong_messages_have_their_close_codes(place: Place, messages: list[tuple[int, Any]], code: int) -> None:
    """Each misuse closes with the documented code."""
    client = await place.connect()
    for opcode, body in messages:
        filled = {key: place.bot.token if value == "$" else value for key, value in body.items()}
        await client.say(opcode, filled)
    with pytest.raises(ConnectionError, match=str(code)):
        await client.until("NOTHING ELSE")


async def test_no_json_is_a_decode_error(place: Place) -> None:
    """Bytes that are no message close with 4002."""
    client = await place.connect()
    await client.wire.send_str("no json")
    with pytest.raises(ConnectionError, match="4002"):
        await client.next()


async def test_a_resume_replays_what_was_missed(place: Place) -> None:
    """After a lost connection everything with a higher number comes again, then RESUMED; the user stays in voice meanwhile."""
    client = await place.connect()
    ready = await client.identify(place.bot.token)
    await client.say(4, {"guild_id": place.guild.id, "channel_id": place.guild.voice_channels[0].id})
    await client.until("VOICE_SERVER_UPDATE")
    await place.loopback.gateway.drop(place.bot.id)
    await place.loopback.wait_for(lambda: not place.loopback.gateway.online(place.bot.id))
    place.loopback.write(place.loopback.people[0], place.guild.text_channel, "missed")
    again = await place.connect()
    await again.say(6, {"token": place.bot.token, "session_id": ready["session_id"], "seq": client.seq})
    first, second = await again.next(), await again.next()
    assert (first["t"], first["d"]["content"], second["t"]) == ("MESSAGE_CREATE", "missed", "RESUMED")
    assert place.loopback.voice_state(place.bot)


async def test_what_cannot_be_resumed_is_invalid(place: Place) -> None:
    """A forgotten session, another's token or a number from the future is answered with op 9, and one may identify instead."""
    client = await place.connect()
    ready = await client.identify(place.bot.token)
    right = {"token": place.bot.token, "session_id": ready["session_id"], "seq": 1}
    for wrong in ({"session_id": "x"}, {"token": place.loopback.bots[1].token}, {"seq": 999}):
        other = await place.connect()
        await other.say(6, right | wrong)
        assert (await other.next()) == {"op": 9, "s": None, "t": None, "d": False}
    await place.loopback.gateway.drop(place.bot.id)
    place.loopback.gateway.forget_sessions()
    other = await place.connect()
    await other.say(6, right)
    assert (await other.next())["op"] == 9
    await other.identify(place.bot.token)


async def test_a_clean_close_ends_the_session(place: Place) -> None:
    """Closed with 1000, the session is gone and its user has left voice."""
    client = await place.connect()
    await client.identify(place.bot.token)
    await client.say(4, {"guild_id": place.guild.id, "channel_id": place.guild.voice_channels[0].id})
    await client.until("VOICE_SERVER_UPDATE")
    await client.wire.close(code=1000)
    await place.loopback.wait_for(lambda: not place.loopback.voice_state(place.bot))
    assert not list(place.loopback.gateway.sessions)


async def test_a_new_voice_server_is_announced_twice(place: Place) -> None:
    """First without an endpoint, then with a new token."""
    client = await place.connect()
    await client.identify(place.bot.token)
    await client.say(4, {"guild_id": place.guild.id, "channel_id": place.guild.voice_channels[0].id})
    old = await client.until("VOICE_SERVER_UPDATE")
    place.loopback.world.new_voice_server(place.guild.id, place.bot.id)
    gone, new = await client.until("VOICE_SERVER_UPDATE"), await client.until("VOICE_SERVER_UPDATE")
    assert (gone["endpoint"], new["endpoint"]) == (None, old["endpoint"])
    assert new["token"] != old["token"]


async def test_members_by_id(place: Place) -> None:
    """Op 8 finds members by id, names those who are none, and gives the nonce back; op 31 has no sounds."""
    client = await place.connect()
    await client.identify(place.bot.token)
    ben = place.loopback.people[1].id
    await client.say(8, {"guild_id": place.guild.id, "user_ids": [ben, "1"], "limit": 0, "nonce": "n"})
    chunk = await client.until("GUILD_MEMBERS_CHUNK")
    assert [member["user"]["id"] for member in chunk["members"]] == [ben]
    assert (chunk["not_found"], chunk["nonce"]) == (["1"], "n")
    await client.say(31, {"guild_ids": [place.guild.id]})
    assert (await client.until("SOUNDBOARD_SOUNDS"))["soundboard_sounds"] == []


async def test_the_gateway_can_be_down(place: Place) -> None:
    """While connections are refused nobody gets in; afterwards everybody does."""
    place.loopback.gateway.refuse_connections = True
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await place.connect()
    place.loopback.gateway.refuse_connections = False
    await place.connect()


async def test_typing_and_channels_are_told(place: Place) -> None:
    """Typing, a changed channel and a new thread reach who may see them."""
    client = await place.connect()
    await client.identify(place.bot.token)
    place.loopback.limit_users(place.guild.voice_channels[0], 3)
    assert (await client.until("CHANNEL_UPDATE"))["user_limit"] == 3
    place.loopback.allow(place.guild, place.guild.text_channel, place.bot, "manage_messages")
    overwrite = (await client.until("CHANNEL_UPDATE"))["permission_overwrites"][0]
    assert overwrite == {"id": place.bot.id, "type": 1, "allow": str(1 << 13), "deny": "0"}
