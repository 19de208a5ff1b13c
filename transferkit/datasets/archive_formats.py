"""Reads the members of zip and tar archives, without trusting their headers."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from transferkit._utils.text import printable

_CHUNK = 1 << 20
# Zip decompresses all that it reads of these formats at once, up to ten thousand times as many bytes.
_SMALL_CHUNK = 1 << 12
_HEAD_BYTES = 512
# Offset, first bytes and kind.
_SIGNATURES = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (257, b"ustar", "tar"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
)
_DECOMPRESSORS: dict[str | None, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_UNSUPPORTED = ("7z", "rar", "zstd")
# A declaration and comments may come first.
_HTML = re.compile(
    r"(\s|<\?xml[^>]*>|<!--.*?-->)*<(!doctype html|html|head|script|body|meta|title)\b", re.DOTALL | re.IGNORECASE
)
_TABLE_ENTRY = b"PK\x01\x02"
# In the table of a zip file: the smallest entry, and a typical one with a long name.
_MIN_ENTRY_BYTES, _ENTRY_BYTES, _MIN_TABLE_BYTES = 46, 128, 16 << 20
_UTF8_FLAG, _UNICODE_PATH = 0x800, 0x7075
# Headers of a tar archive: a member has one of 512 bytes and seldom another for its long name; a few have more.
_SPARE_HEADER_BYTES, _HEADER_BYTES, _MAX_GLOBAL_HEADERS = 1 << 20, 4 << 10, 1000
# The end of a tar archive is filled up to a multiple of at most this size.
_MAX_FILL_BYTES = 64 << 20
_TAR_MAGIC = b"ustar"


class UnsafeArchive(Exception):
    """An archive or one of its members must not be unpacked."""


class DamagedArchive(Exception):
    """An archive cannot be read."""


class Member(NamedTuple):
    """A file or folder in an archive; `chunks` are its contents, to be read before the next member."""

    name: str
    is_folder: bool
    chunks: Iterator[bytes]


def kind_of_archive(path: Path) -> str | None:
    """Return the kind of an archive by its first bytes, or None for any other file."""
    head = _head(path)
    return next((kind for offset, first, kind in _SIGNATURES if head[offset:].startswith(first)), None)


def is_html(head: bytes) -> bool:
    """Return whether these first bytes of a file are those of a web page."""
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head.decode("utf-16", "replace") if is_wide else head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return _HTML.match(text) is not None


def describe_contents(path: Path) -> str | None:
    """Return what a file is that is not a supported archive, with the remedy, or None when that is not known."""
    kind, head = kind_of_archive(path), _head(path)
    if kind in _UNSUPPORTED:
        return f"a {kind} archive. Unpack it with another program, and give the folder"
    if is_html(head):
        return "a web page (HTML), such as a login page. Open the link in a browser, and give the archive"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS. Run: git lfs pull"
    if kind in _DECOMPRESSORS and not _holds_tar(path, kind):
        return f"a {kind} file of no archive, such as of a single table. Decompress it, and give the result"
    return None


def _holds_tar(path: Path, kind: str | None) -> bool:
    """Return whether a compressed file starts as a tar archive; True for a damaged one, where it is not known."""
    try:
        with _DECOMPRESSORS[kind](path) as stream:
            return _TAR_MAGIC in stream.read(_HEAD_BYTES)
    except Exception:  # errors of many decompressors
        return True


def read_members(path: Path, max_files: int) -> Iterator[Member]:
    """Yield the members of an archive in their order.

    Raises:
        UnsafeArchive: for links, devices, encrypted files and headers that would exhaust the memory.
        DamagedArchive: when the archive cannot be read.
    """
    with _reading_errors(), open(path, "rb") as file:
        kind = kind_of_archive(path)
        if kind == "zip" or (kind is None and zipfile.is_zipfile(file)):
            yield from _zip_members(file, max_files)
        else:
            # The search for the end of a zip file moved the position.
            file.seek(0)
            yield from _tar_members(file, _DECOMPRESSORS.get(kind))


@contextlib.contextmanager
def _reading_errors() -> Iterator[None]:
    try:
        yield
    except (UnsafeArchive, DamagedArchive):
        raise
    except NotImplementedError as error:
        received = f"{printable(error)} Unpack it with another program, and give the folder"
        raise UnsafeArchive(received) from error
    except Exception as error:
        # For damaged data, the readers raise errors of zlib, lzma, zipfile, tarfile, struct and many others.
        raise DamagedArchive(printable(error) or type(error).__name__) from error


def _head(path: Path) -> bytes:
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            with open(path, "rb") as file:
                return file.read(_HEAD_BYTES)
    return b""


class _ZipFile:
    """A zip file as `zipfile` reads it, which reads the table of all members at once."""

    def __init__(self, file: BinaryIO, max_files: int) -> None:
        self._file, self._max_files = file, max_files

    def read(self, size: int = -1) -> bytes:
        if size > max(_MIN_TABLE_BYTES, _ENTRY_BYTES * self._max_files):
            raise UnsafeArchive(f"its table of files has {size:,} bytes")
        data = self._file.read(size)
        if size > _MIN_ENTRY_BYTES * self._max_files and data.count(_TABLE_ENTRY) > self._max_files:
            raise UnsafeArchive(f"it contains more than {self._max_files:,} files")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _zip_members(file: BinaryIO, max_files: int) -> Iterator[Member]:
    with zipfile.ZipFile(_ZipFile(file, max_files)) as archive:  # type: ignore[arg-type]
        for info in archive.infolist():
            name = _zip_name(info)
            # The upper 16 bits are the Unix mode, if any, with the type of the file.
            if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
                raise UnsafeArchive(f"{name[:200]!r} is a link or a device")
            if info.flag_bits & 1:
                raise UnsafeArchive(f"{name[:200]!r} is encrypted")
            yield Member(name, name.endswith("/"), _zip_chunks(archive, info))


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    if not info.flag_bits & _UTF8_FLAG:
        # Without the flag the encoding is not known: many programs write UTF-8 all the same, which no other encoding
        # equals by chance.
        raw = name.encode("cp437", "replace")
        with contextlib.suppress(UnicodeError):
            name = (_unicode_path(info.extra, raw) or raw).decode("utf-8")
    # Old programs on Windows write backslashes between folders.
    return name.replace("\\", "/")


def _unicode_path(extra: bytes, raw: bytes) -> bytes | None:
    """Return the name in UTF-8 that some programs add to a name in another encoding, or None."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return field[5:]
    return None


def _zip_chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    size = _CHUNK if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else _SMALL_CHUNK
    with _reading_errors(), archive.open(info) as member:
        while chunk := member.read(size):
            yield chunk


class _TarHeader(tarfile.TarInfo):
    """A header that is read completely or not at all: `tarfile` takes a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> _TarHeader:  # type: ignore[override]
        if not buf:
            raise DamagedArchive("its end is missing")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not buf.strip(b"\0"):
                raise
            raise DamagedArchive(f"a damaged header ({error})") from error


class _TarHeaders:
    """A tar archive as `tarfile` reads it: headers only, and no more than their members explain."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.allowed = stream, _SPARE_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        self.allowed -= size
        if size < 0 or self.allowed < 0:
            raise UnsafeArchive("its headers are too large")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position < self._stream.tell():
            raise UnsafeArchive("its files overlap")
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def tar_headers(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar archive in their order; contents are read from `stream` before the next header.

    Args:
        stream: uncompressed. It is read from its start to its end and never backwards.

    Raises:
        UnsafeArchive: for headers that would exhaust the memory, and for data after the end.
        DamagedArchive, tarfile.TarError and others: when the archive is damaged.
    """
    headers = _TarHeaders(stream)
    # The names must not depend on the machine.
    with tarfile.TarFile(fileobj=headers, tarinfo=_TarHeader, encoding="utf-8") as archive:  # type: ignore[arg-type]
        while (member := archive.next()) is not None:
            if len(archive.pax_headers) > _MAX_GLOBAL_HEADERS:
                raise UnsafeArchive("its headers are too large")
            # `tarfile` keeps every member.
            archive.members.clear()  # type: ignore[attr-defined]
            headers.allowed += _HEADER_BYTES
            yield member
    _check_rest(stream)


def _tar_members(file: BinaryIO, decompress: Any) -> Iterator[Member]:
    with contextlib.nullcontext(file) if decompress is None else decompress(file) as stream:
        for member in tar_headers(stream):
            if not (member.isfile() or member.isdir()):
                raise UnsafeArchive(f"{member.name[:200]!r} is a link or a device")
            if member.issparse() or member.size < 0:
                raise UnsafeArchive(f"{member.name[:200]!r} is a sparse file")
            yield Member(member.name, member.isdir(), _tar_chunks(stream, member))


def _tar_chunks(stream: BinaryIO, member: tarfile.TarInfo) -> Iterator[bytes]:
    with _reading_errors():
        stream.seek(member.offset_data)
        left = member.size
        while left:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                raise DamagedArchive(f"the end of the file in {member.name[:200]!r}")
            left -= len(chunk)
            yield chunk


def _check_rest(stream: BinaryIO) -> None:
    """Read a stream to its end, where the checksum of a compressed one is."""
    size, last = 0, b""
    try:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if _TAR_MAGIC in last + chunk:
                raise UnsafeArchive("another archive follows in the same file; unpack it with tar --ignore-zeros")
            last = chunk[-len(_TAR_MAGIC) :]
            if size > _MAX_FILL_BYTES:
                raise UnsafeArchive("it continues after its end")
    except gzip.BadGzipFile as error:
        # What some programs append, such as a signature, comes after the checksum.
        if "Not a gzipped file" not in str(error):
            raise
