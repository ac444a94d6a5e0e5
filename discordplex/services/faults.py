"""Errors of a server to one plain sentence that names the service and what to do, and a short cause for logs. Pure.

The SDK and its HTTP library raise classes of many modules, whose places differ between versions, so errors are judged by what they carry
(a status, a body) and by the names of their classes. A server's own words may be part of a sentence, never of a cause. The server's address
is in neither: sentences are posted publicly, and the setting tells the owner which server is meant.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from discordplex.descriptors import NO_DESCRIPTORS, says_no_descriptors
from discordplex.errors import DiscordplexError
from discordplex.plaintext import one_line
from discordplex.redact import redact
from discordplex.services.service import NO_KEY, Service, ServiceName

NOUN: Final[dict[ServiceName, str]] = {
    "transcribe": "The transcription",
    "think": "The chat model",
    "speak": "The speech synthesis",
}
"""What each service is called in a sentence."""

SERVER: Final = "its server"
"""What its server is called in a sentence that is posted."""

PATIENCE_S: Final = 3.0
"""A server that asks to wait longer is not waited for: an error message is better than silence."""
SPOKEN_LIMIT: Final = 200
"""Characters of a server's own words that are passed on."""
READ_LIMIT: Final = 2_000
"""Characters of a server's own words that are examined."""
RETIRED: Final = re.compile(r"deprecat|shut ?down|decommission|retired|no longer|discontinued|end of life", re.IGNORECASE)
NO_CREDIT: Final = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit", re.IGNORECASE)
HUNG_UP: Final = frozenset({"RemoteProtocolError", "ReadError", "WriteError"})
"""The HTTP library's errors for a connection that was established and broke."""
OUT_OF_TIME: Final = frozenset({"APITimeoutError", "TimeoutException", "TimeoutError"})
UNREACHABLE: Final = frozenset({"APIConnectionError", "TransportError", "RequestError", "OSError"})
DEEPEST: Final = 12
"""How many errors that caused each other are examined."""
REDIRECTS, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_ERRORS = range(300, 400), 401, 403, 404, 429, 500

MODEL_ENDS: Final = {
    "whisper-1": "gpt-transcribe",
    "gpt-4o-transcribe": "gpt-transcribe",
    "gpt-4o-mini-transcribe": "gpt-transcribe",
    "gpt-4o-mini": "gpt-6-luna",
}
"""OpenAI models that are being switched off, and their replacement at the same address; there is none for speech synthesis."""


class ServiceError(DiscordplexError):
    """A service failed. `str()` is the sentence for people, `cause` a short code for logs."""

    def __init__(self, message: str, *, service: ServiceName, cause: str = "") -> None:
        super().__init__(message)
        self.service: ServiceName = service
        self.cause = cause


class HttpError(Exception):
    """A server answered with a status other than success. `body` is its JSON, None where it sent none."""

    def __init__(self, status_code: int, headers: Mapping[str, str], body: Any = None) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code
        self.headers = headers
        self.body = body


class OverdueError(Exception):
    """An answer was not complete within its service's time limit."""


class Fault(NamedTuple):
    """What happened: a code for logs, and the end of a sentence about a service."""

    cause: str
    words: str


def service_error(error: BaseException, service: Service) -> ServiceError:
    """The ServiceError for `error`; a ServiceError is returned as it is."""
    if isinstance(error, ServiceError):
        return error
    fault = diagnose(error, service, SERVER)
    return ServiceError(f"{NOUN[service.name]} failed: {fault.words}", service=service.name, cause=fault.cause)


def failed(service: Service, what: str, cause: str) -> ServiceError:
    """The error for a failure of this service in our own words, such as `sent no sound`."""
    return ServiceError(f"{NOUN[service.name]} failed: {SERVER} {what}", service=service.name, cause=cause)


def no_api_error(service: Service) -> ServiceError:
    """The error for an answer that is not from the API, such as a proxy's web page."""
    return ServiceError(f"{NOUN[service.name]} failed: {not_an_api(service)}", service=service.name, cause="not an API")


def error_in_answer(service: Service, body: Any) -> ServiceError:
    """The error for an answer with a success status and an error inside. `body` is that error."""
    words = server_words(body, service)
    cause = "error in the answer"
    return failed(
        service, f"answers with an error{f' ({words})' if words else ''}. Check {service.model_setting} and the settings beside it.", cause
    )


def raise_error_in(message: Any, service: Service) -> None:
    """Raise ServiceError where this part of an answer is an error message of the server."""
    if isinstance(message, Mapping) and (message.get("error") or "error" in (message.get("object"), message.get("type"))):
        raise error_in_answer(service, message)


def sentence(error: BaseException, service: Service, server: str = SERVER) -> str:
    """The failure in words; `server` is what the service's server is called in them."""
    return str(error) if isinstance(error, ServiceError) else f"{NOUN[service.name]} failed: {diagnose(error, service, server).words}"


def diagnose(error: BaseException, service: Service, server: str) -> Fault:
    """What `error` means."""
    if isinstance(error, HttpError):
        return Fault(f"HTTP {error.status_code}", refusal(error, service, server))
    chain = list(causes(error))
    if any(map(says_no_descriptors, chain)):
        return Fault("out of descriptors", f"{NO_DESCRIPTORS}.")
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if "ProxyFailedError" in kinds:
        return Fault("proxy", str(error))
    ends = f"Try another {service.model_setting}, or raise {service.setting('total_timeout_s')}."
    meanings = (
        ({"OverdueError"}, "too late", f"{server} had not finished after {service.total_timeout_s:g} s. {ends}"),
        (
            OUT_OF_TIME,
            "timeout",
            f"{server} sent nothing for {service.timeout_s:g} s. It is too slow, or it hangs. Try again, or another server.",
        ),
        (HUNG_UP, "hung up", f"{server} closed the connection before its answer was complete. Try again, or another server."),
        (UNREACHABLE, "unreachable", f"{server} cannot be reached. Is it running, and is {service.url_setting} right?"),
    )
    broke_off = Fault(type(error).__name__, f"{server} failed. Try again, or another server.")
    return next((Fault(cause, words) for names, cause, words in meanings if kinds & names), broke_off)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    found: BaseException | None = error
    for _ in range(DEEPEST):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def refusal(error: HttpError, service: Service, server: str) -> str:
    """What an HTTP status means for this service."""
    status, text = error.status_code, whole_text(error)
    if status == NOT_FOUND:
        return not_found(text, service, server)
    if status == TOO_MANY:
        return too_many(error, text, server)
    if status >= SERVER_ERRORS:
        return f"{server} reports an internal error (error {status}). Try again later, or another server."
    said = server_words(error.body, service)
    detail = f"error {status}{f': {said}' if said else ''}"
    other = f"{server} refuses the request ({detail}). Check {service.model_setting} and the settings beside it."
    sent_on = (
        f"{server} redirects to another address (redirect {status}). The bot does not send speech and keys there. "
        f"Set {service.url_setting} to the final address, with https:// if the server wants it."
    )
    words = {
        UNAUTHORIZED: f"{server} does not accept the API key. Set {service.key_setting}.",
        FORBIDDEN: f'{server} does not let this key use "{service.model}". Choose another {service.model_setting}, or another key.',
    }
    return sent_on if status in REDIRECTS else words.get(status, other)


def not_found(text: str, service: Service, server: str) -> str:
    """The sentence for a 404: an unknown model, a retired one, or no such server."""
    if RETIRED.search(text):
        return f'"{service.model}" was shut down at {server}. {replacement(service)}'
    if "model" in text.lower():
        return f'{server} has no model "{service.model}". Choose another {service.model_setting}.'
    return not_an_api(service)


def replacement(service: Service) -> str:
    """What to do about a model that no longer exists."""
    successor = MODEL_ENDS.get(service.model)
    if successor:
        return f'Set {service.model_setting} to its replacement, "{successor}".'
    if service.name == "speak":
        return f"Set {service.model_setting}, or cascade.speak.base_url to a server that has speech models."
    return f"Choose another {service.model_setting}."


def too_many(error: HttpError, text: str, server: str) -> str:
    """The sentence for a 429: too many requests, or no credit left."""
    if NO_CREDIT.search(text):
        return f"the account at {server} has no credit left. Check its billing page."
    wait_s = retry_after_s(error)
    how_long = f"{wait_s:.0f} s" if wait_s is not None and wait_s >= 1 else "a while"
    return f"{server} gets too many requests and asks to wait {how_long}. Speak less often, or raise the account's limits."


def not_an_api(service: Service) -> str:
    """The sentence for an answer that is not from the API."""
    return f"the server that answers is not an OpenAI-compatible server. Check {service.url_setting}, and any proxy in between."


def retry_after_s(error: BaseException) -> float | None:
    """How long the server asks us to wait, None where it does not say."""
    headers = error.headers if isinstance(error, HttpError) else {}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return min(max(0.0, float(headers[name]) * unit), 1e6)
        except (KeyError, ValueError):
            continue
    return None


def may_repeat_after_s(error: BaseException) -> float | None:
    """How long until a failed request may be repeated once, None where it may not.

    A request is repeated where the server refuses for the moment and names a short wait, and where a connection was closed under us, since
    a kept connection may be closed when we write to it.
    """
    if isinstance(error, HttpError):
        wait_s = retry_after_s(error) if error.status_code == TOO_MANY else None
        return wait_s if wait_s is not None and wait_s <= PATIENCE_S and not NO_CREDIT.search(whole_text(error)) else None
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return 0.0 if "APIConnectionError" in kinds and "APITimeoutError" not in kinds else None


def server_words(body: Any, service: Service) -> str:
    """The server's own words: short, on one line, without anything that looks like a secret; "" where it sent none or a page."""
    words: Any = body
    for name in ("error", "message"):
        if isinstance(words, Mapping):
            words = words.get(name) or words.get("message") or words.get("detail")
    if not isinstance(words, str) or "<" in words[:READ_LIMIT]:
        return ""
    secrets = frozenset({service.api_key} - {NO_KEY, ""})
    flat = one_line(words[:READ_LIMIT])  # first: a hidden character within a key would keep it from being recognised
    if len(words) > READ_LIMIT:
        flat = flat[: -len(service.api_key)]  # a key may have been cut there
    return one_line(redact(flat, secrets), SPOKEN_LIMIT).rstrip(" .")


def whole_text(error: HttpError) -> str:
    """All text that the server sent, to search for words in."""
    return str(error.body)[: 8 * READ_LIMIT]
