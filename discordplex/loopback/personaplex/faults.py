"""Faults of a stand-in server, each as a real server was seen to behave."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults from the start; the server's own methods do the same during a call."""

    late_ms: float = 0.0
    """Each block is late by up to this much, at random; the next waits for it, so bursts follow gaps."""
    natural_spacing: bool = False
    """Blocks 71 to 98 ms apart (1 %: 71, median 80, 99 %: 90), as on a machine that keeps up."""
    slow_start_ms: float = 0.0
    """The first steps take up to this much longer, at random, as on a machine that does something else meanwhile."""
    no_handshake: bool = False
    """Connected, and nothing is ever sent."""
    http_status: int | None = None
    """Every request is answered with this instead of an upgrade."""
    crash_after_steps: int | None = None
    """The audio loop raises: the client sees a clean close with 1000."""
    silent_after_steps: int | None = None
    """The audio loop stops and the connection stays: the effect of SIGTERM on NVIDIA's server."""
    reset_after_steps: int | None = None
    """The process dies: TCP reset."""
    seed: int = 0
    """For the random parts."""
