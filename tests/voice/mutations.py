"""Hostile messages are genuine ones gone wrong; this makes them, and watches what they cost."""

import os
import random
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

from tests.voice.booth import SOAK

TIMES = 40 if SOAK else 1
DATAGRAM_SEEDS, DATAGRAMS = 8 * TIMES, 2000
GATEWAY_SEEDS, GATEWAY_MESSAGES = 10 * TIMES, 1000
GROUP_SEEDS, GROUP_MESSAGES = 8 * TIMES, 100
BATCH = 50
"""Datagrams that a socket's buffer surely keeps."""

ROOM_MIB = 12
"""What a process may grow by: allocators keep what they were lent."""

EXAMPLES = settings(deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
"""Other seeds in each run; the one that breaks something is shown."""


def mutated(dice: random.Random, original: bytes) -> bytes:
    """Flipped, cut, stretched, spliced, or as it was."""
    content = bytearray(original)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 8))):
        place = dice.randrange(len(content) + 1)
        kind = dice.randrange(5)
        if kind == 0 and content:
            content[place % len(content)] ^= 1 << dice.randrange(8)
        elif kind == 1 and content:
            content[place % len(content)] = dice.choice((0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            content[place:place] = dice.randbytes(dice.randrange(9))
        else:
            del content[place : place + dice.randrange(9)]
    return bytes(content)


def memory_mib() -> float:
    """What the process holds; nothing where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if statm.exists() else 0.0
