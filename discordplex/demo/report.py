"""The results of a demo: the report as data and as text, and the four files."""

import json
import platform
import statistics
import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from discordplex import __version__
from discordplex.audio.format import DISCORD, SAMPLE_BYTES
from discordplex.demo.recording import ResponseTime, answers, spans
from discordplex.demo.scenario import CASCADE, REALTIME, PlayedCall
from discordplex.demo.timeline import Picture, draw
from discordplex.loopback.personaplex.parrot import PAUSE_MS

SEQUENCES = 1 << 16

LIBRARIES = ("py-cord", "dave.py", "websockets", "aiohttp", "sphn", "opuslib-next-bundled", "cryptography", "numpy")

HELD = "held for playing"

STAGES = {
    "uplink.wait_ms": "person to engine",
    "engine.uplink_write_ms": "writing to the engine",
    "engine.downlink_read_ms": "reading from the engine",
    "playout.hold_ms": HELD,
    "voice.tx.lateness_ms": "lateness of sending",
}
"""Histograms of the bot that make up a call's latency, in the order in which a frame passes them."""

DROPS = ("voice.rx.lost", "sink.overruns", "engine.frames_dropped", "playout.overruns", "voice.tx.dropped")
"""Counters of the bot: each counts frames that were not passed on. `uplink.skipped` counts ticks, whose frames are sent later."""

HOLES = ("sink.underruns", "playout.underruns")
"""Counters of the bot: each counts moments in which speech was interrupted because its next frame was late."""

TRANSCRIPT, PICTURE, SOUND, REPORT = "transcript.jsonl", "timeline.png", "conversation.wav", "report.json"


def lost(sequences: Iterable[int]) -> int:
    """How many packets are missing between the first and the last of these RTP sequence numbers, whatever their order."""
    seen: set[int] = set()
    last = None
    for sequence in sequences:
        last = sequence if last is None else last + (sequence - last + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2
        seen.add(last)
    return max(seen) - min(seen) + 1 - len(seen) if seen else 0


def waits(call: PlayedCall, engine: str) -> list[ResponseTime]:
    """How soon each sentence was answered; the talker answers nobody."""
    if engine == "talker":
        return []
    return answers(spans(call.recording.person), spans(call.recording.bot), echo=engine == "echo")


def report(call: PlayedCall, engine: str) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    metrics: Mapping[str, Any] = call.bot_report.get("metrics", {})
    heard_lost = lost(call.heard_sequences)
    return {
        "discordplex": __version__,
        "engine": engine,
        "seconds": round(call.recording.seconds, 3),
        "online_after_s": round(call.started_s, 3),
        "listening_after_s": round(call.listened_s, 3),
        "exit_code": call.exit_code,
        "end_to_end_encrypted": call.encrypted,
        "frames": {
            "person_sent": len(call.said_sequences),
            "bot_heard": metrics.get("voice.rx.frames"),
            "person_heard": len(call.heard_sequences),
            "person_missed": heard_lost,
            "bot_dropped": {name: metrics[name] for name in DROPS if name in metrics},
            "holes": sum(metrics.get(name, 0) for name in HOLES),
            "lost": heard_lost + sum(metrics.get(name, 0) for name in DROPS),
        },
        "latency_ms": {
            "voice_to_voice": [round(wait.latency_ms) for wait in waits(call, engine)],
            **{name: metrics[name] for name in STAGES if name in metrics},
        },
        "handovers": [
            {"at_s": round(one.at_s, 3), "in_place": one.in_place, "unheard_s": round(one.unheard_s, 3)} for one in call.handovers
        ],
        "cpu_percent": cpu_percent(call),
        "cpu_s": call.bot_report.get("cpu_s"),
        "memory_mib": call.bot_report.get("rss_mib"),
        "versions": versions(),
        "bot": call.bot_report,
    }


def cpu_percent(call: PlayedCall) -> float | None:
    """How much of a core the bot used during the conversation; over its whole life where it did not report that while it ran."""
    told = [(at_s, float(counted["cpu_s"])) for at_s, counted in call.stats if "cpu_s" in counted]
    if len(told) > 1:
        (first_s, first), (last_s, last) = told[0], told[-1]
        return round(100 * (last - first) / (last_s - first_s), 1)
    used, lived = float(call.bot_report.get("cpu_s", 0)), float(call.bot_report.get("uptime_s", 0))
    return round(100 * used / lived, 1) if used and lived else None


def versions() -> dict[str, str]:
    """The versions of the software it ran on."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def summary(measured: Mapping[str, Any], call: PlayedCall, out: Path) -> Iterator[str]:
    """The report in a few lines for people."""
    frames, latency = measured["frames"], measured["latency_ms"]
    yield f"{measured['engine']} engine, {measured['seconds']:.1f} s{', end-to-end encrypted' if call.encrypted else ''}"
    if measured["engine"] == "talker":
        yield "  voice to voice            the talker answers nobody, it speaks by itself"
    elif latency["voice_to_voice"]:
        yield f"  voice to voice            {waited(latency['voice_to_voice'])}{engine_share(measured['engine'])}"
    else:
        yield f"  voice to voice            {call.bot} answered nothing"
    for name, label in STAGES.items():
        if name in latency and latency[name]["count"]:
            ahead = "; the engine sends faster than it is played" if label == HELD and measured["engine"] in (CASCADE, REALTIME) else ""
            yield f"  {label:<26}{latency[name]['p50']:.1f} ms median, {latency[name]['p99']:.1f} ms p99{ahead}"
    heard = f"{frames['person_sent']} sent by {call.person}, {frames['person_heard']} heard from {call.bot}"
    yield f"  frames                    {heard}, lost: {frames['lost']}, holes: {frames['holes']}"
    if measured["handovers"]:
        times = ", ".join(f"{one['at_s']:.1f} s" for one in measured["handovers"])
        yield f"  hand-overs                {len(measured['handovers'])}, at {times}"
    yield f"  the bot                   {', '.join(usage(measured))}"
    yield f"  in {out}{'' if str(out).endswith('/') else '/'}: {SOUND}, {TRANSCRIPT}, {PICTURE}, {REPORT}"


def usage(measured: Mapping[str, Any]) -> Iterator[str]:
    """What the bot used of the machine."""
    if measured["cpu_percent"] is not None:
        yield f"{measured['cpu_percent']:.1f} % of a core"
    if measured["memory_mib"] is not None:
        yield f"{measured['memory_mib']:.0f} MiB"
    yield f"online after {measured['online_after_s']:.1f} s, listening {measured['listening_after_s']:.1f} s after the person came"


def waited(each_ms: Sequence[int]) -> str:
    """The median of some waits, and their range where there are several."""
    median = f"{statistics.median(each_ms):.0f} ms"
    return f"{median} (from {min(each_ms)} to {max(each_ms)} ms)" if len(each_ms) > 1 else median


def engine_share(engine: str) -> str:
    """Which part of the latency is the engine's own."""
    if engine == "parrot":
        return f"; {PAUSE_MS} ms of it the parrot waits to be sure that one has finished"
    return "; from the beginning of a word to the beginning of its echo" if engine == "echo" else ""


def write(measured: Mapping[str, Any], call: PlayedCall, out: Path) -> None:
    """Write the four files into `out`, which is created where it is missing. Raises OSError where that fails."""
    out.mkdir(parents=True, exist_ok=True)
    write_sound(call.recording.stereo, out / SOUND)
    lines = [
        json.dumps({"who": line.who, "at_s": round(line.at_s, 3), "text": line.text, "kind": line.role}, ensure_ascii=False)
        for line in sorted(call.lines, key=lambda line: line.at_s)
    ]
    (out / TRANSCRIPT).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    draw(picture(measured, call)).save(out / PICTURE, optimize=True)
    (out / REPORT).write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_sound(stereo: bytes, path: Path) -> None:
    """48 kHz stereo PCM as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(DISCORD.channels)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(DISCORD.rate_hz)
        file.writeframes(stereo)


def picture(measured: Mapping[str, Any], call: PlayedCall) -> Picture:
    """What timeline.png shows of a call."""
    about = [f"{measured['engine']} engine", f"{measured['seconds']:.1f} s", f"discordplex {__version__}"]
    if call.encrypted:
        about.insert(2, "end-to-end encrypted")
    return Picture(
        title=f"{call.person} talks with {call.bot}",
        subtitle=" · ".join(about),
        person=call.person,
        bot=call.bot,
        recording=call.recording,
        lines=call.lines,
        answers=waits(call, measured["engine"]),
        facts=list(facts(measured)),
        handovers=[one.at_s for one in call.handovers],
    )


def facts(measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The figures at the top of the picture."""
    each_ms = measured["latency_ms"]["voice_to_voice"]
    if each_ms:
        yield f"{statistics.median(each_ms):.0f} ms", "echo" if measured["engine"] == "echo" else "voice to voice"
    yield str(measured["frames"]["lost"]), "frames lost"
    if measured["cpu_percent"] is not None:
        yield f"{measured['cpu_percent']:.1f} %", "of a core"
    if measured["memory_mib"] is not None:
        yield f"{measured['memory_mib']:.0f} MiB", "memory"
