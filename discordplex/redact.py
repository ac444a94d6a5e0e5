"""Keeps tokens, keys and passwords inside URLs out of logs, errors and listings. Pure.

`redact` masks everything in a text that looks like a secret; `shown_url` shows only the parts of a URL that cannot be secret.
"""

import re
from typing import Final

MASK: Final = "***"
"""Replaces a secret."""

DISCORD_TOKEN: Final = re.compile(r"(?<![\w-])[\w-]{23,30}\.[\w-]{6,7}\.[\w-]{27,}")
"""User id in base64, a timestamp, a signature: the shape of every bot token since 2015."""

SERVICE_KEY: Final = re.compile(r"(?<![\w-])(?:sk|pk|rk|gsk|xai|hf|ghp|key)[-_][\w-]{12,}")
"""The prefixes of API keys of common services."""

ADDRESS: Final = re.compile(r"(?<=://)([^\s\"'<>/?#]*)([^\s\"'<>]*)")
"""The part of a URL after its scheme: the authority, and the rest."""

NAMED_LIKE_ONE: Final = r"[\w-]{0,32}(?:token|key|auth|password|passwd|pwd|secret|signature|credential|code)s?"

URL_SECRET: Final = re.compile(rf"([?&;]{NAMED_LIKE_ONE}=)[^&\s\"']+", re.IGNORECASE)
"""A query parameter whose name is that of a secret."""

ASSIGNED_SECRET: Final = re.compile(
    r"(?<![\w-])((?:api[_-]?key|(?:access|refresh|bot|id)?[_-]?token|password|passwd|pwd|client[_-]?secret|secret)"
    r"(?:\s?=\s?|[\"']\s?:\s?)[\"']?)[^\s\"'&,;}]+",
    re.IGNORECASE,
)
"""`api_key=...`, `password = '...'`, `"token": "..."`."""

HEADER: Final = re.compile(
    r"(?<![\w-])((?:proxy-)?authorization|x-api-key|api-key|cookie|set-cookie)([\"']?\s?[:=]\s?[\"']?)((?:bot|bearer|basic)\s)?[^\s\"',;}]+",
    re.IGNORECASE,
)
"""A header with a secret, as people and programs print it."""

SCHEME_AND_KEY: Final = re.compile(r"(?<![\w-])(bearer|basic)\s[\w.~+/=-]{8,}", re.IGNORECASE)

HOOK: Final = re.compile(r"(/(?:webhooks|interactions)/[0-9]{5,20}/)[^/\s?\"']+")
"""Discord's webhook and interaction addresses: anybody who knows them can write."""


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """`text` with `secrets` and everything that looks like a secret masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    if "://" in text:
        text = ADDRESS.sub(without_login, text)
    text = URL_SECRET.sub(rf"\1{MASK}", DISCORD_TOKEN.sub(MASK, text))
    text = HOOK.sub(rf"\1{MASK}", SERVICE_KEY.sub(MASK, text))
    text = SCHEME_AND_KEY.sub(rf"\1 {MASK}", HEADER.sub(rf"\1\2\3{MASK}", text))
    return ASSIGNED_SECRET.sub(rf"\1{MASK}", text)


def without_login(address: re.Match[str]) -> str:
    """The address without `user:password@`. The password may contain unescaped slashes and `@`."""
    authority, rest = address[1], address[2]
    if "@" in authority or ("@" in rest and ":" in authority):
        return f"{MASK}@{address[0].rpartition('@')[2]}"
    return authority + rest


URL: Final = re.compile(r"(https?|wss?|(?:sqlite|postgres|postgresql|mysql|mariadb)(?:\+[a-z0-9]{1,12})?)://([^\r\n]*)", re.IGNORECASE)
AUTHORITY: Final = re.compile(r"(?:(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:,|$))*", re.IGNORECASE)
BARE_HOST: Final = re.compile(r"(?:localhost|[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}):[0-9]{1,5}", re.IGNORECASE)
DATABASES: Final = ("postgres", "mysql", "mariadb")
DATABASE_NAME: Final = re.compile(r"/[\w-]{1,63}")
KNOWN_SEGMENT: Final = re.compile(r"|v[0-9]{1,3}|api|chat|openai|deployments|realtime|inference|compatible-mode|discordplex", re.IGNORECASE)
"""Parts of a path that are not secret. Other parts may be: some services put keys there."""


def shown_url(url: str) -> str:
    """The scheme, host, port and known parts of the path of a URL; of a database also its name or file. Everything else is masked.

    A URL that cannot be split with certainty, such as one with an unescaped slash in the password, is masked as a whole.
    """
    text = url.strip()
    whole = URL.fullmatch(text)
    if whole is None:
        return text if BARE_HOST.fullmatch(text) else MASK
    scheme, rest = whole[1], whole[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    _, at, host = authority.rpartition("@")
    if "@" in rest[len(authority) :] or not AUTHORITY.fullmatch(host):
        return f"{scheme}://{MASK}"
    path, mark, _ = rest[len(authority) :].partition("?")
    path, hash_mark, _ = path.partition("#")
    if not scheme.lower().startswith("sqlite") and not (scheme.lower().startswith(DATABASES) and DATABASE_NAME.fullmatch(path)):
        path = "/".join(part if KNOWN_SEGMENT.fullmatch(part) else MASK for part in path.split("/"))
    return f"{scheme}://{f'{MASK}@' if at else ''}{host}{path}{f'{mark or hash_mark}{MASK}' if mark or hash_mark else ''}"
