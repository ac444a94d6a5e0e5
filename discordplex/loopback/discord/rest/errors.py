"""ApiError: the REST API's errors. Pure."""

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """An error response: an HTTP status, Discord's code and a sentence."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code} | ({"errors": errors} if errors else {})


def unauthorized() -> ApiError:
    """No token, or an unknown one."""
    return ApiError(401, 0, "401: Unauthorized")


def missing_access() -> ApiError:
    """The object exists, but the user has no access to it."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The user sees it but lacks the permission."""
    return ApiError(403, 50013, "Missing Permissions")


def unknown(what: str, code: int) -> ApiError:
    """There is no such object: `unknown("Message", 10008)`."""
    return ApiError(404, code, f"Unknown {what}")


def invalid_form(key: str, code: str, message: str) -> ApiError:
    """A field of the body is invalid."""
    return ApiError(400, 50035, "Invalid Form Body", {key: {"_errors": [{"code": code, "message": message}]}})
