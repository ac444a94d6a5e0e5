"""One whole answer of the chat model, without what it only thought."""

import pytest

from discordplex.cascade.summary import MOST_CHARACTERS, ChatSummary
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.errors import ConfigError
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.log import RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services.faults import ServiceError


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("SUMMARY: Fine.\nDECISION 1: Go.", "SUMMARY: Fine.\nDECISION 1: Go."),
        ("<think>Hm, what?</think>SUMMARY: Fine.", "SUMMARY: Fine."),
        ("I should think.</think>SUMMARY: Fine.", "SUMMARY: Fine."),
        ("word " * 10_000, ("word " * 10_000)[:MOST_CHARACTERS]),
    ],
    ids=["as it is", "with thoughts", "with thoughts and no opening mark", "too long"],
)
async def test_the_answer_is_whole_and_without_thoughts(reply: str, answer: str) -> None:
    """Line breaks stay, reasoning goes, and the rest of an endless answer is not read."""
    async with StandInOpenAI(replies=lambda _: reply) as server:
        config = CascadeConfig.model_validate({"base_url": server.base_url, "api_key": server.api_key})
        found = await ChatSummary(config, clock=SystemClock()).answer("Sum up.", "1 Anna: Hello.")
        (asked,) = server.log.of(RequestReceived)
    assert found == answer
    assert asked.body["messages"] == [{"role": "system", "content": "Sum up."}, {"role": "user", "content": "1 Anna: Hello."}]


async def test_a_failure_is_a_sentence(server: StandInOpenAI, config: CascadeConfig) -> None:
    """As everywhere: without the server's address."""
    server.fail("think", RequestFault(status=500))
    with pytest.raises(ServiceError, match=r"The chat model failed: its server reports an internal error"):
        await ChatSummary(config, clock=SystemClock()).answer("Sum up.", "Hello.")


def test_people_are_told_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages there is none."""
    assert ChatSummary(CascadeConfig(), clock=SystemClock()).name == "a chat model (gpt-4o-mini)"
    monkeypatch.setattr("discordplex.cascade.summary.is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"discordplex\[cascade\]"):
        ChatSummary(CascadeConfig(), clock=SystemClock())


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({}, False),
        ({"api_key": "sk-0123456789"}, True),
        ({"think": {"api_key": "sk-0123456789"}}, True),
        ({"base_url": "http://127.0.0.1:1/v1"}, True),
        ({"think": {"base_url": "http://127.0.0.1:1/v1"}}, True),
        ({"transcribe": {"base_url": "http://127.0.0.1:1/v1"}}, False),
    ],
)
def test_a_chat_model_is_there_where_somebody_set_it_up(settings: dict[str, object], *, there: bool) -> None:
    """A key, or a server of one's own for it."""
    assert CascadeConfig.model_validate(settings).has_chat_model == there
