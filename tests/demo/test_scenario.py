"""The whole call: the real bot as a process, a person on real sockets, an engine."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import rms_of
from discordplex.demo import child, scenario
from discordplex.demo.clip import SpokenClip, speech
from discordplex.demo.live import NoDisplay
from discordplex.demo.recording import spans
from discordplex.demo.report import lost
from discordplex.demo.scenario import PlayedCall, play
from discordplex.demo.timeline import TimelineEntry
from discordplex.errors import DiscordplexError
from discordplex.loopback import timeouts

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]


class Watched(NoDisplay):
    """Remembers what was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, TimelineEntry] = {}
        self.counted: list[Mapping[str, Any]] = []

    def line(self, key: str, line: TimelineEntry) -> None:
        self.lines[key] = line

    def stats(self, counted: Mapping[str, Any]) -> None:
        self.counted.append(counted)


def own_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own settings, which would break the demo if they reached it."""
    (folder / "discordplex.toml").write_text("[bot]\ncaptions = 'off'\nauto_join = false\n", encoding="utf-8")
    (folder / ".env").write_text("DISCORDPLEX_NONSENSE=1\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DISCORDPLEX_BOT__AUTO_JOIN", "false")


async def test_with_ears_what_was_transcribed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an echo, which understands nothing: the sentence comes from the caption that the bot wrote."""
    own_settings(tmp_path, monkeypatch)
    show = Watched()
    sentence = SpokenClip(speech(None).pcm[: ENGINE.bytes_of_ms(1300)], ("Hello there, parrot!",))
    call = await play("echo", sentence, 4.0, show, ears=True)
    [said] = [line for line in call.lines if line.role == "person"]
    assert said.text == "Hello there, parrot!"
    assert said.at_s == pytest.approx(spans(call.recording.person)[0].start_s, abs=0.3)
    assert call.bot_report["metrics"]["hearing.utterances"] == 1


async def test_a_call_is_heard_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person says comes back from the echo, whole, whatever their own settings are; the bot ends well and leaves a report."""
    own_settings(tmp_path, monkeypatch)
    first_sentence = ENGINE.bytes_of_ms(1300)
    show = Watched()
    call = await play("echo", SpokenClip(speech(None).pcm[:first_sentence], ("Hello there, parrot!",)), 1.8, show)
    assert call.exit_code == 0
    assert lost(call.heard_sequences) == lost(call.said_sequences) == 0
    assert call.bot_report["metrics"]["voice.rx.frames"] == len(call.said_sequences)
    assert similarity(call) > 0.9
    assert [line.text for line in call.lines if line.role == "person"] == ["Hello there, parrot!"]
    assert {"Ada enters Lounge", "Plex enters Lounge", "Ada leaves", "Plex leaves"} <= {line.text for line in call.lines}
    assert any(line.role == "person" for line in show.lines.values())
    assert show.counted


async def test_a_call_with_a_realtime_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in Realtime server gives back what it heard, whole, and the words of both sides stand in the channel."""
    own_settings(tmp_path, monkeypatch)
    call = await play("realtime", SpokenClip(speech(None).pcm[: ENGINE.bytes_of_ms(1300)]), None, Watched())
    assert call.exit_code == 0
    assert similarity(call) > 0.9
    assert [line.text.startswith("I heard you for") for line in call.lines if line.role == "bot"] == [True]
    assert [line.text.startswith("I spoke for") for line in call.lines if line.role == "person"] == [True]


def similarity(call: PlayedCall) -> float:
    """How alike the loudness of both sides is over time, at the place where they are most alike."""
    person, bot = spans(call.recording.person)[0], spans(call.recording.bot)[0]
    frames = round((person.end_s - person.start_s) * ENGINE.frames_per_second)
    said = loudness(call.recording.person, person.start_s, frames)
    near = (bot.start_s + shift * ENGINE.frame_seconds for shift in range(-4, 5))
    return max(float(np.corrcoef(said, loudness(call.recording.bot, start_s, frames))[0, 1]) for start_s in near)


def loudness(pcm: bytes, start_s: float, frames: int) -> list[float]:
    first = round(start_s * ENGINE.frames_per_second)
    return [rms_of(pcm[at * ENGINE.frame_bytes : (at + 1) * ENGINE.frame_bytes]) for at in range(first, first + frames)]


async def test_an_engine_that_is_not_there_is_a_sentence() -> None:
    """Where no engine answers the demo ends with what the bot said about it."""
    with pytest.raises(
        DiscordplexError, match=r"The bot does not listen\. It says: No PersonaPlex server answers at \[address\]: start it"
    ):
        await play("ws://127.0.0.1:9/api/chat", SpokenClip(b""), None, NoDisplay())


async def test_a_bot_that_dies_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a bot that has ended: its last words are the reason."""

    def refused(*arguments: Any) -> dict[str, str]:
        return {**real(*arguments), "DISCORDPLEX_BOT__CAPTIONS": "nonsense"}

    real = child.bot_environment
    monkeypatch.setattr(scenario, "bot_environment", refused)
    with pytest.raises(DiscordplexError, match=r"The bot said: bot\.captions must be"):
        await timeouts.wait_for(play("echo", SpokenClip(b""), None, NoDisplay()), 20)


@pytest.mark.parametrize(("seconds", "expected"), [(None, 1.0), (0.5, 0.5), (9.0, 9.0)])
def test_speech_lasts_as_long_as_was_asked_for(voice: Voice, seconds: float | None, expected: float) -> None:
    """Once where nothing was asked for; otherwise cut short, or said again after a pause."""
    said = scenario.script(SpokenClip(voice([(0.2, 0.8)], 1.0)), seconds)
    assert ENGINE.duration_ms(len(said)) / 1000 == pytest.approx(expected)
    assert len(spans(said)) == (3 if expected > 8 else 1)
