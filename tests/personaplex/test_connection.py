"""The phases of a conversation, without a network."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.engine import PersonaIgnored
from discordplex.errors import LocalProtocolError, RemoteProtocolError
from discordplex.personaplex import endings
from discordplex.personaplex.connection import (
    NEXT,
    AudioCame,
    Complained,
    Connection,
    ConversationEnded,
    ConversationPhase,
    Event,
    Opened,
    TextCame,
)
from discordplex.personaplex.endings import Ending

NAME = "ws://localhost:8998/api/chat"


def prompting() -> Connection:
    connection = Connection(NAME)
    connection.upgraded(100.0)
    return connection


def live() -> Connection:
    connection = prompting()
    connection.receive(b"\x00")
    assert connection.take_events() == [Opened()]
    return connection


def ending(events: list[Event]) -> Ending:
    assert len(events) == 1
    assert isinstance(events[0], ConversationEnded)
    return events[0].ending


@pytest.mark.parametrize("handshake", [b"\x00", b"\x00\x00\x00", b"\x00" + bytes(8)])
def test_a_handshake_of_any_length_opens_the_conversation(handshake: bytes) -> None:
    """NVIDIA's one byte, the web client's three and the Rust backend's nine all mean: send audio now."""
    connection = prompting()
    connection.receive(handshake)
    assert connection.phase is ConversationPhase.LIVE
    assert connection.take_events() == ([Opened()] if handshake == b"\x00" else [Opened(), PersonaIgnored()])


@pytest.mark.parametrize("phase", [ConversationPhase.CONNECTING, ConversationPhase.PROMPTING, ConversationPhase.CLOSED])
def test_audio_is_sent_in_a_live_conversation_only(phase: ConversationPhase) -> None:
    """Before the handshake the server would throw the stream's first page away and die of the second."""
    connection = Connection(NAME) if phase is ConversationPhase.CONNECTING else prompting()
    if phase is ConversationPhase.CLOSED:
        connection.leave()
    with pytest.raises(LocalProtocolError):
        connection.audio_message(b"OggS")
    assert live().audio_message(b"OggS") == b"\x01OggS"


def test_messages_become_events_in_order() -> None:
    """Audio, text and complaints come out as they went in; a second handshake, pings and the like do not come out at all."""
    connection = live()
    for message in (b"\x02 Hi", b"\x01page", b"\x00", b"\x06", b"", b"\x05oh", b"\x09"):
        connection.receive(message)
    assert connection.take_events() == [TextCame(" Hi"), AudioCame(b"page"), Complained("oh")]
    assert connection.take_events() == []


@pytest.mark.parametrize("message", [b"\x01page", b"\x02text"])
def test_a_server_does_not_speak_before_its_handshake(message: bytes) -> None:
    """What comes too early is the server's fault, and the handshake is still awaited."""
    connection = prompting()
    with pytest.raises(RemoteProtocolError):
        connection.receive(message)
    assert connection.take_events() == []
    connection.receive(b"\x00")
    assert connection.take_events() == [Opened()]


@pytest.mark.parametrize("message", ["text", b"\x02\xff"])
def test_a_bad_message_does_not_end_the_conversation(message: bytes | str) -> None:
    """It is counted by the caller, and the next one is read."""
    connection = live()
    with pytest.raises(RemoteProtocolError):
        connection.receive(message)
    connection.receive(b"\x02 on")
    assert connection.take_events() == [TextCame(" on")]


@pytest.mark.parametrize(
    ("code", "after_s", "retry", "words"),
    [
        (1006, 0.01, False, "without the voice"),
        (1006, 5.0, True, "crashed while it loaded"),
        (1000, 0.01, True, "before it was ready"),
        (1001, 3.0, True, "shutting down"),
    ],
)
def test_how_it_ends_before_the_handshake(code: int, after_s: float, retry: bool, words: str) -> None:  # noqa: FBT001 -- a table's column
    """A drop right after the upgrade is a bad query, which no second try mends; anything later is the server's trouble."""
    connection = prompting()
    connection.lost(code, 100.0 + after_s)
    found = ending(connection.take_events())
    assert (found.retry, words in found.reason, NAME in found.reason) == (retry, True, True)


@pytest.mark.parametrize(
    ("code", "retry", "words"),
    [
        (1000, True, "audio loop crashed"),
        (1001, True, "shutting down"),
        (1002, False, "rejected the call"),
        (1005, True, "audio loop crashed"),
        (1006, True, "was lost"),
        (1008, False, "rejected the call"),
        (1009, False, "too big"),
        (1011, True, "close code 1011"),
        (1013, True, "close code 1013"),
        (4000, True, "close code 4000"),
    ],
)
def test_how_it_ends_in_the_middle(code: int, retry: bool, words: str) -> None:  # noqa: FBT001 -- a table's column
    """Each close code has its sentence, and only what says that we did wrong is not tried again."""
    connection = live()
    connection.lost(code, 130.0)
    found = ending(connection.take_events())
    assert (found.retry, words in found.reason, NAME in found.reason) == (retry, True, True)


def test_late_and_stalled_can_be_tried_again() -> None:
    """A server that is busy, or hangs, may serve later."""
    busy, hanging = prompting(), live()
    busy.late(60.0)
    hanging.stalled(3.1)
    late, stalled = ending(busy.take_events()), ending(hanging.take_events())
    assert (late.cause, late.retry) == ("not ready", True)
    assert "busy with another call" in late.reason
    assert (stalled.cause, stalled.retry) == ("stalled", True)
    assert "3 s" in stalled.reason


def test_the_first_end_is_the_end() -> None:
    """What the socket reports after we gave up or left changes nothing, and nothing comes out of it any more."""
    connection = live()
    connection.stalled(3.0)
    connection.lost(1006, 140.0)
    connection.leave()
    connection.leave()
    connection.receive(b"\x01page")
    assert ending(connection.take_events()).cause == "stalled"


@pytest.mark.parametrize(
    "status_retry_words",
    [
        (400, False, "too long"),
        (401, False, "refuses access"),
        (403, False, "refuses access"),
        (404, False, "/api/chat"),
        (200, False, "not a PersonaPlex"),
        (502, True, "reports an error"),
        (503, True, "reports an error"),
    ],
)
def test_what_http_may_answer(status_retry_words: tuple[int, bool, str]) -> None:
    """Each answer but 101 has its sentence with the status in it, and a server in trouble may recover."""
    status, retry, words = status_retry_words
    found = endings.refused(NAME, status)
    assert (found.retry, words in found.reason, f"HTTP {status}" in found.reason) == (retry, True, True)


MOVES = st.sampled_from(["upgraded", "handshake", "audio", "late", "stalled", "lost", "leave", "failed", "send"])


@given(st.lists(MOVES))
def test_no_order_of_events_breaks_the_law(moves: list[str]) -> None:
    """Whatever happens in whatever order: each move is in the table or raises, audio goes out when live only, and it ends once."""
    connection = Connection(NAME)
    turns: dict[str, Callable[[], object]] = {
        "upgraded": lambda: connection.upgraded(0.0),
        "handshake": lambda: connection.receive(b"\x00"),
        "audio": lambda: connection.receive(b"\x01x"),
        "late": lambda: connection.late(1.0),
        "stalled": lambda: connection.stalled(1.0),
        "lost": lambda: connection.lost(1006, 1.0),
        "leave": connection.leave,
        "failed": lambda: connection.failed(endings.unreachable(NAME)),
        "send": lambda: connection.audio_message(b""),
    }
    events: list[Event] = []
    for move in moves:
        before = connection.phase
        try:
            turns[move]()
        except LocalProtocolError:
            assert (before, move) not in NEXT
            assert connection.phase is before
        except RemoteProtocolError:
            assert before is not ConversationPhase.LIVE
        else:
            assert move != "send" or before is ConversationPhase.LIVE
        events += connection.take_events()
    ends = [event for event in events if isinstance(event, ConversationEnded)]
    assert len(ends) <= 1
    assert not ends or events[-1] is ends[0]
    assert bool(ends) == (connection.phase is ConversationPhase.CLOSED)
