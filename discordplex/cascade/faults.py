"""Whatever can go wrong at a server -> one plain sentence that names the stage and the mend, and never the key. Pure.

The SDK and its HTTP library raise classes of many modules, whose places differ between their versions; what is judged here is what they
carry (a status, a body) and the names of their classes.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from discordplex.cascade.stage import Stage, StageName
from discordplex.errors import DiscordplexError
from discordplex.redact import redact

NOUN: Final[dict[StageName, str]] = {
    "transcribe": "The transcription",
    "think": "The chat model",
    "speak": "The speech synthesis",
}
"""What each stage is called in a sentence."""

PATIENCE_S: Final = 3.0
"""A server that asks to wait longer is not waited for: people would rather hear that than silence."""
SPOKEN_LIMIT: Final = 200
"""Characters of a server's own words that are passed on."""
RETIRED: Final = re.compile(r"deprecat|shut ?down|decommission|retired|no longer|discontinued|end of life", re.IGNORECASE)
NO_CREDIT: Final = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit", re.IGNORECASE)
HUNG_UP: Final = {"RemoteProtocolError", "ReadError", "WriteError"}
"""The HTTP library's classes for a connection that was there."""
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_ERRORS = 401, 403, 404, 429, 500

MODEL_ENDS: Final = {
    "whisper-1": "gpt-transcribe",
    "gpt-4o-transcribe": "gpt-transcribe",
    "gpt-4o-mini-transcribe": "gpt-transcribe",
    "gpt-4o-mini": "gpt-6-luna",
}
"""OpenAI's models that are being switched off, and what takes their place at the same address; speech synthesis has nothing."""


class StageError(DiscordplexError):
    """A stage failed; `str()` is the sentence for people."""

    def __init__(self, message: str, *, stage: StageName) -> None:
        super().__init__(message)
        self.stage: StageName = stage


def stage_error(error: BaseException, stage: Stage) -> StageError:
    """What to tell of `error`; a StageError is its own answer."""
    return error if isinstance(error, StageError) else StageError(sentence(error, stage), stage=stage.name)


def failed(stage: Stage, what: str) -> StageError:
    """A failure of this stage in our own words, such as `sent no sound`."""
    return StageError(f"{NOUN[stage.name]} failed: {stage.host} {what}", stage=stage.name)


def no_api_error(stage: Stage) -> StageError:
    """Something answered, such as a proxy's web page, that is not what we talk to."""
    return StageError(f"{NOUN[stage.name]} failed: {not_an_api(stage)}", stage=stage.name)


def refuse_page(content_type: str, stage: Stage, *kinds: str) -> None:
    """Raise StageError where what came is of one of these kinds, such as `html`: it is not what we asked for."""
    if any(kind in content_type.lower() for kind in kinds):
        raise no_api_error(stage)


def sentence(error: BaseException, stage: Stage) -> str:
    """The failure in words."""
    noun, host = NOUN[stage.name], stage.host
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return f"{noun} failed: {refusal(status, error, stage)}"
    if kinds & {"APITimeoutError", "TimeoutException", "TimeoutError"}:
        return f"{noun} failed: {host} sent nothing for {stage.timeout_s:g} s. It is too slow or stuck; try again, or another server."
    if (kinds | {kind.__name__ for kind in type(error.__cause__).__mro__}) & HUNG_UP:
        return f"{noun} failed: {host} hung up before its answer was whole. Try again, or another server."
    if kinds & {"APIConnectionError", "TransportError", "RequestError", "OSError"}:
        return f"{noun} failed: {host} cannot be reached. Is it running, and is {stage.url_setting} right?"
    if kinds & {"APIResponseValidationError", "JSONDecodeError"}:
        return f"{noun} failed: {not_an_api(stage)}"
    words = said(error)
    return f"{noun} failed: {host} broke off{f' ({words})' if words else ''}. Try again, or another server."


def refusal(status: int, error: BaseException, stage: Stage) -> str:
    """What an HTTP status means at this stage."""
    host, text = stage.host, whole_text(error)
    if status == UNAUTHORIZED:
        return f"{host} does not accept the API key. Set {stage.key_setting}."
    if status == FORBIDDEN:
        return f'{host} does not let this key use "{stage.model}". Choose another {stage.model_setting}, or another key.'
    if status == NOT_FOUND:
        return not_found(text, stage)
    if status == TOO_MANY:
        return too_many(error, text, stage)
    if status >= SERVER_ERRORS:
        return f"{host} has trouble of its own (error {status}). Try again later, or another server."
    words = said(error)
    return f"{host} refuses the request (error {status}{f': {words}' if words else ''}). Look at {stage.model_setting} and its neighbours."


def not_found(text: str, stage: Stage) -> str:
    """No such model, not any more, or no such server at all."""
    if RETIRED.search(text):
        return f'"{stage.model}" was shut down at {stage.host}. {replacement(stage)}'
    if "model" in text.lower():
        return f'{stage.host} has no model "{stage.model}". Choose another {stage.model_setting}.'
    return not_an_api(stage)


def replacement(stage: Stage) -> str:
    """What to do about a model that is gone."""
    successor = MODEL_ENDS.get(stage.model)
    if successor:
        return f'Set {stage.model_setting} to its replacement, "{successor}".'
    if stage.name == "speak":
        return f"Set {stage.model_setting}, or cascade.speak.base_url to a server that has speech models."
    return f"Choose another {stage.model_setting}."


def too_many(error: BaseException, text: str, stage: Stage) -> str:
    """Told to wait, or out of money."""
    if NO_CREDIT.search(text):
        return f"the account at {stage.host} has no credit left. Look at its billing page."
    wait_s = retry_after_s(error)
    how_long = f"{wait_s:.0f} s" if wait_s is not None and wait_s >= 1 else "a while"
    return f"{stage.host} is asked too often and wants us to wait {how_long}. Speak less often, or raise the account's limits."


def not_an_api(stage: Stage) -> str:
    """What answered is not what we talk to."""
    return f"what answers at {stage.host} is not an OpenAI-compatible server. Check {stage.url_setting}, and any proxy on the way."


def retry_after_s(error: BaseException) -> float | None:
    """How long the server wants us to wait, None where it does not say."""
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    return None


def may_repeat_after_s(error: BaseException) -> float | None:
    """How long until a failed request may be made once more, None where it may not.

    A server that is asked too often and names a short wait is asked again; so is one whose connection was closed under us, since a kept
    connection may be at its end when we write to it.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if getattr(error, "status_code", None) == TOO_MANY:
        wait_s = retry_after_s(error)
        return wait_s if wait_s is not None and wait_s <= PATIENCE_S and not NO_CREDIT.search(whole_text(error)) else None
    return 0.0 if "APIConnectionError" in kinds and "APITimeoutError" not in kinds else None


def said(error: BaseException) -> str:
    """The server's own words, short, on one line, without anything that looks like a secret; "" where it sent a page."""
    body: Any = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(words, str) or "<" in words:
        return ""
    return redact(" ".join(words.split()))[:SPOKEN_LIMIT].rstrip(" .")


def whole_text(error: BaseException) -> str:
    """All that the server sent along, to look for words in."""
    body = getattr(error, "body", None)
    try:
        return json.dumps(body) if body is not None else str(error)
    except (TypeError, ValueError):
        return str(error)
