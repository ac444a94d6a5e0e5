"""The API's JSON, in OpenAI's format. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

CREATED: Final = 1_700_000_000

SHUTDOWN_DATES: Final[Mapping[str, str | None]] = {
    "whisper-1": "2027-02-26",
    "gpt-4o-mini": "2027-01-14",
    "tts-1": "2027-01-06",
    "gpt-transcribe": None,
    "gpt-6-luna": None,
}
"""The stand-in's models, and when OpenAI will switch theirs off (the official SDK's documentation, November 2026)."""

CODES: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("invalid_request_error", "", "Invalid value for a parameter."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com.",
    ),
    403: ("invalid_request_error", "model_not_found", "Project does not have access to model `{model}`."),
    404: ("invalid_request_error", "model_not_found", "The model `{model}` does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for `{model}`. Please try again in 1s."),
    500: ("server_error", "", "The server had an error while processing your request. Sorry about that!"),
}
"""For each status: the error's type, code and message. The API quotes the key's beginning and end when it refuses one."""

SPECIAL: Final[Mapping[str, str]] = {
    "model_shut_down": "The model `{model}` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
}
"""Messages of codes that have no status of their own."""

PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


def error(status: int, *, model: str = "", key: str = "", code: str = "") -> dict[str, Any]:
    """An error's body."""
    kind, usual_code, message = CODES.get(status, CODES[500])
    message = SPECIAL.get(code, message).format(model=model, key=f"{key[:3]}***{key[-4:]}")
    shown_code = "model_not_found" if code == "model_shut_down" else code or usual_code or None
    return {"error": {"message": message, "type": kind, "param": None, "code": shown_code}}


def models(names: Sequence[str]) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Any]:
    """One model of the list."""
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "stand-in", "shutdown_date": SHUTDOWN_DATES.get(name)}


def chunk(number: int, model_name: str, *, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A piece of a streamed reply."""
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model_name,
        "choices": [{"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}],
    }


def completion(number: int, model_name: str, text: str) -> dict[str, Any]:
    """A whole reply."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model_name,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": len(text.split()), "total_tokens": 1 + len(text.split())},
    }


def event(data: Mapping[str, Any] | str) -> bytes:
    """A server-sent event."""
    return b"data: " + (data if isinstance(data, str) else json.dumps(data)).encode() + b"\n\n"


def tokens(text: str) -> list[str]:
    """A reply cut about as a tokenizer does: words with the space before them."""
    words = text.split(" ")
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]
