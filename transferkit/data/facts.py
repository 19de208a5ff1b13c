"""What is known of files by reading them: a digest of the contents, the size, and whether they can be decoded.

Reading takes time, so what was found is remembered in a small database, by path, size and time of change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from transferkit._storage import home
from transferkit.data.memory import PIXEL_MEMORY, file_key
from transferkit.data.pixels import PixelSpec, examine_many, threads
from transferkit.errors import ImageError

__all__ = ["FileFact", "facts_of"]

# A file changed twice within the clock's tick keeps its time of change; so what is this young is not remembered.
_SETTLED_NS = 2 * 10**9
# Changes whenever another version could judge a file otherwise.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class FileFact:
    """What reading a file showed.

    Attributes:
        digest: 32 bytes that stand for the contents; empty when the file could not be read at all.
        error: None, or why it is no image.
    """

    digest: bytes
    error: str | None


def facts_of(paths: Sequence[str], pixels: PixelSpec, *, progress: bool = True) -> list[FileFact]:
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
        chunks = [[paths[index] for index in missing[at : at + 8]] for at in range(0, len(missing), 8)]
        with ThreadPoolExecutor(max_workers=threads()) as pool:
            found = (fact for facts in pool.map(lambda chunk: _examine(chunk, pixels), chunks) for fact in facts)
            for index, fact in zip(missing, _with_bar(found, len(missing), progress)):
                known[index] = fact
        _record(paths, stamps, known, missing, started)
    return [fact for fact in known if fact is not None]


def _examine(paths: Sequence[str], spec: PixelSpec) -> list[FileFact]:
    keys = [file_key(path, spec) for path in paths]
    facts = []
    for key, examined in zip(keys, examine_many(paths, spec)):
        if isinstance(examined, ImageError):
            facts.append(FileFact(b"", examined.reason))
        else:
            # The training that follows needs these pixels at once.
            PIXEL_MEMORY.put(key, examined.pixels)
            facts.append(FileFact(examined.digest, None))
    return facts


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _with_bar(found: Iterator[FileFact], total: int, progress: bool) -> Iterator[FileFact]:
    started, shown = time.monotonic(), 0.0
    for number, fact in enumerate(found, 1):
        now = time.monotonic()
        if progress and now - started > 2 and now - shown > 0.5:
            shown = now
            print(f"\rReading images: {number:,} of {total:,}", end="", file=sys.stderr, flush=True)
        yield fact
    if shown:
        print(f"\rReading images: {total:,} of {total:,}", file=sys.stderr)


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection | None]:
    """Give the database, or None where there can be none: remembering is a help, never a condition."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(home() / f"files-{_VERSION}.sqlite", timeout=30)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, "
            "digest BLOB, error TEXT) WITHOUT ROWID"
        )
    except (OSError, sqlite3.Error):
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def _recall(paths: Sequence[str], stamps: Sequence[tuple[int, int]]) -> list[FileFact | None]:
    with _database() as database:
        if database is None:
            return [None] * len(paths)
        try:
            rows = (
                database.execute("SELECT size, changed, digest, error FROM files WHERE path = ?", [os.fsencode(path)])
                for path in paths
            )
            found = [row.fetchone() for row in rows]
        except sqlite3.DatabaseError:
            return [None] * len(paths)
    return [
        FileFact(row[2], row[3]) if row is not None and row[:2] == stamp else None for row, stamp in zip(found, stamps)
    ]


def _record(
    paths: Sequence[str],
    stamps: Sequence[tuple[int, int]],
    facts: Sequence[FileFact | None],
    indices: Sequence[int],
    started: int,
) -> None:
    rows = [
        (os.fsencode(paths[index]), *stamps[index], fact.digest, fact.error)
        for index in indices
        # What cannot be read today (a share that is away, a permission) may be readable tomorrow.
        if (fact := facts[index]) is not None and fact.digest and stamps[index][1] < started - _SETTLED_NS
    ]
    with _database() as database:
        if database is not None:
            with contextlib.suppress(sqlite3.Error), database:
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
