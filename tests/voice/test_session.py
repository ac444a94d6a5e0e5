"""One voice session against servers that misbehave: real WebSockets and datagrams, our own clock."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from discordplex.errors import VoiceError
from discordplex.loopback import timeouts
from discordplex.loopback.clock import settle
from discordplex.voice.close_codes import Closing, Repair
from discordplex.voice.gateway.messages import BINARY_HEAD, Op
from discordplex.voice.rtp import socket
from discordplex.voice.rtp.encryption import MODES
from discordplex.voice.session import GROUP_EVENTS_AT_ONCE
from tests.voice.rig import DESCRIPTION, HELLO, Rig, read_all, ready, refused


async def test_a_good_server_makes_it_live(rig: Rig) -> None:
    """Hello, identify, discovery, key, op 5; the same key again changes nothing, and a goodbye ends it with its code."""

    async def good(connection: ServerConnection) -> None:
        await rig.establish(connection)
        await rig.owner.live.wait()
        await connection.send(DESCRIPTION)
        await connection.close(4006)

    rig.behaviour = good
    closing = await rig.session.run()
    assert (closing.repair, closing.code) == (Repair.REJOIN, 4006)
    assert rig.owner.lives == 1
    assert rig.session.ssrc == 5


async def test_a_second_socket_resumes(rig: Rig) -> None:
    """After a loss the same session resumes: the datagram socket stays, and the session is live without a new key."""

    async def loses(connection: ServerConnection) -> None:
        await rig.establish(connection)
        await connection.close(4015)

    async def resumes(connection: ServerConnection) -> None:
        await connection.send(HELLO)
        assert json.loads(await connection.recv())["op"] == 7
        await connection.send(json.dumps({"op": 9}))
        await connection.close(4021)

    rig.behaviour = loses
    assert (await rig.session.run()).repair is Repair.RESUME
    rig.behaviour = resumes
    assert (await rig.session.run()).code == 4021
    assert rig.owner.lives == 2


async def test_rubbish_is_counted_and_survived(rig: Rig) -> None:
    """Between good messages, everything that is none: the session becomes live all the same."""
    rubbish: list[str | bytes] = [
        "",
        "{",
        "[]",
        '{"op":2}',
        '{"op":9}',
        b"",
        b"\x00\x01\x1d",
        b"\xff" * 40,
        '{"op":11,"d":{"user_ids":[null]}}',
    ]

    async def dirty(connection: ServerConnection) -> None:
        for message in rubbish:
            await connection.send(message)
        await rig.establish(connection)
        for message in rubbish:
            await connection.send(message)
        await connection.close(4021)

    rig.behaviour = dirty
    assert (await rig.session.run()).code == 4021
    assert rig.owner.lives == 1
    assert rig.metrics.counter("voice.gateway.bad_messages").value >= 12


async def test_a_server_that_says_nothing_is_left(rig: Rig) -> None:
    """Ten seconds after the upgrade without a session, the connection counts as lost."""
    accepted = asyncio.Event()

    async def mute(connection: ServerConnection) -> None:
        accepted.set()
        await connection.wait_closed()

    rig.behaviour = mute
    running = asyncio.create_task(rig.session.run())
    await accepted.wait()
    while not running.done():
        await rig.clock.advance(5.0)
    assert running.result().repair is Repair.RESUME
    assert "nothing useful" in running.result().sentence


async def test_unanswered_heartbeats_are_a_loss(rig: Rig) -> None:
    """The heartbeat comes at the server's interval with the last number; one that is not answered ends the connection, to be resumed."""
    beats: list[object] = []

    async def deaf(connection: ServerConnection) -> None:
        await rig.establish(connection)
        beats.extend([json.loads(message)["d"]["seq_ack"] async for message in connection])

    rig.behaviour = deaf
    running = asyncio.create_task(rig.session.run())
    await rig.owner.live.wait()
    while not running.done():
        await rig.clock.advance(0.5)
    assert running.result().repair is Repair.RESUME
    assert "stopped answering" in running.result().sentence
    assert not rig.session.flows
    assert beats in ([-1], [])


async def test_a_machine_that_slept_loses_no_connection(rig: Rig) -> None:
    """After an hour in which nothing ran there is one heartbeat, and not the next one before its answer can be there."""
    beats = 0
    over = asyncio.Event()

    async def alive(connection: ServerConnection) -> None:
        nonlocal beats
        await rig.establish(connection)
        async for message in connection:
            beats += 1
            await connection.send(json.dumps({"op": 6, "d": {"t": json.loads(message)["d"]["t"]}}))
            if over.is_set():
                await connection.close(4021)

    async def answered(count: int) -> None:
        async def wait() -> None:
            while beats < count or rig.session.gateway._unanswered is not None:  # noqa: ASYNC110 - the answer wakes the session alone
                await asyncio.sleep(0)

        await timeouts.wait_for(wait(), 5)

    rig.behaviour = alive
    running = asyncio.create_task(rig.session.run())
    await rig.owner.live.wait()
    await rig.clock.advance(1.0)
    await answered(1)
    for slept, expected in ((3600.0, 2), (0.9, 2), (0.1, 3), (90_000.0, 4)):
        await rig.clock.jump(slept)
        await answered(expected)
        assert beats == expected
    over.set()
    await rig.clock.advance(1.0)
    assert (await running).code == 4021


def quiet(rig: Rig) -> asyncio.Event:
    """Let the server establish a session and then say nothing until the event that is given back; then it closes the session."""
    over = asyncio.Event()

    async def behaviour(connection: ServerConnection) -> None:
        await rig.establish(connection, hello=HELLO.replace("1000", "1000000"))
        await over.wait()
        await connection.close(4021)

    rig.behaviour = behaviour
    return over


async def test_the_address_is_kept_open(rig: Rig) -> None:
    """From the start and every five seconds a datagram of eight bytes leaves, counted up, whether or not anybody speaks."""
    over = quiet(rig)
    running = asyncio.create_task(rig.session.run())
    await rig.owner.live.wait()
    for expected in range(1, 4):
        await rig.udp.until(lambda: len(rig.udp.keepalives) == expected)  # noqa: B023 - awaited at once
        await rig.clock.advance(5.0)
    await rig.udp.until(lambda: len(rig.udp.keepalives) == 4)
    over.set()
    await running
    numbers = [int.from_bytes(keepalive, "little") for keepalive in rig.udp.keepalives]
    assert [number - numbers[0] for number in numbers] == [0, 1, 2, 3]


async def test_a_path_that_answered_once_and_not_again_is_silent(rig: Rig) -> None:
    """A server that never answers keep-alives proves nothing; one that has answered and stops does, from the first that it owes."""
    rig.udp.echoes = False
    over = quiet(rig)
    running = asyncio.create_task(rig.session.run())
    await rig.owner.live.wait()
    await rig.clock.advance(20.0)
    assert rig.session.path_silent_s == 0.0
    receiver = rig.session.receiver
    receiver.echoes, receiver.alive_at = 1, rig.clock.now()  # as if it had answered
    assert not rig.session.path_owes_answer
    await rig.clock.advance(9.0)
    assert (rig.session.path_owes_answer, rig.session.path_silent_s) == (True, 0.0)  # a single one: we may have slept
    await rig.clock.advance(5.0)
    assert rig.session.path_silent_s == 5.0
    receiver.alive_at = rig.clock.now()
    assert (rig.session.path_owes_answer, rig.session.path_silent_s) == (False, 0.0)
    over.set()
    await running


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of files to lower")
def test_running_out_of_files_is_a_sentence() -> None:
    """Where the process may open nothing more, a session's datagram socket is refused with what to do about it."""
    import resource  # noqa: PLC0415 - not there on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        with pytest.raises(VoiceError, match="limit of open files"):
            socket.connected_socket("127.0.0.1", 9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_an_answered_heartbeat_proves_that_it_works(rig: Rig) -> None:
    """Only then may the count of tries start again."""

    async def alive(connection: ServerConnection) -> None:
        await rig.establish(connection)
        nonce = json.loads(await connection.recv())["d"]["t"]
        assert nonce == rig.clock.now() * 1000, "the wall clock jumps"
        await connection.send(json.dumps({"op": 6, "d": {"t": nonce}}))
        await connection.close(4015)

    rig.behaviour = alive
    running = asyncio.create_task(rig.session.run())
    await rig.owner.live.wait()
    assert not rig.session.flows
    await rig.clock.advance(1.0)
    await running
    assert rig.session.flows


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (lambda rig: ready(rig.port, modes=["xsalsa20_poly1305"]), "no transport encryption"),
        (lambda rig: ready(rig.port, host="voice.example"), "no address"),
        (lambda rig: ready(rig.port, host="1.2.3.4.5"), "no address"),
        (lambda rig: ready(rig.port, host="::1%\x00"), "no address"),
        (lambda rig: ready(rig.port, host="fe80::1%é..x"), "no address"),
        (lambda rig: ready(rig.port, host="fe80::1%what\never it says"), "no address"),
    ],
)
async def test_an_impossible_session_is_entered_anew(rig: Rig, message: Callable[[Rig], str], sentence: str) -> None:
    """A server that cannot be spoken to by datagrams is left with a sentence."""

    async def impossible(connection: ServerConnection) -> None:
        await connection.send(HELLO)
        await connection.recv()
        await connection.send(message(rig))
        await connection.wait_closed()

    rig.behaviour = impossible
    closing = await rig.session.run()
    assert closing.repair is Repair.REJOIN
    assert sentence in closing.sentence


async def test_a_silent_datagram_port_is_explained(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question for our address is repeated; without any answer a firewall is suspected."""
    monkeypatch.setattr("discordplex.voice.rtp.socket.DISCOVERY_PATIENCE_S", 0.01)
    rig.udp.mute = True

    async def unreachable(connection: ServerConnection) -> None:
        await connection.send(HELLO)
        await connection.recv()
        await connection.send(ready(rig.port))
        await connection.wait_closed()

    rig.behaviour = unreachable
    closing = await rig.session.run()
    assert "firewall" in closing.sentence
    assert rig.udp.requests == 6


async def test_a_description_out_of_place_is_refused(rig: Rig) -> None:
    """A key for a mode that does not exist, or before our address is known, ends the session and nothing else."""

    async def hasty(connection: ServerConnection) -> None:
        await connection.send(HELLO)
        await connection.recv()
        await connection.send(ready(rig.port))
        await connection.send(DESCRIPTION.replace(MODES[0], "rot13"))
        await connection.wait_closed()

    rig.behaviour = hasty
    closing = await rig.session.run()
    assert closing.repair is Repair.REJOIN
    assert rig.owner.lives == 0


async def test_a_server_that_is_not_there_is_a_loss(rig: Rig) -> None:
    """A refused upgrade is told like a lost connection, to be tried again."""
    rig.behaviour = refused
    closing = await rig.session.run()
    assert closing.repair is Repair.RESUME
    assert "could not be reached" in closing.sentence


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "[",
        "voice:99999",
        "voice:port",
        "a..b",
        "é" * 80,
        "a" * 70,
        "a\nb",
        "\x00",
        "\ud800",
        "http://voice/",
        "me:word@voice",
        "voice/?v=8#",
        ["voice"],
        {"voice": 1},
    ],
)
async def test_an_endpoint_is_a_host_and_a_port(rig: Rig, endpoint: Any) -> None:
    """What Discord names a voice server by, where it is anything else, is a sentence, and no token goes there."""
    rig.session._endpoint = endpoint
    closing = await rig.session.run()
    assert closing.repair is Repair.REJOIN
    assert "no address" in closing.sentence


SMALL = json.dumps({"op": 11, "d": {"user_ids": ["1"]}}).encode()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x89\x00",
        b"\x8a\x00",
        b"\x81\x00",
        b"\x81" + bytes([len(SMALL)]) + SMALL,
        b"\x82\x7e\xff\xff" + bytes(0xFFFF),
    ],
    ids=["pings", "pongs", "empty", "people", "bytes"],
)
async def test_a_server_that_sends_without_end_is_left(rig: Rig, frame: bytes) -> None:
    """Frames of any kind have a budget, which is asked before they are parsed: the loop is everybody's."""
    hundred = frame * 100

    async def endless(connection: ServerConnection) -> None:
        await rig.establish(connection)
        while not connection.transport.is_closing():
            connection.transport.write(hundred)
            await asyncio.sleep(0)

    rig.behaviour = endless
    closing = await rig.session.run()
    assert closing.repair is Repair.REJOIN
    assert "more than a call can take" in closing.sentence


@pytest.mark.parametrize("described", [False, True])
async def test_a_server_that_changes_keys_without_end_is_left(rig: Rig, *, described: bool) -> None:
    """Each such message costs the loop more than any other: commits of the group, or the session described again with another key."""

    def message(number: int) -> str | bytes:
        if not described:
            return BINARY_HEAD.pack(number, Op.MLS_ANNOUNCE_COMMIT) + bytes(40)
        return DESCRIPTION.replace(str([7] * 32), str([8 + number % 2] * 32))

    async def endless(connection: ServerConnection) -> None:
        await rig.establish(connection)
        reading = asyncio.create_task(read_all(connection))
        for number in range(GROUP_EVENTS_AT_ONCE):
            await connection.send(message(number))
        await reading

    rig.behaviour = endless
    closing = await rig.session.run()
    assert closing.repair is Repair.REJOIN
    assert "more than a call can take" in closing.sentence
    assert rig.owner.lives == (GROUP_EVENTS_AT_ONCE if described else 1)


async def test_stop_ends_whatever_goes_on(rig: Rig) -> None:
    """A stop before, while connecting, while running or while resting is what the next or present run gives."""
    closing = Closing(Repair.WAIT, "elsewhere")
    rig.session.stop(closing)
    await rig.session.rest(5.0)
    assert await rig.session.run() is closing
    live = asyncio.Event()

    async def good(connection: ServerConnection) -> None:
        await rig.establish(connection)
        live.set()
        await connection.wait_closed()

    rig.behaviour = good
    running = asyncio.create_task(rig.session.run())
    await live.wait()
    rig.session.stop(closing)
    assert await running is closing
    resting = asyncio.create_task(rig.session.rest(1000.0))
    await asyncio.sleep(0)
    rig.session.stop(closing)
    await resting
    assert await rig.session.run() is closing


async def test_no_message_of_a_server_escapes(rig: Rig) -> None:
    """Sixty random messages into a live session, and it still follows its close code."""
    dice = random.Random(5)
    rubbish = [dice.randbytes(dice.randrange(60)) for _ in range(60)]

    async def noisy(connection: ServerConnection) -> None:
        await rig.establish(connection)
        for message in rubbish:
            await connection.send(message)
            await connection.send(message.decode("latin-1"))
        await connection.close(4006)

    rig.behaviour = noisy
    assert (await rig.session.run()).code == 4006


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("how", ["run", "rest"])
async def test_a_cancellation_right_after_a_stop_is_kept(rig: Rig, how: str, turns: int) -> None:
    """However soon a session is cancelled after it was stopped, its task ends."""
    live = asyncio.Event()

    async def good(connection: ServerConnection) -> None:
        await rig.establish(connection)
        live.set()
        await connection.wait_closed()

    async def serve() -> None:
        while True:
            await (rig.session.run() if how == "run" else rig.session.rest(1000.0))
            await asyncio.sleep(0)

    rig.behaviour = good
    serving = asyncio.create_task(serve())
    await (live.wait() if how == "run" else settle(2))
    rig.session.stop(Closing(Repair.WAIT, "elsewhere"))
    await settle(turns)
    serving.cancel()
    await asyncio.wait({serving}, timeout=1)
    ended = serving.done()
    serving.cancel()
    assert ended
