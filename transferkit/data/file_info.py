"""What is known of files by reading them: a digest of the contents, the size, and whether they can be decoded.

Reading takes time, so what was found is remembered in a small database, by path, size and time of change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from transferkit._utils.files import cache_home
from transferkit._utils.progress import track
from transferkit.errors import ImageError
from transferkit.images.loading import Examined, ImageSpec, content_hashes, load_with_metadata, threads
from transferkit.images.memory_cache import PIXEL_MEMORY, file_key
from transferkit.images.pillow_decoder import read_bytes

# A file changed twice within the clock's tick keeps its time of change; so what is this young is not remembered.
_MTIME_SETTLED_NS = 2 * 10**9
# Changes whenever another version could judge a file otherwise.
_VERSION = 3
_CHUNK = 32
# SQLite takes 999 values in a query at least.
_ASKED = 500
_AT_ONCE = 10_000
# Grey levels between the darkest and the lightest cell under which a picture is too flat to be told from others.
_MIN_CONTRAST = 12.0


@dataclasses.dataclass(frozen=True, slots=True)
class FileInfo:
    """What reading a file showed.

    Attributes:
        digest: 32 bytes that stand for the contents; empty when the file could not be read at all.
        error: None, or why it is no image.
        format: "jpeg", "png", ... as the contents say; "" where that is unknown.
        height: in pixels, upright.
        width: in pixels, upright.
        look: perceptual hash of 64 bits, or None for an image too flat to have one.
        bytes: size of the file.
    """

    digest: bytes
    error: str | None
    format: str = ""
    height: int = 0
    width: int = 0
    look: int | None = None
    bytes: int = 0


def inspect_files(paths: Sequence[str], pixels: ImageSpec, *, progress: bool = True) -> list[FileInfo]:
    """Return what is known of each file, reading those that are new or changed; decoding proves that they can be.

    Args:
        paths: absolute paths.
        pixels: how files become images: what is decoded here is kept in memory for the training that follows.
        progress: whether a bar is shown when it takes more than a few seconds.
    """
    stamps = [_stamp(path) for path in paths]
    known = _recall(paths, stamps)
    missing = [index for index, fact in enumerate(known) if fact is None]
    if missing:
        started = time.time_ns()
        # What an earlier data set left there is not wanted any more.
        PIXEL_MEMORY.clear()
        found = _read([paths[index] for index in missing], pixels)
        for index, fact in zip(missing, track(found, len(missing), "Reading images", shown=progress)):
            known[index] = dataclasses.replace(fact, bytes=max(0, stamps[index][0]))
        _record(paths, stamps, known, missing, started)
    return [fact for fact in known if fact is not None]


def hash_files(paths: Sequence[str]) -> list[bytes]:
    """Return 32 bytes for each file that stand for its contents, reading only those that are new or changed.

    Raises:
        ImageError: for the first file that must be read and cannot be.
    """
    # Part by part: all that is known of a hundred thousand files takes more memory than their digests.
    return [digest for start in range(0, len(paths), _AT_ONCE) for digest in _digests(paths[start : start + _AT_ONCE])]


def difference_hash(grey: np.ndarray) -> int | None:
    """Return 64 bits that say where a grey picture (8, 9) gets lighter from left to right; None for a flat one.

    Scaling, recompressing and brightening a picture changes few of them.
    Reference: Krawetz, "Kind of Like That", hackerfactor.com, 2013.

    >>> difference_hash(np.zeros((8, 9)))
    >>> difference_hash(np.tile(np.arange(9) * 10.0, (8, 1))) == 2**64 - 1
    True
    """
    if float(np.ptp(grey)) < _MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def _read(paths: Sequence[str], pixels: ImageSpec) -> Iterator[FileInfo]:
    chunks = (paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK))
    with ThreadPoolExecutor(max_workers=threads()) as pool:
        for facts in _mapped(pool, chunks, pixels):
            yield from facts


def _mapped(pool: ThreadPoolExecutor, chunks: Iterable[Sequence[str]], pixels: ImageSpec) -> Iterator[list[FileInfo]]:
    try:
        yield from pool.map(lambda chunk: _examine(chunk, pixels), chunks)
    finally:
        # Whoever stops listening (Ctrl-C) does not want to wait for a hundred thousand files.
        pool.shutdown(wait=False, cancel_futures=True)


def _examine(paths: Sequence[str], spec: ImageSpec) -> list[FileInfo]:
    keys = [file_key(path, spec) for path in paths]
    facts = []
    for path, key, examined in zip(paths, keys, load_with_metadata(paths, spec)):
        if isinstance(examined, Examined):
            # The training that follows needs these pixels at once.
            PIXEL_MEMORY.put(key, examined.pixels)
            look = difference_hash(examined.thumbnail)
            facts.append(FileInfo(examined.digest, None, examined.format, *examined.size, look))
        else:
            facts.append(FileInfo(_digest_of_broken(path), examined.reason))
    return facts


def _digests(paths: Sequence[str]) -> list[bytes]:
    # The database knows files by their absolute paths.
    absolute = [os.path.abspath(path) for path in paths]
    known = _recall(absolute, [_stamp(path) for path in absolute])
    missing = [index for index, fact in enumerate(known) if fact is None]
    read = dict(zip(missing, content_hashes([paths[index] for index in missing])))
    return [read[index] if fact is None else fact.digest for index, fact in enumerate(known)]


def _digest_of_broken(path: str) -> bytes:
    try:
        return hashlib.blake2b(read_bytes(path)[1], digest_size=32).digest()
    except ImageError:
        return b""


def _stamp(path: str) -> tuple[int, int]:
    try:
        # A record changes with the file that it lies in.
        status = os.stat(path.rsplit("@", 1)[0] if ".tfrecord@" in path and not os.path.exists(path) else path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection | None]:
    """Give the database, or None where there can be none: remembering is a help, never a condition."""
    path = cache_home() / f"files-{_VERSION}.sqlite"
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=30)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, digest BLOB, "
            "error TEXT, format TEXT, height INTEGER, width INTEGER, look BLOB) WITHOUT ROWID"
        )
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            # It is no database any more; the next run starts a new one.
            with contextlib.suppress(OSError):
                path.unlink()
        if connection is not None:
            connection.close()
        connection = None
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


_COLUMNS = "size, changed, digest, error, format, height, width, look"


def _recall(paths: Sequence[str], stamps: Sequence[tuple[int, int]]) -> list[FileInfo | None]:
    found: list[FileInfo | None] = []
    with _database() as database:
        if database is None:
            return [None] * len(paths)
        try:
            # Several hundred in one query take a third of the time of one query each.
            for start in range(0, len(paths), _ASKED):
                names = [os.fsencode(path) for path in paths[start : start + _ASKED]]
                places = ", ".join("?" * len(names))
                query = f"SELECT path, {_COLUMNS} FROM files WHERE path IN ({places})"
                rows = {row[0]: row[1:] for row in database.execute(query, names)}
                found += [_fact(rows.get(name), stamp) for name, stamp in zip(names, stamps[start : start + _ASKED])]
        except sqlite3.Error:
            return [None] * len(paths)
    return found


def _fact(row: tuple | None, stamp: tuple[int, int]) -> FileInfo | None:
    if row is None or row[:2] != stamp:
        return None
    size, _, digest, error, form, height, width, look = row
    if not isinstance(digest, bytes) or len(digest) != 32 or (look is not None and len(look) != 8):
        return None
    look = None if look is None else int.from_bytes(look, "big")
    return FileInfo(digest, error, form, height, width, look, size)


def _record(
    paths: Sequence[str],
    stamps: Sequence[tuple[int, int]],
    facts: Sequence[FileInfo | None],
    indices: Sequence[int],
    started: int,
) -> None:
    def rows() -> Iterator[tuple]:
        for index in indices:
            fact = facts[index]
            # What cannot be read today (a share that is away, a permission) may be readable tomorrow.
            if fact is not None and fact.digest and 0 <= stamps[index][1] < started - _MTIME_SETTLED_NS:
                look = None if fact.look is None else fact.look.to_bytes(8, "big")
                what = fact.digest, fact.error, fact.format, fact.height, fact.width, look
                yield os.fsencode(paths[index]), *stamps[index], *what

    with _database() as database:
        if database is not None:
            with contextlib.suppress(sqlite3.Error), database:
                database.executemany(
                    f"INSERT OR REPLACE INTO files (path, {_COLUMNS}) VALUES ({', '.join('?' * 9)})", rows()
                )
