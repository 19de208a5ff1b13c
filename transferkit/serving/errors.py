"""Errors that become responses: a status, a code for programs, and a message for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RequestError(Exception):
    """A request that is refused.

    Attributes:
        status: int, the HTTP status.
        code: str, the reason for programs, such as "queue_full".
        message: str, the requirement, the received value and the remedy.
        headers: further headers of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.headers: dict[str, str] = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the response."""
        return {"error": {"code": self.code, "message": self.message}}


def bad_request(message: str) -> RequestError:
    """Return the error for a request whose form is wrong."""
    return RequestError(400, "invalid_request", message)


def unreadable_image(reason: str) -> RequestError:
    """Return the error for an image that cannot be read, for the reason of the decoder."""
    message = f"An image must be a complete file of a supported format. Received: {reason}. Send another file."
    return RequestError(422, "unreadable_image", message)


def too_large(received: str, limit: int) -> RequestError:
    """Return the error for a body with too many bytes."""
    message = f"A request must have at most {limit:,} bytes. Received: {received}. Send fewer or smaller images."
    return RequestError(413, "body_too_large", message)


def unsupported_type(received: str, accepted: str) -> RequestError:
    """Return the error for a body of another media type."""
    message = f"The Content-Type must be {accepted}. Received: {received}. Set the header."
    return RequestError(415, "unsupported_media_type", message)


def busy(code: str, message: str) -> RequestError:
    """Return the error for a server that has too much to do; the client may try again."""
    return RequestError(429, code, message, {"Retry-After": "1"})


def timed_out(seconds: float) -> RequestError:
    """Return the error for a prediction that was not ready in time."""
    message = (
        f"A response must be ready within {seconds:g} seconds. Received: a request that takes longer. "
        "Try again later, or send fewer images."
    )
    return RequestError(504, "timeout", message)


def not_supported(reason: str) -> RequestError:
    """Return the error for a function that the model of the server does not have."""
    message = f"The model must support this function. Received: {reason.rstrip('.')}. Use /v1/predict."
    return RequestError(501, "not_supported", message)
