"""A voice session without a socket: what it answers, and what it refuses."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import LocalProtocolError, RemoteProtocolError, VoiceError
from discordplex.voice.gateway.events import (
    GatewayResumed,
    Hello,
    PeopleJoined,
    SendCommitWelcome,
    SendInvalidCommitWelcome,
    SendKeyPackage,
    SendReadyForTransition,
)
from discordplex.voice.gateway.protocol import NEXT, Credentials, GatewayPhase, VoiceGateway
from discordplex.voice.rtp.encryption import MODES, choose_mode

HELLO = '{"op":8,"d":{"v":8,"heartbeat_interval":1000}}'
READY = '{"op":2,"d":{"ssrc":7,"ip":"127.0.0.1","port":50004,"modes":[]},"seq":1}'
DESCRIPTION = json.dumps({"op": 4, "d": {"mode": MODES[0], "secret_key": [0] * 32}, "seq": 2})
RESUMED = '{"op":9,"d":null}'


def new_gateway(version: int = 1) -> VoiceGateway:
    return VoiceGateway(Credentials(1, 2, "session", "secret"), max_dave_protocol_version=version)


def sent(gateway: VoiceGateway) -> list[Any]:
    return [message if isinstance(message, bytes) else json.loads(message) for message in gateway.messages_to_send()]


def live_gateway() -> VoiceGateway:
    gateway = new_gateway()
    gateway.connected()
    for message in (HELLO, READY, DESCRIPTION):
        gateway.receive(message)
    gateway.messages_to_send()
    return gateway


def test_hello_is_answered_with_who_we_are() -> None:
    """The identification carries the ids as strings and the encryption we offer."""
    gateway = new_gateway()
    gateway.connected()
    assert sent(gateway) == []
    assert gateway.receive(HELLO) == Hello(1.0)
    who = {"server_id": "1", "user_id": "2", "session_id": "session", "token": "secret", "max_dave_protocol_version": 1}
    assert sent(gateway) == [{"op": 0, "d": who}]
    assert sent(gateway) == []


def test_credentials_do_not_show_their_secrets() -> None:
    """Neither the token nor the session id reaches a log by way of a repr."""
    assert repr(Credentials(1, 2, "session", "secret")) == "Credentials(server_id=1, user_id=2)"


def test_the_protocol_is_selected_after_ready_only() -> None:
    """Our address can be said once the server has told where to ask for it."""
    gateway = new_gateway()
    with pytest.raises(LocalProtocolError):
        gateway.select_protocol(address="10.0.0.1", port=4, mode=MODES[0])
    gateway.connected()
    gateway.receive(HELLO)
    gateway.receive(READY)
    gateway.messages_to_send()
    gateway.select_protocol(address="10.0.0.1", port=4, mode=MODES[0])
    data = {"address": "10.0.0.1", "port": 4, "mode": MODES[0]}
    assert sent(gateway) == [{"op": 1, "d": {"protocol": "udp", "data": data}}]


def test_a_lost_socket_is_resumed_from_the_last_number() -> None:
    """After a loss hello is answered with resume, and the replay counts on before the session is live again."""
    gateway = live_gateway()
    gateway.receive('{"op":18,"d":{},"seq":9}')
    gateway.lost()
    gateway.connected()
    gateway.receive(HELLO)
    assert sent(gateway) == [{"op": 7, "d": {"server_id": "1", "session_id": "session", "token": "secret", "seq_ack": 9}}]
    assert gateway.receive('{"op":11,"d":{"user_ids":["5"]},"seq":10}') == PeopleJoined((5,))
    assert gateway.receive(RESUMED) == GatewayResumed()
    assert (gateway.phase, gateway.seq_ack) == (GatewayPhase.LIVE, 10)


def test_a_session_lost_before_it_lived_identifies_again() -> None:
    """There is nothing to resume before the key has come."""
    gateway = new_gateway()
    gateway.connected()
    gateway.receive(HELLO)
    gateway.receive(READY)
    gateway.lost()
    gateway.connected()
    gateway.receive(HELLO)
    assert sent(gateway)[0]["op"] == 0


def test_heartbeats_acknowledge_and_must_be_answered() -> None:
    """A heartbeat says the last number; the next one is refused while the last is unanswered, and a new socket starts clean."""
    gateway = live_gateway()
    assert gateway.heartbeat(5)
    assert sent(gateway) == [{"op": 3, "d": {"t": 5, "seq_ack": 2}}]
    gateway.receive('{"op":6,"d":{"t":4}}')
    assert not gateway.heartbeat(6)
    gateway.receive('{"op":6,"d":{"t":5}}')
    assert gateway.heartbeat(6)
    gateway.lost()
    gateway.connected()
    assert gateway.heartbeat(7)


def test_speaking_names_the_ssrc() -> None:
    """Discord documents the SSRC as required; before the session is live nothing is said."""
    gateway = new_gateway()
    gateway.speaking(speaking=True, ssrc=7)
    assert sent(gateway) == []
    gateway = live_gateway()
    gateway.speaking(speaking=True, ssrc=7)
    assert sent(gateway) == [{"op": 5, "d": {"speaking": 1, "delay": 0, "ssrc": 7}}]


def test_the_groups_messages_have_their_layouts() -> None:
    """Key package and commit are binary, the rest is JSON."""
    gateway = live_gateway()
    for command in (SendKeyPackage(b"kp"), SendCommitWelcome(b"cw"), SendReadyForTransition(3), SendInvalidCommitWelcome(4)):
        gateway.command(command)
    assert sent(gateway) == [b"\x1akp", b"\x1ccw", {"op": 23, "d": {"transition_id": 3}}, {"op": 31, "d": {"transition_id": 4}}]


def test_the_groups_messages_wait_for_the_resume() -> None:
    """What was not sent before the loss, and what a replay asks for, is sent once the session is live again, in order."""
    gateway = live_gateway()
    gateway.command(SendReadyForTransition(3))
    gateway.lost()
    gateway.connected()
    gateway.receive(HELLO)
    gateway.command(SendInvalidCommitWelcome(4))
    assert [message["op"] for message in sent(gateway)] == [7]
    gateway.receive(RESUMED)
    assert [message["op"] for message in sent(gateway)] == [23, 31]


@pytest.mark.parametrize("phase", list(GatewayPhase))
@pytest.mark.parametrize("cause", ["Hello", "GatewayReady", "SessionDescription", "GatewayResumed"])
def test_what_is_not_in_the_table_is_refused(phase: GatewayPhase, cause: str) -> None:
    """A message that does not belong into a phase changes nothing and is the server's fault."""
    gateway = new_gateway()
    gateway.phase = phase
    message = {"Hello": HELLO, "GatewayReady": READY, "SessionDescription": DESCRIPTION, "GatewayResumed": RESUMED}[cause]
    if (phase, cause) in NEXT:
        gateway.receive(message)
        assert gateway.phase is NEXT[phase, cause]
    else:
        with pytest.raises(RemoteProtocolError):
            gateway.receive(message)
        assert (gateway.phase, gateway.seq_ack) == (phase, -1)


def test_connecting_twice_is_our_own_fault() -> None:
    """One session has one socket at a time."""
    gateway = new_gateway()
    gateway.connected()
    with pytest.raises(LocalProtocolError):
        gateway.connected()


def test_the_best_common_mode_is_chosen() -> None:
    """The server's order does not matter; without a common mode a sentence says so."""
    assert choose_mode(("other", MODES[1], MODES[0])) == MODES[0]
    assert choose_mode((MODES[1],)) == MODES[1]
    with pytest.raises(VoiceError, match="offers no transport encryption that this bot speaks; a newer version"):
        choose_mode(("xsalsa20_poly1305",))


@given(
    script=st.lists(
        st.sampled_from([HELLO, READY, DESCRIPTION, RESUMED, "lost", '{"op":6,"d":{"t":1}}']) | st.binary(max_size=8) | st.text(max_size=8),
        max_size=20,
    )
)
def test_no_script_of_a_server_escapes(script: list[str | bytes]) -> None:
    """Whatever comes in whatever order, receive answers or raises RemoteProtocolError, and the session can always be sent for."""
    gateway = new_gateway()
    gateway.connected()
    for message in script:
        with contextlib.suppress(RemoteProtocolError):
            if message == "lost":
                gateway.lost()
                gateway.connected()
            else:
                gateway.receive(message)
        gateway.heartbeat(1)
        gateway.messages_to_send()
