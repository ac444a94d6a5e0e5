"""What the bot answers about the call that runs. Pure; see `replies`."""

from collections.abc import Mapping
from typing import Any

NO_CALL = "I am in no call in this server. `/join` calls me."
STOPPED = "I have stopped: nobody is heard, and I say nothing. `/listen` lets me go on, `/leave` sends me away."
STOPPED_ALREADY = "I have stopped already. `/listen` lets me go on."
LISTENS_AGAIN = "I hear you again."
LISTENS_ALREADY = "I am listening already."
FORGOTTEN = "I have forgotten what was said in this call."
REMEMBERS_NOTHING = "This engine keeps no list of what was said that could be forgotten; `/leave` and `/join` begin anew."
NOT_MEASURED = "Nothing is measured in this call yet: somebody has to speak first."

STAGES = {
    "uplink.wait_ms": "From a person's sound to the engine",
    "engine.uplink_write_ms": "Writing it to the engine",
    "engine.block_spacing_ms": "From one piece of the engine's sound to the next",
    "playout.hold_ms": "The engine's sound, held so that it does not tear",
    "voice.tx.lateness_ms": "Sent later than it should be",
}
"""The histograms that people are shown, in the order of the way."""

GAUGES = {
    "engine.handshake_ms": "Until the engine listened",
    "voice.gateway.rtt_ms": "To Discord's voice server and back",
}


def latency(measured: Mapping[str, Any]) -> str:
    """/latency: a call's measurements in words, the newest 40 s of each stage."""
    lines = [
        f"- {name}: {ms(found['p50'])} as a rule, {ms(found['p99'])} at worst (of 100)"
        for key, name in STAGES.items()
        if (found := measured.get(key)) and found["count"]
    ]
    if not lines:
        return NOT_MEASURED
    lines += [f"- {name}: {ms(measured[key])}" for key, name in GAUGES.items() if measured.get(key)]
    return "\n".join(["This call, measured:", *lines])


def ms(value: float) -> str:
    """Milliseconds, as exactly as they matter."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"  # noqa: PLR2004 -- two digits are enough for anybody
