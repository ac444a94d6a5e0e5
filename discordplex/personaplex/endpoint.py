"""Endpoint: where a PersonaPlex server is, the URL that asks it for a conversation, and what it would refuse. Pure.

The server takes voice and role from the query of the WebSocket's URL and hardly checks them: a missing or unknown voice, an empty prompt
and any `seed` at all make it close the connection without a word, a prompt that is too long is answered with HTTP 400, and the voice is
joined to a path unchecked. So everything is checked here, before a connection is made.
"""

import difflib
import math
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

from discordplex.engine import Persona
from discordplex.errors import ConfigError

VOICES: tuple[str, ...] = tuple(
    f"{family}{number}.pt" for family, count in (("NATF", 4), ("NATM", 4), ("VARF", 5), ("VARM", 5)) for number in range(count)
)
"""The model's 18 voices: natural and varied, female and male."""

DEFAULT_PORT = 8998
"""Where NVIDIA's and kyutai's servers listen."""

DEFAULT_PATH = "/api/chat"

PROMPT_LIMIT_BYTES = 7900
"""URL-encoded. The server's HTTP parser takes a request line of 8190 bytes; measured: 8144 of path and query pass, 8234 do not."""

SECURE = {"ws": False, "wss": True, "http": False, "https": True}
"""Schemes in which people write an address, and whether each means TLS."""

OWN_KEYS = frozenset({"text_prompt", "voice_prompt", "seed"})
"""Query keys that a configured URL may not have: two are set by us, and NVIDIA's server closes every connection with a `seed`."""

BYTES_PER_TOKEN = 3
"""Low enough to overestimate: English has four or five bytes to a token, other scripts fewer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server's address. Make it with `Endpoint.parse`."""

    parts: SplitResult

    @classmethod
    def parse(cls, address: str) -> "Endpoint":
        """The server that `address` names: a ws, wss, http or https URL, or just `host` or `host:port`.

        The path is `/api/chat` unless the address has one; the port of a bare host is 8998. Raises ConfigError with a sentence.
        """
        text = address.strip()
        bare = "://" not in text
        try:
            parts = urlsplit(f"ws://{text}" if bare else text)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise ConfigError(not_an_address(address)) from None
        if not host or parts.scheme not in SECURE or any(char.isspace() or not char.isprintable() for char in text):
            raise ConfigError(not_an_address(address))
        for key in {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} & OWN_KEYS:
            raise ConfigError(f"personaplex.urls: {name_of(parts)} must not carry {key}: the bot chooses voice and prompt for each call.")
        netloc = f"{parts.netloc}:{DEFAULT_PORT}" if bare and port is None else parts.netloc
        scheme = "wss" if SECURE[parts.scheme] else "ws"
        return cls(SplitResult(scheme, netloc, parts.path.rstrip("/") or DEFAULT_PATH, parts.query, ""))

    @property
    def name(self) -> str:
        """For logs and people: the address without user, password and query."""
        return name_of(self.parts)

    @property
    def host(self) -> str:
        """The host alone, without brackets."""
        return self.parts.hostname or ""

    @property
    def secure(self) -> bool:
        """Whether the connection is TLS."""
        return self.parts.scheme == "wss"

    @property
    def http(self) -> str:
        """The scheme of the HTTP request that opens the WebSocket."""
        return "https" if self.secure else "http"

    def url(self, persona: Persona) -> str:
        """The URL that asks this server for a conversation as `persona`; encoded as the server's own web client does it."""
        own = urlencode({"text_prompt": persona.text_prompt.strip(), "voice_prompt": persona.voice})
        return urlunsplit(self.parts._replace(query="&".join(filter(None, (self.parts.query, own)))))


def name_of(parts: SplitResult) -> str:
    """An address without its secret parts."""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def not_an_address(address: str) -> str:
    """The sentence about an invalid address. A password or a query in it is not repeated."""
    shown = address.strip().rpartition("@")[2].partition("?")[0]
    return f"personaplex.urls: {shown!r} is no server address: write something like ws://localhost:{DEFAULT_PORT}{DEFAULT_PATH}."


def check_voice(voice: str) -> str | None:
    """Why the server would refuse this voice, as a plain sentence; None where it would not."""
    if voice in VOICES:
        return None
    near = difflib.get_close_matches(voice.upper(), VOICES, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else "choose one of " + ", ".join(VOICES) + "."
    return f"PersonaPlex has no voice {voice[:40]!r}: {advice}"


def check_prompt(text_prompt: str) -> str | None:
    """Why the server would refuse this role, as a plain sentence; None where it would not."""
    text = text_prompt.strip()
    if not text:
        return "The text prompt is empty: describe in a sentence or two who the engine is."
    try:
        encoded = len(quote_plus(text))
    except UnicodeEncodeError:
        return "The text prompt holds characters that are not valid Unicode: type it again."
    if encoded >= PROMPT_LIMIT_BYTES:
        return (
            f"The text prompt is too long: it fills {encoded} bytes of a web address, but fewer than {PROMPT_LIMIT_BYTES} fit. "
            "Shorten it; letters outside English and emoji cost most."
        )
    return None


def estimated_tokens(text_prompt: str) -> int:
    """About how many tokens the model reads for this role; the estimate is on the high side."""
    return math.ceil(len(text_prompt.strip().encode(errors="replace")) / BYTES_PER_TOKEN)
