"""The SQLite database of file metadata: a cache by path and state of the file that may be lost at any time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
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
# As SQLite stores it.
_SCHEMA = (
    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, digest "
    "BLOB, error TEXT, format TEXT, height INTEGER, width INTEGER, perceptual_hash BLOB, checksum BLOB) WITHOUT ROWID"
)
# Size in bytes, times of modification and of change in nanoseconds, inode. A copy in place keeps the first two, two
# files that are renamed into each other the first three.
Version = tuple[int, int, int, int]
# Digest, error, format, height, width, perceptual hash.
Row = tuple[Any, ...]


class Database:
    """The database of a block of code; after an error, as when it is locked, it has no rows and stores none."""

    def __init__(self) -> None:
        self._path = cache_home() / f"files-{_VERSION}.sqlite"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Database:
        with self._bypassed_on_error():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=_LOCK_SECONDS)
            # Text that is not UTF-8 differs from its checksum instead of raising an error.
            self._connection.text_factory = lambda text: text.decode("utf-8", "replace")
            _check_schema(self._connection)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def load(self, paths: Sequence[str], versions: Sequence[Version]) -> list[Row | None]:
        """Return the stored row of each path in its present version, or None."""
        found: list[Row | None] = []
        with self._bypassed_on_error():
            # Hundreds of paths per query take a third of the time of one query each.
            for start in range(0, len(paths) if self._connection else 0, _SQL_BATCH):
                found += self._select(paths[start : start + _SQL_BATCH], versions[start : start + _SQL_BATCH])
        return [*found, *[None] * (len(paths) - len(found))]

    def save(self, rows: Iterable[tuple[str, Version, Row]]) -> None:
        """Store rows by path."""
        named = ((os.fsencode(path), (*version, *row)) for path, version, row in rows)
        values = ((name, *row, _checksum(name, row)) for name, row in named)
        with self._bypassed_on_error():
            if self._connection is not None:
                with self._connection:
                    self._connection.executemany(
                        f"INSERT OR REPLACE INTO files (path, {_COLUMNS}) VALUES ({', '.join('?' * 12)})", values
                    )

    def _select(self, paths: Sequence[str], versions: Sequence[Version]) -> Iterator[Row | None]:
        assert self._connection is not None
        names = [os.fsencode(path) for path in paths]
        query = f"SELECT path, {_COLUMNS} FROM files WHERE path IN ({', '.join('?' * len(names))})"
        rows = {row[0]: row[1:] for row in self._connection.execute(query, names)}
        for name, version in zip(names, versions):
            row = rows.get(name)
            valid = row is not None and row[:4] == version and row[-1] == _checksum(name, row[:-1])
            yield row[4:-1] if row is not None and valid else None

    @contextlib.contextmanager
    def _bypassed_on_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, OverflowError, ValueError, sqlite3.Error) as error:
            self.__exit__()
            # SQLite raises this class itself, and no subclass, for a damaged file; a new one replaces it.
            if type(error) is sqlite3.DatabaseError:
                for path in (self._path, self._path.with_name(f"{self._path.name}-journal")):
                    with contextlib.suppress(OSError):
                        path.unlink()


def _check_schema(connection: sqlite3.Connection) -> None:
    """Create the table; raise a DatabaseError for another one, or for a view, whose query might never end."""
    found = connection.execute("SELECT sql FROM sqlite_master LIMIT 2").fetchall()
    if not found:
        connection.execute(_SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS"))
    elif found != [(_SCHEMA,)]:
        raise sqlite3.DatabaseError("another schema")


def _checksum(name: bytes, row: Row) -> bytes:
    # Damage of the file or a change by another program must not change what a file is taken for.
    return content_hash(name, repr(row).encode("utf-8", "surrogatepass"))[:8]
