"""TODO."""

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """Discord's way of saying no: an HTTP status, a code of its own and a sentence."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code} | ({"errors": errors} if errors else {})


def unauthorized() -> ApiError:
    """No token, or one that nobody has."""
    return ApiError(401, 0, "401: Unauthorized")


def missing_access() -> ApiError:
    """The thing exists, but not for this user."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The user sees it and may not do that."""
    return ApiError(403, 50013, "Missing Permissions")


def unknown(what: str, code: int) -> ApiError:
    """There is no such thing: `unknown("Message", 10008)`."""
    return ApiError(404, code, f"Unknown {what}")


def invalid_form(key: str, code: str, message: str) -> ApiError:
    """A field of the body that breaks a rule."""
    return ApiError(400, 50035, "Invalid Form Body", {key: {"_errors": [{"code": code, "message": message}]}})
