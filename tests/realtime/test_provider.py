"""Leases of a Realtime server: as many as the settings and the server allow."""

import pytest

from discordplex.config import RealtimeConfig
from discordplex.engine import RememberingLease, TurnTakingLease, servers_of
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.realtime.provider import FULL_S, LEARNED_S, RealtimeLease, RealtimeProvider
from tests.realtime.harness import calling, provider_of


def test_as_many_leases_as_the_settings_allow(clock: FakeClock) -> None:
    """Each once; giving one back twice frees one."""
    provider = RealtimeProvider(RealtimeConfig(max_calls=2), clock=clock)
    leases = [provider.acquire() for _ in range(3)]
    assert [lease is None for lease in leases] == [False, False, True]
    assert leases[0] is not None
    provider.release(leases[0])
    provider.release(leases[0])
    assert (provider.capacity, provider.free) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "description", "transcribes", "takes_turns"),
    [
        ({}, "OpenAI Realtime (gpt-realtime-2.1-mini)", True, True),
        ({"transcription_model": ""}, "OpenAI Realtime (gpt-realtime-2.1-mini)", False, True),
        ({"dialect": "vllm-omni", "model": "nvidia/personaplex-7b-v1"}, "the vLLM-Omni server (nvidia/personaplex-7b-v1)", False, False),
        ({"dialect": "vllm-omni", "model": "/home/ann/models/x"}, "the vLLM-Omni server", False, False),
        ({"dialect": "vllm-omni", "model": "http://10.0.0.5:8000/x"}, "the vLLM-Omni server", False, False),
        ({"model": "gpt-live-1"}, "OpenAI GPT-Live (gpt-live-1)", True, False),
    ],
)
def test_what_people_are_told_of_it(
    clock: FakeClock, changes: dict[str, str], description: str, *, transcribes: bool, takes_turns: bool
) -> None:
    """Before a call, and by the lease."""
    provider = RealtimeProvider(RealtimeConfig(**changes), clock=clock)  # type: ignore[arg-type] # pydantic checks them
    lease = provider.acquire()
    assert lease is not None
    assert lease.info == provider.info
    assert (provider.info.description, provider.info.transcribes) == (description, transcribes)
    assert provider.info.costs_money is ("dialect" not in changes)
    assert isinstance(lease, TurnTakingLease) == takes_turns
    assert isinstance(lease, RealtimeLease)
    lease._memory.open("user", "a", frozenset({1}))
    lease._memory.put("a", "I am Ann.")
    remembering: RememberingLease = lease
    remembering.reset()
    assert not list(lease._memory)


@pytest.mark.parametrize(
    ("url", "voice", "prompt", "refused"),
    [
        ("https://api.openai.com/v1", "", "x", False),
        ("https://api.openai.com/v1", "marin", "x", False),
        ("https://api.openai.com/v1", "NATF0.pt", "x", True),
        ("http://localhost/v1", "anything", "x", False),
        ("http://localhost/v1", "two\nlines", "x", True),
        ("http://localhost/v1", "v" * 101, "x", True),
        ("http://localhost/v1", "", " ", True),
        ("http://localhost/v1", "", "x" * 20_001, True),
    ],
)
def test_a_persona_that_cannot_be_is_refused(clock: FakeClock, url: str, voice: str, prompt: str, *, refused: bool) -> None:
    """Before anything is opened, as far as it is known."""
    assert (RealtimeProvider(RealtimeConfig(url=url), clock=clock).check(voice, prompt) is not None) == refused


async def test_a_server_that_is_full_is_believed_for_a_while(clock: FakeClock) -> None:
    """It has as many places as we held; after a while one more is tried, and not as many as the settings allow."""
    async with RealtimeServer() as server, calling(server, clock) as call:
        provider = call.provider
        provider.is_full()
        assert (provider.capacity, provider.free) == (1, 0)
        await clock.advance(LEARNED_S + 1)
        assert (provider.capacity, provider.free) == (2, 1)
        async with calling(server, clock, provider):
            assert (provider.capacity, provider.free) == (3, 1)


async def test_a_server_that_others_fill_is_tried_less_and_less_often(clock: FakeClock) -> None:
    """By one caller at a time: each try is a visit to a voice channel."""
    async with RealtimeServer() as server:
        provider = provider_of(server, clock)
        for pause_s in (FULL_S, 2 * FULL_S, 4 * FULL_S):
            provider.is_full()
            assert provider.free == 0
            await clock.advance(pause_s - 1)
            assert provider.free == 0
            await clock.advance(2)
            assert provider.free == 1


async def test_an_operator_sees_that_sessions_fail(clock: FakeClock) -> None:
    """A key that is refused, again and again, until one session opens; a full server has not failed."""
    async with RealtimeServer(key="another-key") as server:
        provider = provider_of(server, clock, max_calls=3)
        for failures in (1, 2):
            with pytest.raises(EngineError):
                async with calling(server, clock, provider):
                    pass
            assert [(one.kind, one.capacity, one.failures, one.failed) for one in servers_of(provider)] == [
                ("the Realtime server (gpt-realtime-2.1-mini)", 3, failures, False)
            ]
        provider.is_full()
        assert servers_of(provider)[0].failures == 2
        provider.has_opened()
        assert servers_of(provider)[0].failures == 0
