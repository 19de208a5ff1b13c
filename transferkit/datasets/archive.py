"""Unpacking an archive so that nothing of it leaves its folder."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_folder
from transferkit.errors import DataError

_CHUNK = 1 << 20
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))})


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_files: int = 1_000_000,
    max_bytes: int = 100 * 10**9,
) -> Path:
    """Unpack a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz into a new folder, which appears whole or not at all.

    Only files and folders are unpacked. An archive with a path that leads out of its folder, a link, a device or a
    name that some system cannot hold is refused as a whole.

    Args:
        archive: path of the archive.
        folder: where to; it must not hold anything yet.
        max_files: most files that it may hold, at least 1.
        max_bytes: most bytes that they may unpack to, counted while they are, at least 1.

    Returns:
        The folder.

    Raises:
        DataError: when the archive is broken, refused or too large; nothing of it is left.
    """
    check_int("max_files", max_files)
    check_int("max_bytes", max_bytes)
    source, target = Path(archive), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"`folder` must be new or empty. Received: {str(target)!r}. Choose another folder.")
    if not source.is_file():
        raise DataError(f"`archive` must be a file. Received: {str(source)!r}, which is none. Check the path.")
    try:
        with atomic_folder(target) as fresh:
            _write_members(_members(source), fresh, max_files, max_bytes)
    except _Refused as refusal:
        raise DataError(f"{str(source)!r} must be a safe archive. Received: {refusal}. Nothing was unpacked.") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{str(source)!r} must be a whole archive. Received: {error}. Get it again.") from error
    except OSError as error:
        # gzip, bz2 and lzma report broken data as an OSError without a number, the disk's troubles with one.
        if error.errno is not None:
            raise
        raise DataError(f"{str(source)!r} must be a whole archive. Received: {error}. Get it again.") from error
    return target


class _Refused(Exception):
    """A member of an archive may not be unpacked."""


def _members(source: Path) -> Iterator[tuple[str, bool, Any]]:
    """Yield (name, whether it is a folder, a function that opens it) for every member."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                # The upper half holds the Unix mode, if any: links and devices are marked there.
                kind = (info.external_attr >> 16) & 0o170000
                if kind not in (0, 0o100000, 0o040000):
                    raise _Refused(f"{info.filename!r} is a link or a device")
                if info.flag_bits & 1:
                    raise _Refused(f"{info.filename!r} is encrypted")
                yield info.filename, info.is_dir(), lambda info=info: archive.open(info)
        return
    with tarfile.open(source) as archive:
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise _Refused(f"{member.name!r} is a link or a device")
            yield member.name, member.isdir(), lambda member=member: archive.extractfile(member)


def _write_members(members: Iterator[tuple[str, bool, Any]], folder: Path, max_files: int, max_bytes: int) -> None:
    left = max_bytes
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, (name, is_folder, open_member) in enumerate(members):
        if number >= max_files:
            raise _Refused(f"it holds more than {max_files:,} files")
        parts = _safe_parts(name)
        if not parts:
            continue
        _check_clash(seen, parts, is_folder)
        path = folder.joinpath(*parts)
        if is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_member() as given, open(path, "xb") as file:
            left -= _copy(given, file, left, max_bytes)


def _safe_parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise _Refused(f"{name!r} leads out of the folder, or would on some system")
    for part in path.parts:
        if part.split(".")[0].rstrip(" ").casefold() in _RESERVED or part != part.rstrip(". ") or len(part) > 255:
            raise _Refused(f"{name!r} is a name that some system cannot hold")
    return path.parts


def _check_clash(seen: dict[tuple[str, ...], tuple[str, ...]], parts: tuple[str, ...], is_folder: bool) -> None:
    """Refuse two names that are one file on a disk that does not tell case."""
    folded = tuple(part.casefold() for part in parts)
    for depth in range(1, len(parts) + 1):
        before = seen.setdefault(folded[:depth], parts[:depth])
        if before != parts[:depth]:
            raise _Refused(f"{'/'.join(before)!r} and {'/'.join(parts[:depth])!r} differ only in case")
    if not is_folder:
        marker = (*folded, "")
        if marker in seen:
            raise _Refused(f"{'/'.join(parts)!r} is in it twice")
        seen[marker] = parts


def _copy(given: BinaryIO, file: BinaryIO, left: int, limit: int) -> int:
    written = 0
    while chunk := given.read(_CHUNK):
        written += len(chunk)
        # What an archive's table says of its sizes may be a lie; what comes out is counted.
        if written > left:
            raise _Refused(f"it unpacks to more than {limit:,} bytes")
        file.write(chunk)
    return written
