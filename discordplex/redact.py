"""What nobody may read in a log, an error or a listing: tokens, and passwords inside URLs. Pure."""

import re

MASK = "***"
"""What stands where a secret was."""

DISCORD_TOKEN = re.compile(r"(?<![\w-])[\w-]{23,30}\.[\w-]{6,7}\.[\w-]{27,}")
"""User id in base64, a timestamp, a signature: the shape of every bot token since 2015."""

URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
"""`user:password@` in front of a host."""

URL_SECRET = re.compile(r"([?&](?:access_token|token|api_key|key|auth|password|secret)=)[^&\s\"']+", re.IGNORECASE)
"""A query parameter that is named like a secret."""


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """`text` with each of `secrets` and everything that looks like one masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    if "." in text:
        text = DISCORD_TOKEN.sub(MASK, text)
    if "://" in text or "?" in text:
        text = URL_SECRET.sub(rf"\1{MASK}", URL_PASSWORD.sub(f"{MASK}@", text))
    return text
