"""Archives unpacked into the cache folder, found by the contents of the archive."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from transferkit._utils.cache_limit import LOCK_FILE, cache_limit_bytes, evict, mark_used, remove_entry
from transferkit._utils.files import atomic_write, cache_home, folder_size, lock, read_json
from transferkit._utils.hashing import sha256_of
from transferkit.datasets.archive import extract
from transferkit.errors import DataError


def unpacked(archive: str | os.PathLike[str]) -> Path:
    """Return the folder of the cache with the contents of an archive, which is unpacked where necessary.

    A folder in which files were changed or deleted, as by a program that cleans up caches, is replaced.

    Raises:
        DataError: as `unpack`; a downloaded archive is deleted, so that the next call downloads it again.
        StorageError: as `unpack`.
    """
    # A bad limit is refused before the work is done.
    cache_limit_bytes()
    try:
        folder = cache_home() / "unpacked" / sha256_of(archive)[:32]
    except OSError as error:
        received = f"{os.fspath(archive)!r} ({error.strerror})"
        raise DataError(f"An archive must be readable. Received: {received}. Check its permissions.") from error
    note = folder.with_suffix(".json")
    with lock(folder.with_suffix(".lock")):
        if folder.is_dir() and read_json(note).get("state") == _state(folder):
            mark_used(folder)
            return folder
        with _damaged_download_deleted(Path(archive)):
            extract(Path(archive), folder)
        with atomic_write(note) as temporary:
            temporary.write_text(json.dumps({"state": _state(folder), "size": folder_size(folder)}))
    evict(keep={folder})
    return folder


@contextlib.contextmanager
def _damaged_download_deleted(archive: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        if archive.is_relative_to(cache_home() / "downloads"):
            remove_entry(archive)
        raise


def _state(folder: Path) -> str:
    """Return what changes with the name, the size or the times of any file in `folder`."""
    digest = hashlib.blake2b(digest_size=16)
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name != LOCK_FILE:
                status = os.stat(path)
                version = status.st_size, status.st_mtime_ns, status.st_ctime_ns
                digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0{version}\n"))
    return digest.hexdigest()
