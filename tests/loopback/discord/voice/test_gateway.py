"""The voice gateway's server side, message by message, as a bare WebSocket meets it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.messages import Opcode
from discordplex.loopback.discord.world.model import User, VoiceSessionGrant

if TYPE_CHECKING:
    from tests.loopback.discord.conftest import OpenPlace, VoicePlace

MODE = "aead_xchacha20_poly1305_rtpsize"


class Bare:
    """A voice client without a mind of its own."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self.socket = socket

    async def say(self, op: int, data: Any) -> None:
        await self.socket.send_json({"op": op, "d": data})

    async def hear(self, op: int) -> dict[str, Any]:
        """The next message, which has to have this opcode."""
        message: dict[str, Any] = json.loads((await self.socket.receive(timeout=5)).data)
        assert message["op"] == op, message
        return message

    async def end(self) -> int | None:
        """The code that the server closes with, whatever it says before."""
        while (await self.socket.receive(timeout=5)).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            pass
        return self.socket.close_code

    async def enter(self, session: VoiceSessionGrant, *, dave_version: int = 0) -> dict[str, Any]:
        """Hello, identify, ready, select protocol, session description; returns the ready message's data."""
        await self.hear(Opcode.HELLO)
        await self.say(Opcode.IDENTIFY, identity(session, max_dave_protocol_version=dave_version))
        ready: dict[str, Any] = (await self.hear(Opcode.READY))["d"]
        await self.say(Opcode.SELECT_PROTOCOL, {"protocol": "udp", "data": {"address": "127.0.0.1", "port": 1, "mode": MODE}})
        await self.hear(Opcode.SESSION_DESCRIPTION)
        return ready


def identity(session: VoiceSessionGrant, **changes: Any) -> dict[str, Any]:
    named = {"server_id": session.guild_id, "user_id": session.user_id, "session_id": session.session_id, "token": session.token}
    return named | changes


def resumption(session: VoiceSessionGrant, seq_ack: int) -> dict[str, Any]:
    return {"server_id": session.guild_id, "session_id": session.session_id, "token": session.token, "seq_ack": seq_ack}


@asynccontextmanager
async def dial(place: "VoicePlace", query: str = "?v=8") -> AsyncIterator[Bare]:
    tls = ssl.create_default_context(cafile=str(place.ca_file))
    url = f"wss://{place.world.voice_endpoint}/{query}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http, http.ws_connect(url) as socket:
        yield Bare(socket)


def joined(place: "VoicePlace", user: User) -> VoiceSessionGrant:
    session = place.world.voice_join(user.id, place.guild, place.lounge)
    assert session is not None
    return session


async def test_hello_comes_first_and_ready_names_the_relay(place: "VoicePlace") -> None:
    """The server speaks first; identify is answered with an SSRC, the relay's address and the modes."""
    async with dial(place) as client:
        session = joined(place, place.people[0])
        assert (await client.hear(Opcode.HELLO))["d"] == {"v": 8, "heartbeat_interval": 13_750.0}
        await client.say(Opcode.IDENTIFY, identity(session))
        ready = (await client.hear(Opcode.READY))["d"]
        assert (ready["ip"], ready["port"]) == place.voice.relay.address
        assert ready["modes"] == ["aead_aes256_gcm_rtpsize", MODE]
        assert isinstance(ready["ssrc"], int)


async def test_the_session_description_carries_a_key_of_32_bytes(place: "VoicePlace") -> None:
    """Select protocol is answered with the mode asked for, a whole key, and no end-to-end encryption."""
    async with dial(place) as client:
        session = joined(place, place.people[0])
        await client.hear(Opcode.HELLO)
        await client.say(Opcode.IDENTIFY, identity(session))
        await client.hear(Opcode.READY)
        await client.say(Opcode.SELECT_PROTOCOL, {"protocol": "udp", "data": {"address": "127.0.0.1", "port": 1, "mode": MODE}})
        description = (await client.hear(Opcode.SESSION_DESCRIPTION))["d"]
        assert description["mode"] == MODE
        assert len(bytes(description["secret_key"])) == 32
        assert description["dave_protocol_version"] == 0


async def test_heartbeats_are_acknowledged_with_their_own_nonce(place: "VoicePlace") -> None:
    """Opcode 3 is answered with op 6 and the same `t`, and the server keeps the acknowledged number."""
    user = place.people[0]
    async with dial(place) as client:
        await client.enter(joined(place, user))
        await client.say(Opcode.HEARTBEAT, {"t": 4711, "seq_ack": 1})
        assert (await client.hear(Opcode.HEARTBEAT_ACK))["d"] == {"t": 4711}
        participant = place.voice.participant(user.id)
        assert participant is not None
        assert participant.heartbeat_acks == [1]


async def test_a_silent_client_is_closed_with_4009(open_place: "OpenPlace") -> None:
    """Without a message for three heartbeat intervals the connection ends."""
    async with open_place(heartbeat_interval_ms=20.0) as place, dial(place) as client:
        await client.enter(joined(place, place.people[0]))
        assert await client.end() == 4009


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", 4002),
        ("[]", 4002),
        ('{"op": 0, "d": {}}', 4002),
        ('{"op": 5, "d": {"speaking": 1}}', 4003),
        ('{"op": 0, "d": {"server_id": "1", "user_id": "2", "session_id": "3", "token": "4"}}', 4004),
        ('{"op": 7, "d": {"server_id": "1", "session_id": "3", "token": "4", "seq_ack": 0}}', 4006),
    ],
)
async def test_what_discord_refuses_is_refused_with_its_code(place: "VoicePlace", message: str, code: int) -> None:
    """Before an identify has succeeded, each misuse ends the connection with the documented code."""
    async with dial(place) as client:
        await client.socket.send_str(message)
        assert await client.end() == code


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (0, {}, 4005),
        (99, {}, 4001),
        (1, {"protocol": "tcp", "data": {}}, 4012),
        (1, {"protocol": "udp", "data": {"mode": "xsalsa20_poly1305"}}, 4016),
        (5, {"speaking": "loudly"}, 4002),
        (3, None, 4002),
    ],
)
async def test_misuse_inside_a_session_ends_it(place: "VoicePlace", op: int, data: Any, code: int) -> None:
    """After an identify, each misuse ends the connection with the documented code."""
    async with dial(place) as client:
        await client.enter(joined(place, place.people[0]))
        await client.say(op, data)
        assert await client.end() == code


async def test_another_version_is_refused(place: "VoicePlace") -> None:
    """Only voice gateway v8 is spoken."""
    async with dial(place, "?v=4") as client:
        assert await client.end() == 4012


async def test_a_call_that_demands_encryption_closes_4017(open_place: "OpenPlace") -> None:
    """With `require_dave`, a client that offers no DAVE is sent away with the code that says so."""
    async with open_place(require_dave=True) as place, dial(place) as client:
        await client.say(Opcode.IDENTIFY, identity(joined(place, place.people[0]), max_dave_protocol_version=0))
        assert await client.end() == 4017


async def test_those_in_the_call_learn_of_each_other(place: "VoicePlace") -> None:
    """A newcomer is told of all others, the others of the newcomer, and those who stay of each who goes."""
    ada, ben = place.people[:2]
    async with dial(place) as first, dial(place) as second:
        await first.enter(joined(place, ada))
        await second.enter(joined(place, ben))
        assert (await second.hear(Opcode.CLIENTS_CONNECT))["d"] == {"user_ids": [ada.id]}
        assert (await first.hear(Opcode.CLIENTS_CONNECT))["d"] == {"user_ids": [ben.id]}
        place.world.voice_leave(ben.id, place.guild)
        assert (await first.hear(Opcode.CLIENT_DISCONNECT))["d"] == {"user_id": ben.id}
        assert await second.end() == 4014


async def test_speaking_is_relayed_with_the_speakers_ssrc(place: "VoicePlace") -> None:
    """Opcode 5 tells the others whose an SSRC is; that somebody stopped is not passed on."""
    ada, ben = place.people[:2]
    async with dial(place) as first, dial(place) as second:
        await first.enter(joined(place, ada))
        ssrc = (await second.enter(joined(place, ben)))["ssrc"]
        await first.hear(Opcode.CLIENTS_CONNECT)
        await second.say(Opcode.SPEAKING, {"speaking": 0, "delay": 0, "ssrc": ssrc})
        await second.say(Opcode.SPEAKING, {"speaking": 1, "delay": 0, "ssrc": ssrc})
        assert (await first.hear(Opcode.SPEAKING))["d"] == {"user_id": ben.id, "ssrc": ssrc, "speaking": 1}


async def test_a_resume_brings_what_was_missed(place: "VoicePlace") -> None:
    """After a reset the same session goes on: resumed, then every numbered message after the acknowledged one."""
    ada, ben = place.people[:2]
    session = joined(place, ada)
    async with dial(place) as client:
        await client.enter(session)
        place.voice.reset_connection(ada.id)
        await client.end()
    async with dial(place) as other:
        await other.enter(joined(place, ben))
    place.world.voice_leave(ben.id, place.guild)
    async with dial(place) as again:
        await again.hear(Opcode.HELLO)
        await again.say(Opcode.RESUME, resumption(session, seq_ack=1))
        await again.hear(Opcode.RESUMED)
        arrival = await again.hear(Opcode.CLIENTS_CONNECT)
        assert (arrival["d"], arrival["seq"]) == ({"user_ids": [ben.id]}, 2)
        departure = await again.hear(Opcode.CLIENT_DISCONNECT)
        assert (departure["d"], departure["seq"]) == ({"user_id": ben.id}, 3)


async def test_numbers_wrap_and_resume_still_finds_its_place(place: "VoicePlace") -> None:
    """A session that has sent more than 65,536 numbered messages still resumes at the right one."""
    user = place.people[0]
    session = joined(place, user)
    async with dial(place) as client:
        await client.enter(session)
        participant = place.voice.participant(user.id)
        assert participant is not None
        participant.connection = None
        for count in range(65_540):
            participant.send(Opcode.CLIENT_FLAGS, {"count": count})
        missed = participant.missed(2)
        assert missed is not None
        assert [json.loads(message)["d"]["count"] for message in missed] == [65_537, 65_538, 65_539]


@pytest.mark.parametrize(("code", "survives"), [(4015, True), (4000, True), (4006, False), (4014, False), (4021, False), (4017, False)])
async def test_a_close_on_demand_leaves_what_its_code_promises(place: "VoicePlace", code: int, survives: bool) -> None:  # noqa: FBT001
    """The client sees the code, and can resume after 4015 and 4000 alone."""
    user = place.people[0]
    session = joined(place, user)
    async with dial(place) as client:
        await client.enter(session)
        place.voice.close_connection(user.id, code)
        assert await client.end() == code
    async with dial(place) as again:
        await again.hear(Opcode.HELLO)
        await again.say(Opcode.RESUME, resumption(session, seq_ack=0))
        if survives:
            await again.hear(Opcode.RESUMED)
        else:
            assert await again.end() == 4006


async def test_scripted_refusals_come_one_each(place: "VoicePlace") -> None:
    """Each refusal closes one identify; the next one passes."""
    user = place.people[0]
    session = joined(place, user)
    place.voice.refuse(user.id, 4021)
    async with dial(place) as client:
        await client.say(Opcode.IDENTIFY, identity(session))
        assert await client.end() == 4021
    async with dial(place) as again:
        await again.enter(session)


@pytest.mark.parametrize(("cause", "code"), [("kick", 4014), ("move", 4014), ("server", 4022)])
async def test_what_the_world_ends_is_closed(place: "VoicePlace", cause: str, code: int) -> None:
    """A kick and a move close with 4014, a voice server that goes away with 4022; the old token opens nothing afterwards."""
    user = place.people[0]
    session = joined(place, user)
    async with dial(place) as client:
        await client.enter(session)
        if cause == "kick":
            place.world.voice_kick(user.id)
        elif cause == "move":
            place.world.voice_move(user.id, place.study)
        else:
            place.world.new_voice_server(place.guild, user.id)
        assert await client.end() == code
    async with dial(place) as again:
        await again.say(Opcode.IDENTIFY, identity(session))
        assert await again.end() == 4004


async def test_a_slow_control_channel_keeps_the_order(place: "VoicePlace") -> None:
    """Delayed messages arrive late, all of them, in order."""
    ada, ben = place.people[:2]
    place.voice.delay_control(ada.id, 0.05)
    async with dial(place) as slow, dial(place) as fast:
        await slow.enter(joined(place, ada))
        await fast.enter(joined(place, ben))
        place.world.voice_leave(ben.id, place.guild)
        started = asyncio.get_running_loop().time()
        await slow.hear(Opcode.CLIENTS_CONNECT)
        await slow.hear(Opcode.CLIENT_DISCONNECT)
        assert asyncio.get_running_loop().time() - started > 0.02


async def test_op_5_can_be_withheld_or_late(place: "VoicePlace", tone: Any) -> None:
    """A voice whose op 5 is withheld is heard as nobody's; once it comes late, also what came before is theirs."""
    ada, ben = place.people[:2]
    place.voice.delay_speaking(ada.id, 0.2)
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.04))
        await listener.wait_for_audio(None, 0.04)
        assert listener.heard.opus(ada.id) == []
        await listener.wait_until(lambda: listener.heard.opus(ada.id) == speaker.said.opus())
