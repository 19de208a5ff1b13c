"""Per-file metadata from reading every file once: content hash, size, format, and whether it can be decoded."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence

from transferkit._utils.hashing import HASH_BYTES, content_hash
from transferkit._utils.parallel import ordered_map
from transferkit._utils.progress import track
from transferkit.data import file_info_db
from transferkit.errors import ImageError
from transferkit.images.files import read_bytes, read_prefix
from transferkit.images.limits import is_limit_reason
from transferkit.images.loading import LoadedImage, content_hashes, load_with_metadata
from transferkit.images.memory_cache import MemoryImageCache, file_version
from transferkit.images.perceptual_hash import difference_hash
from transferkit.images.spec import ImageSpec
from transferkit.images.unsupported import undecodable_reason

# A file changed twice within a tick of the clock keeps its times, so younger files are not remembered.
_SETTLED_NS = 2 * 10**9
_CHUNK = 32
# The metadata of 100,000 files takes more memory than their hashes, so hashes are looked up in parts.
_HASH_BATCH = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class FileInfo:
    """Metadata of one file.

    Attributes:
        digest: 32 bytes that identify the contents; empty when the file cannot be read at all.
        error: None, or why it is not an image.
        format: "jpeg", "png", ... by its contents; "" for unknown.
        height: int. Upright height in pixels.
        width: int. Upright width in pixels.
        perceptual_hash: 64-bit int, or None for an image without contrast.
        num_bytes: size of the file.
    """

    digest: bytes
    error: str | None
    format: str = ""
    height: int = 0
    width: int = 0
    perceptual_hash: int | None = None
    num_bytes: int = 0


def inspect_files(
    paths: Sequence[str], spec: ImageSpec, *, cache: MemoryImageCache | None = None, progress: bool = True
) -> list[FileInfo]:
    """Return the metadata of each file (absolute paths), decoding those that are new or changed.

    `cache` receives the decoded images for the training that follows.
    """
    versions = [_file_version(path) for path in paths]
    known = _load(paths, versions)
    missing = [index for index, info in enumerate(known) if info is None]
    if missing:
        started = time.time_ns()
        found = _inspect([paths[index] for index in missing], spec, cache)
        for index, info in zip(missing, track(found, len(missing), "Reading images", enabled=progress)):
            known[index] = dataclasses.replace(info, num_bytes=max(0, versions[index][0]))
        _save(paths, versions, known, missing, started)
    return [info for info in known if info is not None]


def hash_files(paths: Sequence[str]) -> list[bytes]:
    """Return the content hash of each file, 32 bytes, reading only those that are new or changed.

    Raises:
        ImageError: for the first file that must be read and cannot be.
    """
    hashes: list[bytes] = []
    with file_info_db.Database() as database:
        for start in range(0, len(paths), _HASH_BATCH):
            # The database identifies files by their absolute paths.
            batch = [os.path.abspath(path) for path in paths[start : start + _HASH_BATCH]]
            rows = database.load(batch, [_file_version(path) for path in batch])
            known = [_digest(row) if row else None for row in rows]
            missing = [index for index, digest in enumerate(known) if digest is None]
            read = iter(content_hashes([paths[start + index] for index in missing]) if missing else ())
            hashes += [next(read) if digest is None else digest for digest in known]
    return hashes


def _inspect(paths: Sequence[str], spec: ImageSpec, cache: MemoryImageCache | None) -> Iterator[FileInfo]:
    chunks = (paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK))
    for chunk in ordered_map(lambda part: _inspect_chunk(part, spec, cache), chunks):
        yield from chunk


def _inspect_chunk(paths: Sequence[str], spec: ImageSpec, cache: MemoryImageCache | None) -> list[FileInfo]:
    keys = [file_version(path, spec) for path in paths]
    return [
        _to_info(path, key, loaded, cache) for path, key, loaded in zip(paths, keys, load_with_metadata(paths, spec))
    ]


def _to_info(path: str, key: object, loaded: LoadedImage | ImageError, cache: MemoryImageCache | None) -> FileInfo:
    if isinstance(loaded, ImageError):
        return FileInfo(_hash_unreadable(path), loaded.reason)
    if cache is not None:
        cache.put(key, loaded.image)
    looks = None if loaded.thumbnail is None else difference_hash(loaded.thumbnail)
    return FileInfo(loaded.content_hash, None, loaded.format, *loaded.size, looks)


def _hash_unreadable(path: str) -> bytes:
    try:
        return content_hash(read_bytes(path)[1])
    except ImageError:
        return b""


def _file_version(path: str) -> file_info_db.Version:
    try:
        # A record changes with the file that contains it.
        status = os.stat(path.rsplit("@", 1)[0] if ".tfrecord@" in path and not os.path.exists(path) else path)
    except (OSError, ValueError):
        return -1, -1, -1, -1
    # An inode may need all 64 bits, and SQLite has signed integers.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & (2**63 - 1)


def _load(paths: Sequence[str], versions: Sequence[file_info_db.Version]) -> list[FileInfo | None]:
    with file_info_db.Database() as database:
        rows = database.load(paths, versions)
    return [None if row is None else _from_row(row, version[0]) for row, version in zip(rows, versions)]


def _digest(row: file_info_db.Row) -> bytes | None:
    return row[0] if isinstance(row[0], bytes) and len(row[0]) == HASH_BYTES else None


def _from_row(row: file_info_db.Row, num_bytes: int) -> FileInfo | None:
    _, error, format_name, height, width, looks = row
    digest = _digest(row)
    if digest is None or (looks is not None and len(looks) != 8):
        return None
    looks = None if looks is None else int.from_bytes(looks, "big")
    return FileInfo(digest, error, format_name, height, width, looks, num_bytes)


def _is_final(path: str, info: FileInfo) -> bool:
    """Return whether an unchanged file will be judged the same in the next run."""
    if info.error is None:
        return True
    # A file that cannot be read today (permissions, a network share) may be readable tomorrow, one of a format that
    # needs another package after its installation, and a large one with another limit.
    if not info.digest or is_limit_reason(info.error):
        return False
    return undecodable_reason(path, read_prefix(path, 512)) is None


def _save(
    paths: Sequence[str],
    versions: Sequence[file_info_db.Version],
    infos: Sequence[FileInfo | None],
    indices: Sequence[int],
    started: int,
) -> None:
    def rows() -> Iterator[tuple[str, file_info_db.Version, file_info_db.Row]]:
        for index in indices:
            info, version = infos[index], versions[index]
            if info is not None and _is_final(paths[index], info) and 0 <= max(version[1:3]) < started - _SETTLED_NS:
                looks = None if info.perceptual_hash is None else info.perceptual_hash.to_bytes(8, "big")
                yield paths[index], version, (info.digest, info.error, info.format, info.height, info.width, looks)

    with file_info_db.Database() as database:
        database.save(rows())
