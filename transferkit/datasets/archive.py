"""Safe extraction of archives."""

from __future__ import annotations

import dataclasses
import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_folder, is_system_name
from transferkit.datasets.archive_formats import (
    DamagedArchive,
    Member,
    UnsafeArchive,
    describe_contents,
    kind_of_archive,
    read_members,
)
from transferkit.errors import DataError

_EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))})
# What file systems allow: bytes of one name and of a whole path.
_MAX_NAME_BYTES, _MAX_PATH_BYTES, _MAX_DEPTH = 255, 4096, 100
# Below this size, even the most compressible contents do no harm.
_MIN_BOMB_BYTES = 100 * 10**6


@suggests_arguments
def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_files: int = 1_000_000,
    max_bytes: int = 100 * 10**9,
    max_ratio: int = 200,
) -> Path:
    """Unpack a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz archive into a new folder, completely or not at all.

    The kind of the archive is that of its contents, whatever its name. An archive with a path outside the folder, a
    link, a device, an encrypted file or a name that is not valid on every operating system is refused.

    Args:
        archive: path of the archive.
        folder: path of the new or empty folder.
        max_files: int >= 1. Largest number of files and folders. Defaults to 1,000,000.
        max_bytes: int >= 1. Largest total size of the unpacked files. Defaults to 100 GB.
        max_ratio: int >= 1. Largest ratio of the unpacked size, beyond 100 MB, to the size of the archive. Defaults to
            200, which photographs and drawings are far from.

    Returns:
        The path of the folder.

    Raises:
        DataError: if the archive is corrupt, refused or too large; then nothing is unpacked.
        StorageError: if the files cannot be written, as on a full disk; then nothing is unpacked.

    Example:

    >>> tk.datasets.unpack("photos.zip", "photos")  # doctest: +SKIP
    """
    limits = Limits(*map(check_int, ("max_files", "max_bytes", "max_ratio"), (max_files, max_bytes, max_ratio)))
    target = Path(folder)
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"`folder` must be new or empty. Received: {str(target)!r}. Choose another folder.")
    if not os.path.isfile(archive):
        raise DataError(f"`archive` must be a file. Received: {os.fspath(archive)!r}. Check the path.")
    extract(Path(archive), target, limits)
    return target


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the contents of an archive may have; see `unpack`."""

    max_files: int = 1_000_000
    max_bytes: int = 100 * 10**9
    max_ratio: int = 200

    def check(self, written: int, archive_size: int) -> None:
        """Raise an UnsafeArchive when `written` bytes are more than an archive of this size may have."""
        if written > self.max_bytes:
            raise UnsafeArchive(f"it unpacks to more than {self.max_bytes:,} bytes")
        if written > max(_MIN_BOMB_BYTES, self.max_ratio * archive_size):
            hint = "give unpack() a larger `max_ratio` if you trust it"
            raise UnsafeArchive(f"it unpacks to more than {self.max_ratio:,} times its size; {hint}")


def extract(source: Path, target: Path, limits: Limits = Limits()) -> None:
    """Unpack an archive into `target`, which it replaces; errors as of `unpack`."""
    try:
        size = source.stat().st_size
        with atomic_folder(target) as staging:
            _write_members(read_members(source, limits.max_files), staging, size, limits)
    except UnsafeArchive as error:
        raise DataError(f"{str(source)!r} must be a safe archive. Received: {error}. Nothing was unpacked.") from None
    except DamagedArchive as error:
        received = describe_contents(source) or f"{error}. Download it again"
        raise DataError(f"{str(source)!r} must be a valid archive. Received: {received}.") from error


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an archive by its contents, whatever its name, or should be one by its name."""
    return os.path.isfile(path) and (
        os.fspath(path).casefold().endswith(_EXTENSIONS) or kind_of_archive(Path(path)) is not None
    )


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


def _write_members(members: Iterable[Member], folder: Path, archive_size: int, limits: Limits) -> None:
    written = 0
    seen: dict[str, str] = {}
    for member in members:
        parts = _safe_parts(member.name)
        if not parts and not member.is_folder:
            raise UnsafeArchive("a file has no name")
        _add_name(seen, parts, member.is_folder)
        if len(seen) > limits.max_files:
            raise UnsafeArchive(f"it contains more than {limits.max_files:,} files")
        path = folder.joinpath(*parts)
        (path if member.is_folder else path.parent).mkdir(parents=True, exist_ok=True)
        if member.is_folder:
            continue
        with open(path, "xb") as file:
            for chunk in member.chunks:
                written += len(chunk)
                # The sizes in the table of an archive can be wrong, so the unpacked bytes are counted.
                limits.check(written, archive_size)
                file.write(chunk)


def _safe_parts(name: str) -> tuple[str, ...]:
    """Return the parts of the name of a member; raise an UnsafeArchive for one that must not be written."""
    shown = f"{name[:200]!r}"
    size = len(name.encode("utf-8", "surrogateescape"))
    if size > _MAX_PATH_BYTES:
        raise UnsafeArchive(f"the name {shown} is too long: {size:,} bytes")
    path = PurePosixPath(name)
    is_drive = len(name) > 1 and name[0].isalpha() and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or is_drive:
        raise UnsafeArchive(f"{shown} is outside the folder, or would be on another operating system")
    if len(path.parts) > _MAX_DEPTH:
        raise UnsafeArchive(f"the name {shown} is too long: {len(path.parts):,} folders in each other")
    for part in path.parts:
        if len(part.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
            raise UnsafeArchive(f"the name {shown} is too long: more than {_MAX_NAME_BYTES} bytes in one part")
        if part.split(".")[0].rstrip(" ").casefold() in _RESERVED or part != part.rstrip(". "):
            raise UnsafeArchive(f"{shown} is not a valid name on every operating system")
    return path.parts


def _add_name(seen: dict[str, str], parts: tuple[str, ...], is_folder: bool) -> None:
    """Record a name and its folders; refuse two names that are one file on a case-insensitive file system."""
    for depth in range(len(parts), 0, -1):
        is_folder = is_folder or depth < len(parts)
        name = "/".join(parts[:depth]) + ("/" if is_folder else "")
        key = name.rstrip("/").casefold()
        other = seen.get(key)
        if other is None:
            seen[key] = name
            continue
        if other != name:
            why = "differ only in case" if other.casefold() == name.casefold() else "are a file and a folder"
            raise UnsafeArchive(f"{other.rstrip('/')!r} and {name.rstrip('/')!r} {why}")
        if not is_folder:
            raise UnsafeArchive(f"{name!r} occurs twice")
        # The folders of a known folder are known.
        return
