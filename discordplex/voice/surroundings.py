"""What a line stands between: who hears of it, and what all lines of one call share."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.voice.receiver import PcmSink
from discordplex.voice.sender import Sender
from discordplex.voice.wire import Wire


class LineOwner(Protocol):
    """Who hears what happens on a line. All calls come on the loop, and none may raise."""

    def line_live(self) -> None:
        """Audio flows, for the first time or again."""
        ...

    def line_joined(self, user_ids: Iterable[int], /) -> None:
        """These people are in the channel."""
        ...

    def line_left(self, user_id: int, /) -> None:
        """This person is not any more."""
        ...

    def line_settled(self) -> None:
        """Everybody who is in the channel has been named."""
        ...


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What every line of one call shares."""

    wire: Wire
    sink: PcmSink
    sender: Sender
    metrics: Metrics
    clock: Clock
    tls: ssl.SSLContext
