"""The close codes of a voice gateway: what each requires of us, and the sentence that people may read about it. Pure."""

import enum
from dataclasses import dataclass

OWN_CODES_END = 4000
"""Codes below are WebSocket's own: the network or a proxy, not Discord's opinion of the session."""


class Repair(enum.Enum):
    """What to do when the voice gateway closed."""

    RESUME = enum.auto()
    """The session lives: connect again, the UDP socket stays."""
    REJOIN = enum.auto()
    """The session is gone: leave the channel and enter it again."""
    WAIT = enum.auto()
    """Moved or removed: Discord says which in the next seconds, with a new server or an empty voice state."""
    END = enum.auto()
    """No repetition can help."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How a voice gateway's connection ended."""

    repair: Repair
    sentence: str
    code: int | None = None

    @property
    def told(self) -> str:
        """The sentence as people read it."""
        return f"{self.sentence[:1].upper()}{self.sentence[1:]}."


CLOSE_CODES: dict[int, tuple[Repair, str]] = {
    4000: (Repair.RESUME, "Discord's voice server met an error that it does not name"),
    4001: (Repair.REJOIN, "Discord's voice server did not know a message of ours"),
    4002: (Repair.REJOIN, "Discord's voice server could not read a message of ours"),
    4003: (Repair.REJOIN, "Discord's voice server got a message before we had identified"),
    4004: (Repair.REJOIN, "Discord's voice server did not accept the session's token"),
    4005: (Repair.REJOIN, "Discord's voice server says that we identified twice"),
    4006: (Repair.REJOIN, "Discord says that the voice session is no longer valid"),
    4009: (Repair.REJOIN, "Discord's voice session timed out"),
    4011: (Repair.REJOIN, "Discord did not find the voice server"),
    4012: (Repair.END, "Discord's voice server does not know the protocol that we speak; a newer version of discordplex may help"),
    4014: (Repair.WAIT, "Discord disconnected the bot from the voice channel"),
    4015: (Repair.RESUME, "Discord's voice server crashed"),
    4016: (
        Repair.END,
        "Discord's voice server does not know the transport encryption that was agreed; a newer version of discordplex may help",
    ),
    4017: (Repair.END, "Discord demands end-to-end encryption in this voice channel, and this bot did not offer it"),
    4020: (Repair.REJOIN, "Discord's voice server called a request of ours bad"),
    4021: (Repair.END, "Discord disconnected the bot because it was too fast, and forbids it to come back at once"),
    4022: (Repair.WAIT, "Discord ended the voice call"),
}
"""Every documented code. Sources: Discord's table of voice close codes; 4017, 4021 and 4022 as seen from other libraries."""


def classify(code: int | None) -> Closing:
    """What a close code means; None is a connection that was lost without one."""
    if code is None or code < OWN_CODES_END:
        return Closing(Repair.RESUME, "the connection to Discord's voice server was lost", code)
    repair, sentence = CLOSE_CODES.get(code, (Repair.REJOIN, "Discord's voice server closed the connection"))
    return Closing(repair, f"{sentence} (close code {code})", code)
