"""What happened at a stand-in OpenAI server: the kinds of records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discordplex.loopback.log import Record
from discordplex.loopback.openai.faults import Service


@dataclass(frozen=True, slots=True)
class RequestReceived(Record):
    """A request came, with these fields; `client` counts the requests.

    A transcription's file is represented by its length in milliseconds.
    """

    service: Service
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ResponseSent(Record):
    """The answer was sent to its end."""

    service: Service
    status: int = 200


@dataclass(frozen=True, slots=True)
class ClientHungUp(Record):
    """The client hung up before the answer's end."""

    service: Service
