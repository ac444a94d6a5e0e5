"""People may read what a server says, and a log never does."""

import json

import pytest
from structlog.testing import capture_logs

from discordplex.config import CascadeConfig
from discordplex.engine import Problem
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services.service import ServiceName
from tests.cascade.harness import calling

WORDS = "violet hippopotamus"
ERROR = json.dumps({"error": {"message": f"No {WORDS} here", "code": WORDS, "type": WORDS}}).encode()

BARE = b"data: " + json.dumps({"message": f"No {WORDS} here", "code": 500}).encode() + b"\n\n"

FAULTS: list[tuple[ServiceName, RequestFault, str]] = [
    ("transcribe", RequestFault(status=400, body=ERROR), "HTTP 400"),
    ("think", RequestFault(status=418, body=ERROR, headers={"X-Words": WORDS}), "HTTP 418"),
    ("speak", RequestFault(status=422, body=ERROR), "HTTP 422"),
    ("transcribe", RequestFault(body=ERROR), "error in the answer"),
    ("think", RequestFault(body=b"data: " + ERROR + b"\n\n"), "error in the answer"),
    ("think", RequestFault(body=b"event: error\n" + BARE), "error in the answer"),
    ("think", RequestFault(body=b"event: error\ndata: " + WORDS.encode() + b"\n\n"), "error in the answer"),
    ("think", RequestFault(body=b"event:error\r\ndata: no\r\ndata: " + WORDS.encode()), "error in the answer"),
    ("think", RequestFault(body=b"event: message\ndata: {}\n\nevent: error\n" + BARE), "error in the answer"),
    ("transcribe", RequestFault(body=b"event: error\n" + BARE, content_type="text/event-stream"), "error in the answer"),
    ("speak", RequestFault(body=ERROR, content_type="application/json"), "error in the answer"),
]


@pytest.mark.parametrize(("service", "fault", "cause"), FAULTS)
async def test_a_server_s_words_are_told_and_not_logged(
    server: StandInOpenAI, config: CascadeConfig, service: ServiceName, fault: RequestFault, cause: str
) -> None:
    """The problem has the words for people and a code for the log, and the log has the code."""
    server.fail(service, fault)
    with capture_logs() as lines:
        async with calling(config) as call:
            await call.ask()
            await call.until(lambda call: call.of(Problem))
    (problem,) = call.of(Problem)
    assert WORDS in problem.message
    assert (problem.service, problem.cause) == (service, cause)
    assert [(line["service"], line["cause"]) for line in lines if line["event"] == "service failed"] == [(service, cause)]
    assert "hippopotamus" not in str(lines)
