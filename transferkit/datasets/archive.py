"""Safe extraction of archives."""

from __future__ import annotations

import mimetypes
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_folder, is_system_name
from transferkit.errors import DataError

_CHUNK = 1 << 20
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
_CORRUPT = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))})


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_files: int = 1_000_000,
    max_bytes: int = 100 * 10**9,
) -> Path:
    """Unpack a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz archive into a new folder, completely or not at all.

    An archive with a path outside the folder, a link, a device, an encrypted file or a name that is not valid on every
    operating system is refused.

    Args:
        archive: path of the archive.
        folder: path of the new or empty folder.
        max_files: int >= 1. Largest number of files and folders. Defaults to 1,000,000.
        max_bytes: int >= 1. Largest total size of the unpacked files. Defaults to 100 GB.

    Returns:
        The path of the folder.

    Raises:
        DataError: if the archive is corrupt, refused or too large; then nothing is unpacked.

    Example:

    >>> tk.datasets.unpack("photos.zip", "photos")  # doctest: +SKIP
    """
    check_int("max_files", max_files)
    check_int("max_bytes", max_bytes)
    source, target = Path(archive), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"`folder` must be new or empty. Received: {str(target)!r}. Choose another folder.")
    if not source.is_file():
        raise DataError(f"`archive` must be a file. Received: {str(source)!r}. Check the path.")
    try:
        with atomic_folder(target) as staging:
            _write_members(_members(source), staging, max_files, max_bytes)
    except _UnsafeArchive as error:
        raise DataError(f"{str(source)!r} must be a safe archive. Received: {error}. Nothing was unpacked.") from None
    except _CORRUPT as error:
        # gzip, bz2 and lzma report corrupt data as an OSError without a number; the file system sets one.
        if getattr(error, "errno", None) is not None:
            raise
        raise DataError(f"{str(source)!r} must be a valid archive. Received: {error}. Download it again.") from error
    return target


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Return whether the contents of a file are those of an archive, whatever its name."""
    return _kind(Path(path)) is not None


def content_root(folder: str | os.PathLike[str]) -> Path:
    """Return the folder inside an unpacked archive that holds its contents.

    Many archives have a single folder at the top, next to files of an operating system or a README. A single folder
    without subfolders is a class, not such a folder.
    """
    root = Path(folder)
    while len(inside := _subfolders(root)) == 1 and _subfolders(inside[0]) and not _has_images(root):
        root = inside[0]
    return root


def _subfolders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not is_system_name(entry.name)]


def _has_images(folder: Path) -> bool:
    names = [entry.name for entry in folder.iterdir() if not is_system_name(entry.name)]
    return any((mimetypes.guess_type(name)[0] or "").startswith("image/") for name in names)


def _kind(path: Path) -> str | None:
    """Return the kind of an archive by its first bytes, or None for any other file."""
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return None
    for offset, signature, kind in _SIGNATURES:
        if head[offset:].startswith(signature):
            return kind
    return None


class _UnsafeArchive(Exception):
    """A member of an archive must not be unpacked."""


def _members(source: Path) -> Iterator[tuple[str, bool, Any]]:
    """Yield the name of every member, whether it is a folder, and a function that opens it."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                # The upper 16 bits are the Unix mode, if any, with the type of the file.
                kind = (info.external_attr >> 16) & 0o170000
                if kind not in (0, 0o100000, 0o040000):
                    raise _UnsafeArchive(f"{info.filename!r} is a link or a device")
                if info.flag_bits & 1:
                    raise _UnsafeArchive(f"{info.filename!r} is encrypted")
                yield info.filename, info.filename.endswith("/"), lambda info=info: archive.open(info)
        return
    with tarfile.open(source) as archive:
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise _UnsafeArchive(f"{member.name!r} is a link or a device")
            yield member.name, member.isdir(), lambda member=member: archive.extractfile(member)


def _write_members(members: Iterator[tuple[str, bool, Any]], folder: Path, max_files: int, max_bytes: int) -> None:
    written = 0
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, (name, is_folder, open_member) in enumerate(members):
        if number >= max_files:
            raise _UnsafeArchive(f"it contains more than {max_files:,} files")
        parts = _safe_parts(name)
        _check_clash(seen, parts, is_folder or not parts)
        path = folder.joinpath(*parts)
        (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
        if is_folder or not parts:
            continue
        with open_member() as member, open(path, "xb") as file:
            while chunk := member.read(_CHUNK):
                written += len(chunk)
                # The sizes in the table of an archive can be wrong, so the unpacked bytes are counted.
                if written > max_bytes:
                    raise _UnsafeArchive(f"it unpacks to more than {max_bytes:,} bytes")
                file.write(chunk)


def _safe_parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise _UnsafeArchive(f"{name!r} is outside the folder, or would be on another operating system")
    for part in path.parts:
        if part.split(".")[0].rstrip(" ").casefold() in _RESERVED or part != part.rstrip(". ") or len(part) > 255:
            raise _UnsafeArchive(f"{name!r} is not a valid name on every operating system")
    return path.parts


def _check_clash(seen: dict[tuple[str, ...], tuple[str, ...]], parts: tuple[str, ...], is_folder: bool) -> None:
    """Refuse two names that are one file on a case-insensitive file system."""
    normalized = tuple(part.casefold() for part in parts)
    for depth in range(1, len(parts) + 1):
        other = seen.setdefault(normalized[:depth], parts[:depth])
        if other != parts[:depth]:
            raise _UnsafeArchive(f"{'/'.join(other)!r} and {'/'.join(parts[:depth])!r} differ only in case")
    if not is_folder:
        if (*normalized, "") in seen:
            raise _UnsafeArchive(f"{'/'.join(parts)!r} occurs twice")
        seen[(*normalized, "")] = parts
