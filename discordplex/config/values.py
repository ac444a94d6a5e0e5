"""The types of settings' values.

The checks return the value in its clean form or raise ValueError, worded to follow the key's name.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from discordplex.config.sources import nearest
from discordplex.plaintext import one_line, trimmed, visible

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9a-f:.]+(?:%[A-Za-z0-9_.-]+)?")
"""A name as DNS and container networks have them, or an IPv6 address."""


def text(value: str) -> str:
    """Text without surrounding white space; not empty."""
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def token(value: SecretStr) -> SecretStr:
    """A bot token: one word."""
    word = visible(value.get_secret_value()).strip()
    if not word or re.search(r"[\s\"'`]", word):
        raise ValueError("must be the bare bot token, one word without blanks")
    return SecretStr(word)


def api_key(value: SecretStr) -> SecretStr:
    """A server's key: one word, of characters that a header can carry."""
    word = visible(value.get_secret_value()).strip()
    if not word or re.search(r"[^!-~]", word):
        raise ValueError("must be the bare API key, one word without blanks")
    return SecretStr(word)


def url(value: str, *schemes: str) -> str:
    """A URL of one of the schemes, with a host, without surrounding invisible characters."""
    address = trimmed(value)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        whole = parts.scheme in schemes and HOST.fullmatch(host.encode("idna").decode()) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole or re.search(r"\s", address) or not address.isprintable() or parts.fragment:
        raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)} and names a host")
    return address


def api_url(value: str) -> str:
    """The REST base with its version, without a slash at the end."""
    base = url(value, "https", "http").rstrip("/")
    if "@" in urlsplit(base).netloc or "?" in base:
        raise ValueError("must carry no user, no password and nothing behind a question mark")
    if not re.search(r"/v\d+$", base):
        raise ValueError("must end with the API's version, as in https://discord.com/api/v10")
    return base


def base_url(value: str) -> str:
    """What precedes /chat/completions and other paths, without a slash at the end."""
    return url(value, "https", "http").rstrip("/")


def realtime_url(value: str) -> str:
    """The base URL of a Realtime server, without a slash at the end."""
    return url(value, "https", "http", "wss", "ws").rstrip("/")


def cluster_url(value: str) -> str:
    """The URL of a PostgreSQL database; its host may be missing, for a socket on this machine."""
    address = trimmed(value)
    if not re.match(r"postgres(ql(\+asyncpg)?)?://", address) or re.search(r"\s", address) or not address.isprintable():
        raise ValueError(
            "must be the URL of a PostgreSQL database, as in postgresql://user:password@host/database: SQLite is for one process"
        )
    return address


def line(value: str) -> str:
    """One line without surrounding white space; may be empty."""
    word = value.strip()
    if not word.isprintable():
        raise ValueError("must be one line")
    return word


def engine_urls(value: tuple[str, ...]) -> tuple[str, ...]:
    """WebSocket servers, at least one, no duplicates."""
    urls = tuple(url(one, "ws", "wss") for one in value)
    if not urls:
        raise ValueError("must name at least one server")
    if len({server_of(one) for one in urls}) < len(urls):
        raise ValueError("names a server twice; each server carries one call at a time")
    return urls


def server_of(address: str) -> tuple[str, int | None, str]:
    """What tells one server from another: host, port and path. Every name of this machine's loopback is one host."""
    parts = urlsplit(address)
    host = (parts.hostname or "").rstrip(".")
    here = host in ("localhost", "::1") or host.startswith("127.")
    return "localhost" if here else host, parts.port, parts.path.rstrip("/")


def snowflake(value: Any) -> str | None:
    """A Discord id as text, None where it is none; TOML may give it as a number."""
    word = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return word if re.fullmatch(r"[1-9][0-9]{0,19}", word) else None


def captions(value: Any) -> Any:
    """`voice`, `thread`, `off` or a channel id."""
    word = value.strip() if isinstance(value, str) else ""
    channel_id = snowflake(value)
    if word not in ("voice", "thread", "off") and channel_id is None:
        raise ValueError('must be "voice", "thread", "off" or the id of a text channel')
    return channel_id or word


def prefix(value: str) -> str:
    """A few characters that begin a command, or an empty text."""
    word = value.strip()
    if len(word) > PREFIX_LENGTH or re.search(r"\s", word) or word.startswith("/"):
        raise ValueError(
            f'must be up to {PREFIX_LENGTH} characters without blanks, such as "!", and no slash: Discord keeps that for itself'
        )
    return word


def engine_name(value: str) -> str:
    """A few words that people read, or an empty text."""
    words = one_line(value)
    if len(words) > ENGINE_NAME_LENGTH:
        raise ValueError(f"must be up to {ENGINE_NAME_LENGTH} characters")
    return words


def engine_kinds(value: Any) -> Any:
    """One kind as a text, or several as a list without duplicates."""
    several = isinstance(value, list | tuple)
    words = [one.strip() if isinstance(one, str) else one for one in (value if several else [value])]
    for word in words:
        if word not in KINDS:
            raise ValueError(f"must be {KINDS_LISTED}, or a list of them{suggestion(word)}")
    if not words:
        raise ValueError("must name at least one kind of engine")
    if len(set(words)) < len(words):
        raise ValueError("names a kind twice; it is a list in order of preference")
    return tuple(words) if several else words[0]


def suggestion(word: Any) -> str:
    """What was probably meant instead of a kind of engine, as the end of a sentence; empty where nothing is similar."""
    if isinstance(word, str) and re.search(r"[,\[]", word):
        return """ (JSON in a variable: '["personaplex", "cascade"]')"""
    near = nearest(word, KINDS) if isinstance(word, str) else None
    return f' (did you mean "{near}"?)' if near else ""


def voices_by_kind(value: Any) -> Any:
    """For each voice, what it is called by other kinds of engines."""
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        raise ValueError(VOICES_FORM)
    for kind, name in (pair for names in value.values() for pair in names.items()):
        if kind not in KINDS:
            raise ValueError(f"must have only {KINDS_LISTED} within a voice{suggestion(kind)}")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(VOICES_FORM)
    return {voice.strip(): {kind: name.strip() for kind, name in names.items()} for voice, names in value.items()}


def snowflakes(value: Any) -> Any:
    """Ids of channels or roles."""
    given = list(value) if isinstance(value, list | tuple) else [None]
    found = [one for one in map(snowflake, given) if one is not None]
    if len(found) < len(given):
        raise ValueError('must be a list of ids, as in ["123456789012345678"]')
    return tuple(found)


EngineKind: TypeAlias = Literal["personaplex", "realtime", "cascade"]

KINDS: Final[tuple[EngineKind, ...]] = get_args(EngineKind)
KINDS_LISTED: Final = " or ".join(f'"{kind}"' for kind in KINDS)

VOICES_FORM: Final = 'must be a table of tables, as in { "NATF0.pt" = { cascade = "shimmer" } }'


def listen_address(value: str) -> str:
    """A host and a port to listen on, or an empty text."""
    address = value.strip()
    host, colon, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    plausible = bool(HOST.fullmatch(bare)) and (":" not in bare or bare != host)
    if address and not (colon and plausible and port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise ValueError('must be an address and a port, such as "127.0.0.1:9464", or empty')
    return address


def password(value: SecretStr) -> SecretStr:
    """A password that is too long to be guessed over the network, of characters that a browser can send."""
    word = value.get_secret_value()
    if len(word) < PASSWORD_LENGTH or not word.isprintable() or word != word.strip():
        raise ValueError(f"must be one line of at least {PASSWORD_LENGTH} characters, for instance from: openssl rand -base64 18")
    return value


def memory_seconds(value: float) -> float:
    """How long a model remembers: long enough to say something, or 0 for ever."""
    if value and not SHORTEST_MEMORY_S <= value <= LONGEST_MEMORY_S:
        raise ValueError(f"must be 0, or from {SHORTEST_MEMORY_S} to {LONGEST_MEMORY_S}")
    return value


SHORTEST_MEMORY_S, LONGEST_MEMORY_S = 5, 86400
"""With less, a call would do nothing but open conversations."""

LAST_PORT = 65535

PASSWORD_LENGTH = 12
"""The shortest password. Nothing else slows guessing down."""

ENGINE_NAME_LENGTH = 100
"""It is part of the first sentence of every call."""

PREFIX_LENGTH = 8
"""Enough for any prefix."""

Text = Annotated[str, AfterValidator(text)]
BotToken = Annotated[SecretStr, AfterValidator(token)]
ApiKey = Annotated[SecretStr, AfterValidator(api_key)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
ApiUrl = Annotated[str, AfterValidator(api_url)]
RealtimeUrl = Annotated[str, AfterValidator(realtime_url)]
Line = Annotated[str, AfterValidator(line)]
ClusterUrl = Annotated[str, AfterValidator(cluster_url)]
EngineUrls = Annotated[tuple[str, ...], AfterValidator(engine_urls)]
Captions = Annotated[str, BeforeValidator(captions)]
Prefix = Annotated[str, AfterValidator(prefix)]
EngineName = Annotated[str, AfterValidator(engine_name)]
EngineKinds = Annotated[EngineKind | tuple[EngineKind, ...], BeforeValidator(engine_kinds)]
Voices = Annotated[dict[str, dict[str, str]], BeforeValidator(voices_by_kind)]
Ids = Annotated[tuple[str, ...], BeforeValidator(snowflakes)]
ListenAddress = Annotated[str, AfterValidator(listen_address)]
MemorySeconds = Annotated[float, AfterValidator(memory_seconds)]
Password = Annotated[SecretStr, AfterValidator(password)]
