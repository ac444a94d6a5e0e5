"""The dialects of the Realtime protocol, as a table: where a session is opened, who speaks first, who owns the turns. Pure.

Sources: the types of the official SDK `openai` 3.57.0, and the services' own documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

RATE_HZ: Final = 24_000
"""OpenAI takes PCM at this rate only; every dialect takes it."""

OPENAI_VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

WEBSOCKET: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one service, or kind of server, does its own way."""

    name: str
    service: str
    """What people are told."""
    path: str = "/realtime"
    """Where a session is opened, below the base URL."""
    query: Mapping[str, str] | None = None
    """Added to the URL."""
    model_in_url: bool = True
    key_header: str = "Authorization"
    speaks_first: bool = False
    """The client has to speak first: the server sends nothing before."""
    full_duplex: bool = False
    """The model owns the turns: it hears and speaks in real time, and nothing is cut, truncated or ducked."""
    live: bool = False
    """The messages are those of `openai.types.live`."""
    semantic_vad: bool = True
    voices: tuple[str, ...] = ()
    """The voices that it is known to have; empty where any name may be one."""
    costs_money: bool = False
    """It is a service that bills for each session."""

    def url(self, base: str, model: str) -> str:
        """The address of a session. `base` is an http(s) or ws(s) URL; what it ends with is not written a second time."""
        parts = urlsplit(base)
        path = parts.path.rstrip("/")
        if self.name == "azure" and not path.endswith(("/openai/v1", self.path)):
            path = f"{path}/openai/v1"
        if not path.endswith(self.path):
            path += self.path
        asked = [*(self.query or {}).items(), *([("model", model)] if self.model_in_url and model else [])]
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        query = urlencode({**dict(asked), **given})
        return urlunsplit((WEBSOCKET[parts.scheme], parts.netloc, path, query, ""))

    def headers(self, key: str | None) -> dict[str, str]:
        """What says who asks; empty without a key."""
        if not key:
            return {}
        return {self.key_header: key if self.key_header == "api-key" else f"Bearer {key}"}


OPENAI: Final = Dialect("openai", "OpenAI Realtime", voices=OPENAI_VOICES, costs_money=True)
OTHER: Final = Dialect("openai", "the Realtime server")
"""The same from a server that is nobody's service, with voices of its own."""
AZURE: Final = Dialect("azure", "Azure OpenAI", key_header="api-key", voices=OPENAI_VOICES, costs_money=True)
XAI: Final = Dialect("xai", "xAI", semantic_vad=False, costs_money=True)
VLLM_OMNI: Final = Dialect(
    "vllm-omni", "the vLLM-Omni server", query={"duplex": "1"}, model_in_url=False, speaks_first=True, full_duplex=True
)
"""With the model in the URL the server would open a session of its own before it knows voice and role."""
GPT_LIVE: Final = Dialect(
    "gpt-live",
    "OpenAI GPT-Live",
    path="/live/sessions",
    model_in_url=False,
    speaks_first=True,
    full_duplex=True,
    live=True,
    costs_money=True,
)

DIALECTS: Final = {one.name: one for one in (OPENAI, AZURE, XAI, VLLM_OMNI, GPT_LIVE)}


def dialect_of(name: str, url: str, model: str) -> Dialect:
    """The dialect that is set, or for `auto` the one that the URL and the model's name tell."""
    host = (urlsplit(url).hostname or "").lower()
    at_openai = host == "api.openai.com"
    if name != "auto":
        return OTHER if name == "openai" and not at_openai else DIALECTS[name]
    path, query = urlsplit(url).path, dict(parse_qsl(urlsplit(url).query))
    if path.rstrip("/").endswith("/live/sessions") or model.startswith("gpt-live"):
        return GPT_LIVE
    if "duplex" in query or "personaplex" in model.lower():
        return VLLM_OMNI
    if host.endswith((".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")):
        return AZURE
    if host == "api.x.ai" or host.endswith(".x.ai"):
        return XAI
    return OPENAI if at_openai else OTHER


def needs_key(url: str) -> bool:
    """Whether it is the address of a service that gives no session without a key. A server of one's own may need none."""
    return dialect_of("auto", urlsplit(url)._replace(path="", query="").geturl(), "").costs_money
