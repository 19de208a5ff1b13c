"""An image in an archive."""

from __future__ import annotations

from typing import NamedTuple

from transferkit.images.files import MAX_BYTES


class ArchiveImage(NamedTuple):
    """An image in an archive.

    Attributes:
        path: of the archive, with the place of the image in it.
        label: None where there is none.
        image: the bytes of its file, or why there are none.
    """

    path: str
    label: str | None
    image: bytes | OSError


def too_large(size: int) -> OSError | None:
    """Return the error of a file that is too large for an image, None for any other size."""
    return OSError(f"it has {size:,} bytes, more than {MAX_BYTES:,}") if size > MAX_BYTES else None
