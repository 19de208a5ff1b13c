"""The options of the server."""

from __future__ import annotations

import dataclasses
import os

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int, check_number
from transferkit.images.limits import max_pixels_allowed

_MIB = 1 << 20


@suggests_arguments
@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The limits of the server, its API keys, and how often it looks for new models.

    Args:
        max_upload_bytes: int >= 1. Bytes of the body of a request. Defaults to 20 MiB.
        max_pixels: int >= 1. Pixels of an image, at most $TRANSFERKIT_MAX_PIXELS. Defaults to None, that limit.
        max_images: int >= 1. Images of a request, at most `max_queue`. Defaults to 64.
        max_queue: int >= 1. Images that wait for a model; further requests are refused with 429. Defaults to 256.
        max_buffered_bytes: int >= `max_upload_bytes`. Bytes of the bodies of all requests in progress; further ones
            are refused with 429. Defaults to 256 MiB.
        max_batch_delay_ms: float >= 0. How long a batch waits for requests that are being received. A request that is
            the only one is run at once. Defaults to 5.
        timeout_seconds: float > 0. From the headers of a request to its response; also the limit of a graceful
            shutdown. Defaults to 30.
        reload_seconds: float >= 0. How often the folders are checked for a new model; 0 for never. Defaults to 5.
        api_keys: tuple of str. Keys of which a request must have one. Defaults to (), open to everyone.
        training_images: str or path. A folder with one subfolder per class, whose most similar images are returned by
            /v1/neighbors. Defaults to None, without them.

    Raises:
        ValueError: when an option is out of its range.
    """

    max_upload_bytes: int = 20 * _MIB
    max_pixels: int | None = None
    max_images: int = 64
    max_queue: int = 256
    max_buffered_bytes: int = 256 * _MIB
    max_batch_delay_ms: float = 5.0
    timeout_seconds: float = 30.0
    reload_seconds: float = 5.0
    # A key must not appear in a log.
    api_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    training_images: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("max_upload_bytes", "max_images", "max_queue", "max_buffered_bytes"):
            check_int(name, getattr(self, name))
        check_number("max_batch_delay_ms", self.max_batch_delay_ms, minimum=0)
        check_number("timeout_seconds", self.timeout_seconds, above=0)
        check_number("reload_seconds", self.reload_seconds, minimum=0)
        self._check_max_pixels()
        if self.max_buffered_bytes < self.max_upload_bytes:
            raise ValueError(
                f"`max_buffered_bytes` must be at least `max_upload_bytes`, {self.max_upload_bytes:,}. Received: "
                f"{self.max_buffered_bytes:,}. Raise it, or lower `max_upload_bytes`."
            )
        object.__setattr__(self, "max_images", min(self.max_images, self.max_queue))
        # The keys are not part of the message.
        if not isinstance(self.api_keys, tuple) or not all(isinstance(key, str) and key for key in self.api_keys):
            raise ValueError(
                f"`api_keys` must be a tuple of texts that are not empty. Received: {type(self.api_keys).__name__}. "
                "Give (key,)."
            )

    @property
    def pixel_limit(self) -> int:
        """The largest number of pixels of an image."""
        return max_pixels_allowed() if self.max_pixels is None else self.max_pixels

    def _check_max_pixels(self) -> None:
        if self.max_pixels is None:
            return
        allowed = max_pixels_allowed()
        if check_int("max_pixels", self.max_pixels) > allowed:
            raise ValueError(
                f"`max_pixels` must be at most $TRANSFERKIT_MAX_PIXELS, {allowed:,}. Received: {self.max_pixels:,}. "
                "Raise the variable too."
            )
