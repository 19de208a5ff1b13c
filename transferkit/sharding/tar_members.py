"""The images and labels in a tar archive, in its order; nothing is written to the disk, and links are not followed."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from transferkit._utils.files import is_system_name
from transferkit.data.index import EXTENSIONS
from transferkit.datasets.archive_formats import DamagedArchive, UnsafeArchive, is_html, tar_headers
from transferkit.sharding.archive_image import too_large

LABEL_KINDS = ("cls", "json", "txt")
# Larger files are not labels.
_MAX_LABEL_BYTES = 1 << 20
_HEAD_BYTES = 512
_GZIP = b"\x1f\x8b"
# As of `datasets.unpack`: below this size, even the most compressible contents do no harm.
_MIN_BOMB_BYTES, _MAX_RATIO = 100 * 10**6, 200


class TarMember(NamedTuple):
    """An image or a label.

    Attributes:
        name: in the archive.
        key: that files about one example have in common: the name up to the first dot after the last slash.
        prefix: the name between the key and the extension, as "left" in "1.left.jpg".
        extension: in small letters, without a dot.
        contents: bytes, or why an image has none.
    """

    name: str
    key: str
    prefix: str
    extension: str
    contents: bytes | OSError

    @property
    def is_label(self) -> bool:
        """Whether it is no image."""
        return self.extension in LABEL_KINDS


def tar_members(file: io.BufferedReader, size: int) -> Iterator[TarMember]:
    """Yield the images and labels of an archive of `size` bytes.

    Raises:
        DamagedArchive, UnsafeArchive, tarfile.TarError and others: for one that is damaged, or would fill the memory.
    """
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    if is_html(head):
        raise DamagedArchive("a web page (HTML), such as a login page")
    is_compressed = head.startswith(_GZIP)
    limit = max(_MIN_BOMB_BYTES, _MAX_RATIO * size) if is_compressed else size
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(gzip.open(file)) if is_compressed else file
        for header in tar_headers(stream):
            _check_end(header, limit, is_compressed)
            member = _member(header, stream)
            if member is not None:
                yield member


def split_name(name: str) -> tuple[str, str, str]:
    """Return the key, prefix and extension of a name, as `TarMember` has them.

    >>> split_name("cats/1.left.JPG")
    ('cats/1', 'left', 'jpg')
    """
    folder, _, base = name.rpartition("/")
    stem, *rest = base.split(".")
    return f"{folder}/{stem}".lstrip("/"), ".".join(rest[:-1]), rest[-1].lower() if rest else ""


def _member(header: tarfile.TarInfo, stream: Any) -> TarMember | None:
    key, prefix, extension = split_name(header.name)
    is_image = f".{extension}" in EXTENSIONS
    if header.isdir() or _is_hidden(header.name) or not (is_image or extension in LABEL_KINDS):
        return None
    error = _error(header)
    if not is_image and (error is not None or header.size > _MAX_LABEL_BYTES):
        return None
    return TarMember(header.name, key, prefix, extension, error or _read(stream, header))


def _error(header: tarfile.TarInfo) -> OSError | None:
    """Return why a member is not read."""
    if not header.isfile() or header.issparse():
        return OSError("it is a sparse file" if header.isfile() else "it is a link or a device in the archive")
    return too_large(header.size)


def _read(stream: BinaryIO, header: tarfile.TarInfo) -> bytes:
    stream.seek(header.offset_data)
    contents = stream.read(header.size)
    if len(contents) < header.size:
        raise DamagedArchive(f"the end of the file in {header.name[:200]!r}")
    return contents


def _check_end(header: tarfile.TarInfo, limit: int, is_compressed: bool) -> None:
    """Raise an error before anything is read for a header that describes more than the archive can have."""
    if header.size < 0:
        raise DamagedArchive(f"a size below zero of {header.name[:200]!r}")
    if header.isfile() and not header.issparse() and header.offset_data + header.size > limit:
        if is_compressed:
            raise UnsafeArchive(f"it unpacks to more than {_MAX_RATIO} times its size")
        raise DamagedArchive(f"the end of the file in {header.name[:200]!r}")


def _is_hidden(name: str) -> bool:
    return any(is_system_name(part) for part in name.split("/") if part not in ("", os.curdir, os.pardir))
