"""The SQLite database of file metadata: a cache by path and state of the file that may be lost at any time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from transferkit._utils.files import cache_home
from transferkit._utils.hashing import content_hash

# Changes whenever another version could judge a file otherwise, or with the columns.
_VERSION = 5
# SQLite supports at least 999 values per query.
_SQL_BATCH = 500
# Decoding a few hundred images again takes as long as waiting for another process to release the database.
_LOCK_SECONDS = 0.5
_COLUMNS = "size, mtime, ctime, inode, digest, error, format, height, width, perceptual_hash, checksum"
# Size in bytes, times of modification and of change in nanoseconds, inode. A copy in place keeps the first two, two
# files that are renamed into each other the first three.
Version = tuple[int, int, int, int]
# Digest, error, format, height, width, perceptual hash.
Row = tuple[Any, ...]


def load_rows(paths: Sequence[str], versions: Sequence[Version]) -> list[Row | None]:
    """Return the stored row of each path in its present version, or None."""
    found: list[Row | None] = []
    with _connect() as database:
        if database is None:
            return [None] * len(paths)
        try:
            # Hundreds of paths per query take a third of the time of one query each.
            for start in range(0, len(paths), _SQL_BATCH):
                names = [os.fsencode(path) for path in paths[start : start + _SQL_BATCH]]
                query = f"SELECT path, {_COLUMNS} FROM files WHERE path IN ({', '.join('?' * len(names))})"
                rows = {row[0]: row[1:] for row in database.execute(query, names)}
                for name, version in zip(names, versions[start : start + _SQL_BATCH]):
                    row = rows.get(name)
                    valid = row is not None and row[:4] == version and row[-1] == _checksum(name, row[:-1])
                    found.append(row[4:-1] if row is not None and valid else None)
        except sqlite3.Error:
            return [None] * len(paths)
    return found


def save_rows(rows: Iterable[tuple[str, Version, Row]]) -> None:
    """Store rows by path; nothing happens where there can be no database."""
    with _connect() as database:
        if database is not None:
            named = ((os.fsencode(path), (*version, *row)) for path, version, row in rows)
            values = ((name, *row, _checksum(name, row)) for name, row in named)
            with contextlib.suppress(sqlite3.Error), database:
                database.executemany(
                    f"INSERT OR REPLACE INTO files (path, {_COLUMNS}) VALUES ({', '.join('?' * 12)})", values
                )


def _checksum(name: bytes, row: Row) -> bytes:
    # Damage of the file or a change by another program must not change what a file is taken for.
    return content_hash(name, repr(row).encode("utf-8", "surrogatepass"))[:8]


@contextlib.contextmanager
def _connect() -> Iterator[sqlite3.Connection | None]:
    path = cache_home() / f"files-{_VERSION}.sqlite"
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_LOCK_SECONDS)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime "
            "INTEGER, inode INTEGER, digest BLOB, error TEXT, format TEXT, height INTEGER, width INTEGER, "
            "perceptual_hash BLOB, checksum BLOB) WITHOUT ROWID"
        )
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            # The file is damaged; the next run creates a new one.
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
