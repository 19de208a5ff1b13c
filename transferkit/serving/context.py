"""What the server knows of a request in progress."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from transferkit.serving.errors import busy
from transferkit.serving.metrics import Metrics

# The key of the context in the scope of ASGI.
CONTEXT = "transferkit"


@dataclasses.dataclass
class Drain:
    """Whether the server is shutting down: it finishes the requests in progress and accepts no connection."""

    started: bool = False


class UploadBudget:
    """The bytes of all bodies in memory, with a limit."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit, self._used, self._metrics = limit, 0, metrics

    def take(self, count: int) -> None:
        """Count bytes, or raise a RequestError when there are too many."""
        if self._used + count > self._limit:
            raise busy(
                "too_many_uploads",
                f"The bodies of all requests in progress must have at most {self._limit:,} bytes. Received: "
                f"{count:,} more than {self._used:,}. Try again later.",
            )
        self._used += count
        self._metrics.buffered.set(self._used)

    def release(self, count: int) -> None:
        """Count bytes that are no longer in memory."""
        self._used -= count
        self._metrics.buffered.set(self._used)


@dataclasses.dataclass
class RequestContext:
    """A request in progress.

    Attributes:
        request_id: str, that of the client or a new one.
        deadline: time of the event loop by which the response must be ready.
        budget: `UploadBudget` of the app.
        buffered: bytes of the body that count in the budget.
        details: fields of the access log, such as "model".
    """

    request_id: str
    deadline: float
    budget: UploadBudget
    buffered: int = 0
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def buffer(self, count: int) -> None:
        """Count bytes of the body, or raise a RequestError when all bodies together have too many."""
        self.budget.take(count)
        self.buffered += count

    def release(self) -> None:
        """Give the bytes of the body back."""
        self.budget.release(self.buffered)
        self.buffered = 0
