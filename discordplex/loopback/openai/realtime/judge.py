"""What the official SDK's types make of an event, in the words in which OpenAI refuses one. Pure; loads the SDK at the first event."""

import functools
import importlib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

SESSION_FIELDS: Final = frozenset({"session.id", "session.object", "session.expires_at", "session.capabilities"})
"""Fields that real services send beyond the SDK's types."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an event is refused, as an error event says it."""

    code: str
    message: str
    param: str | None = None
    type: str = "invalid_request_error"


def client_objection(event: Mapping[str, Any]) -> Objection | None:
    """Why OpenAI would refuse this event of a client; None where it would take it."""
    kind = event.get("type")
    model = client_events().get(kind) if isinstance(kind, str) else None
    if model is None:
        return not_among("type", kind, list(client_events())) if "type" in event else missing("type")
    if kind == "session.update" and isinstance(event.get("session"), dict):
        return session_objection(event["session"])
    return objection(model, event)


def session_objection(session: Mapping[str, Any]) -> Objection | None:
    """The same for the session of a `session.update`. The SDK's own type is a union with the transcription session, which hides errors."""
    return missing("session.type") if "type" not in session else objection(sdk().RealtimeSessionCreateRequest, session, "session.")


def server_complaint(event: Mapping[str, Any]) -> str:
    """What is wrong with an event of the server; empty where nothing is."""
    model = server_events().get(str(event.get("type")))
    if model is None:
        return "no such event"
    found = objection(model, event, allowed=SESSION_FIELDS)
    return found.message if found else ""


def additive_complaint(event: Mapping[str, Any]) -> str:
    """The same for a server that adds events and fields of its own: what the types name must be as they say."""
    model = server_events().get(str(event.get("type")))
    found = None if model is None else objection(model, event)
    return found.message if found and found.code != "unknown_parameter" else ""


def live_objection(event: Mapping[str, Any]) -> Objection | None:
    """Why GPT-Live would refuse this event of a client."""
    kind = event.get("type")
    model = live_events()[0].get(kind) if isinstance(kind, str) else None
    if model is None:
        return not_among("type", kind, list(live_events()[0])) if "type" in event else missing("type")
    return objection(model, event)


def live_complaint(event: Mapping[str, Any]) -> str:
    """What is wrong with an event of a GPT-Live server; empty where nothing is."""
    model = live_events()[1].get(str(event.get("type")))
    if model is None:
        return "no such event"
    found = objection(model, event)
    return found.message if found else ""


def objection(model: type[BaseModel], data: Mapping[str, Any], prefix: str = "", allowed: frozenset[str] = frozenset()) -> Objection | None:
    """The first thing that is wrong with `data`."""
    try:
        valid = model.model_validate(data, strict=True)
    except ValidationError as error:
        return from_pydantic(error, prefix)
    unknown = next((path for path in unknown_fields(valid, prefix) if path not in allowed), None)
    return None if unknown is None else Objection("unknown_parameter", f"Unknown parameter: '{unknown}'.", unknown)


def unknown_fields(value: object, path: str) -> Iterator[str]:
    """The paths of the fields that no type names."""
    if isinstance(value, BaseModel):
        yield from (path + name for name in value.model_extra or ())
        for name in value.model_fields_set & set(type(value).model_fields):
            yield from unknown_fields(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, f"{path.removesuffix('.')}[{index}].")


def from_pydantic(error: ValidationError, prefix: str) -> Objection:
    """A validation error as OpenAI's."""
    # The last: of a union's branches the one that a `type` chose went deepest, and came after the literals that did not match.
    first = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
    path = prefix + ".".join(str(part) for part in first["loc"] if is_field(part))
    if first["type"] == "missing":
        return missing(path)
    if first["type"] == "literal_error":
        return Objection("invalid_value", f"Invalid value: '{first['input']}'. Supported values are: {first['ctx']['expected']}.", path)
    return Objection("invalid_type", f"Invalid type for '{path}': {first['msg']}.", path)


def is_field(part: int | str) -> bool:
    """Whether a part of pydantic's location is a field, not the name of a union's branch."""
    return isinstance(part, int) or (part.replace("_", "a").isalnum() and part.islower() and part not in ("str", "int", "float", "bool"))


def missing(param: str) -> Objection:
    """A required field is not there."""
    return Objection("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def not_among(param: str, value: object, values: list[str]) -> Objection:
    """A value that is not one of those that there are."""
    shown = ", ".join(f"'{one}'" for one in values[:-1]) + f", and '{values[-1]}'"
    return Objection("invalid_value", f"Invalid value: '{value}'. Supported values are: {shown}.", param)


def sdk() -> Any:
    """The SDK's types of this protocol: hundreds of modules, which nobody loads who does not need them. It comes with an extra."""
    return importlib.import_module("openai.types.realtime")


@functools.cache
def client_events() -> Mapping[str, type[BaseModel]]:
    """The SDK's types of what a client sends, by `type`."""
    return by_type(sdk().RealtimeClientEvent)


@functools.cache
def server_events() -> Mapping[str, type[BaseModel]]:
    """The SDK's types of what a server sends, by `type`."""
    return by_type(sdk().RealtimeServerEvent)


@functools.cache
def live_events() -> tuple[Mapping[str, type[BaseModel]], Mapping[str, type[BaseModel]]]:
    """The same two of GPT-Live. Raises ImportError where the SDK is too old to know it."""
    types_of_live = importlib.import_module("openai.types.live")
    return by_type(types_of_live.ClientEvent), by_type(types_of_live.ServerEvent)


def by_type(alias: Any) -> Mapping[str, type[BaseModel]]:
    """The members of an annotated union of events."""
    union = typing.get_args(alias)[0] if typing.get_origin(alias) not in (typing.Union, types.UnionType) else alias
    return {typing.get_args(model.model_fields["type"].annotation)[0]: model for model in typing.get_args(union)}
