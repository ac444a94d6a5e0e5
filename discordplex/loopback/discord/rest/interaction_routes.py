"""REST routes by which an application answers interactions. The token is in the path, so no login is needed. Pure."""

from typing import Any

from discordplex.loopback.discord.rest.api import ApiCall, Table
from discordplex.loopback.discord.rest.channels import check_content, check_not_empty
from discordplex.loopback.discord.rest.errors import Json
from discordplex.loopback.discord.rest.interactions import DEFERRED, EPHEMERAL, LOADING, MESSAGE, UPDATE, Interaction
from discordplex.loopback.discord.world import payloads

table = Table()


@table.route("POST", "/interactions/{interaction}/{token}/callback", needs_token=False)
def post_callback(call: ApiCall) -> Any:
    """The first answer."""
    if call.body.get("type") in (MESSAGE, UPDATE):
        (check_not_empty if call.body["type"] == MESSAGE else check_content)(call.body.get("data") or {})
    found = call.interactions.answer(call.path["interaction"], call.path["token"], call.body)
    return _callback(call, found) if call.query.get("with_response", "").lower() in ("true", "1") else None


def _callback(call: ApiCall, found: Interaction) -> Json:
    original = found.original
    about: Json = {"id": found.id, "type": found.kind}
    resource: Json = {"type": found.answer_type}
    if original:
        about |= {
            "response_message_id": original.id,
            "response_message_loading": bool(original.flags & LOADING),
            "response_message_ephemeral": bool(original.flags & EPHEMERAL),
        }
        resource["message"] = payloads.message(call.world, original)
    return {"interaction": about} | ({"resource": resource} if original or found.answer_type == DEFERRED else {})


@table.route("POST", "/webhooks/{application}/{token}", needs_token=False)
def post_follow_up(call: ApiCall) -> Any:
    """A further message."""
    found = call.interactions.by_token(call.path["application"], call.path["token"])
    return payloads.message(call.world, call.interactions.follow_up(found, check_not_empty(call.body)))


@table.route("GET", "/webhooks/{application}/{token}/messages/{message}", needs_token=False)
def get_reply(call: ApiCall) -> Any:
    """A reply as it is now."""
    found = call.interactions.by_token(call.path["application"], call.path["token"])
    return payloads.message(call.world, call.interactions.message(found, call.path["message"]))


@table.route("PATCH", "/webhooks/{application}/{token}/messages/{message}", needs_token=False)
def patch_reply(call: ApiCall) -> Any:
    """Edit a reply, or fill in a deferred one."""
    found = call.interactions.by_token(call.path["application"], call.path["token"])
    message = call.interactions.message(found, call.path["message"])
    return payloads.message(call.world, call.interactions.edit(message, check_content(call.body)))


@table.route("DELETE", "/webhooks/{application}/{token}/messages/{message}", needs_token=False)
def delete_reply(call: ApiCall) -> Any:
    """Delete a reply."""
    found = call.interactions.by_token(call.path["application"], call.path["token"])
    call.world.chat.delete(call.interactions.message(found, call.path["message"]))
