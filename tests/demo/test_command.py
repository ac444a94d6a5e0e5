"""The demo as a command: what it accepts, and how it ends."""

import asyncio
import dataclasses
import itertools
import json
import os
import re
import signal
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from discordplex.demo import command
from discordplex.demo.clip import WORDS, speech
from discordplex.demo.command import DemoOptions, run_demo, until_terminated, verdict
from discordplex.demo.recording import paired, spans
from discordplex.demo.scenario import PlayedCall
from discordplex.errors import ConfigError, DiscordplexError
from discordplex.installing import pip_extra
from discordplex.stopping import Stop

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]


@pytest.fixture
def call(voice: Voice) -> PlayedCall:
    return PlayedCall(
        person="Ada",
        bot="Plex",
        channel="Lounge",
        recording=paired(voice([(1.0, 2.0)], 6.0), voice([(2.9, 3.9)], 6.0)),
        lines=[],
        said_sequences=range(50),
        heard_sequences=range(50),
        started_s=1.9,
        listened_s=0.4,
        exit_code=0,
        bot_report={},
        stats=[],
    )


def options(out: Path, **changed: Any) -> DemoOptions:
    return dataclasses.replace(DemoOptions(speech=None, out=out, engine="parrot", seconds=None, as_json=False), **changed)


def test_the_clip_is_short_and_has_a_word_for_each_sentence() -> None:
    """Three sentences with room for an answer after each, in a file of modest size."""
    said = speech(None)
    found = spans(said.pcm)
    assert len(found) == len(said.words) == len(WORDS)
    assert all(following.start_s - one.end_s > one.end_s - one.start_s + 1 for one, following in itertools.pairwise(found))
    assert (Path(command.__file__).parent / "hello.wav").stat().st_size < 350_000


def test_an_own_recording_has_no_known_words(tmp_path: Path) -> None:
    """A person's file is used as it is."""
    with wave.open(str(tmp_path / "own.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(b"\1\0" * 480)
    said = speech(tmp_path / "own.wav")
    assert (said.pcm, said.words) == (b"\1\0" * 480, ())


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"engine": "http://x"}, "There is no engine 'http://x'"),
        ({"engine": "cascade", "memory_s": 15.0}, "--memory is for PersonaPlex's protocol"),
        ({"engine": "cascade", "ears": True}, "--ears is for an engine that does not transcribe"),
        ({"speech": Path("missing.wav")}, r"missing\.wav cannot be read"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    """A wrong engine or file is a wrong command line: nothing is started."""
    with pytest.raises(ConfigError, match=sentence):
        run_demo(options(tmp_path, **changed), Stop())


def test_the_realtime_engine_says_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in judges by the SDK's types, which come with an extra; without it, a sentence says how to get them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openai" else object())
    with pytest.raises(ConfigError, match=re.escape(pip_extra("cascade"))):
        run_demo(options(tmp_path, engine="realtime"), Stop())


def test_json_is_the_only_output(
    tmp_path: Path, call: PlayedCall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json stdout is the report and nothing else, and the files are there all the same."""
    monkeypatch.setattr(command, "play", played(call))
    assert run_demo(options(tmp_path / "out", as_json=True), Stop()) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))


def test_a_pipe_gets_the_summary(
    tmp_path: Path, call: PlayedCall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the end a few lines say how it went."""
    monkeypatch.setattr(command, "play", played(call))
    assert run_demo(options(tmp_path), Stop()) == 0
    assert "voice to voice            900 ms" in capsys.readouterr().out


def played(call: PlayedCall) -> Callable[..., Any]:
    async def play(*_args: object, **_named: object) -> PlayedCall:
        return call

    return play


def test_a_demo_without_an_answer_failed(call: PlayedCall, voice: Voice) -> None:
    """A call in which the bot kept silent, or ended badly, is no success."""
    with pytest.raises(DiscordplexError, match="Ada heard nothing of Plex"):
        verdict(dataclasses.replace(call, recording=paired(voice([(1, 2)], 3), b"")))
    with pytest.raises(DiscordplexError, match="exit code -9"):
        verdict(dataclasses.replace(call, exit_code=-9))


async def test_sigterm_ends_the_call_first() -> None:
    """A demo that is told to end cleans up, then says that it was cut short."""
    cleaned = []

    async def endless() -> PlayedCall:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)
        raise AssertionError

    stop = Stop()
    with stop.watching(), pytest.raises(DiscordplexError, match="cut short"):
        await until_terminated(stop, endless())
    assert cleaned == [True]
