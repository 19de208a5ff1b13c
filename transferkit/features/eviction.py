"""Size limit and LRU eviction of feature stores."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from transferkit._utils.files import cache_home
from transferkit.features.shard_io import remove_stale

try:
    import fcntl
except ImportError:  # Windows, where a folder with open files cannot be renamed, so that no lock is needed
    fcntl = None  # type: ignore[assignment]

LIMIT_VARIABLE = "TRANSFERKIT_CACHE_LIMIT"
_DEFAULT_LIMIT = 20 * 10**9
_LOCK_FILE = ".in-use"
_TRASH = ".removed-"


def root() -> Path:
    """Return the folder of all stores."""
    return cache_home() / "features"


def cache_limit_bytes() -> int:
    """Return the size limit of all stores together: $TRANSFERKIT_CACHE_LIMIT in bytes, or 20 GB."""
    return int(float(os.environ.get(LIMIT_VARIABLE) or _DEFAULT_LIMIT))


def hold(folder: Path) -> BinaryIO | None:
    """Return an open file that keeps `folder` from being evicted, or None where it cannot be created.

    The operating system releases the lock when its holder dies.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / _LOCK_FILE, "ab")  # noqa: SIM115 - it stays open
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        # The modification time of the folder is the time of its last use.
        os.utime(folder)
        return file
    return None


def evict(keep: Collection[Path]) -> None:
    """Delete the least recently used stores until all fit the limit, but none in `keep` or in use.

    Files left by killed processes are deleted too.
    """
    remove_trash(root())
    stores = [path for path in root().glob("*") if path.is_dir()]
    for path in stores:
        remove_stale(path)
    sizes = {path: folder_size(path) for path in stores}
    for path in sorted(stores, key=_last_used):
        if sum(sizes.values()) <= cache_limit_bytes():
            return
        if path not in keep and not _is_in_use(path) and remove_folder(path):
            sizes.pop(path)


def folder_size(folder: Path) -> int:
    """Return the size in bytes of all files in a folder, which other processes may change meanwhile."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def remove_folder(folder: Path) -> bool:
    """Delete a folder atomically: rename, then delete; return whether it is gone.

    Processes that have its files open can still read them.
    """
    trash = folder.with_name(f"{_TRASH}{uuid.uuid4().hex}")
    try:
        os.rename(folder, trash)
    except OSError:
        return not folder.exists()
    shutil.rmtree(trash, ignore_errors=True)
    return True


def remove_trash(folder: Path) -> None:
    """Delete what interrupted deletions left in `folder`."""
    for path in folder.glob(f"{_TRASH}*"):
        shutil.rmtree(path, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    if fcntl is None:
        return False
    try:
        with open(folder / _LOCK_FILE, "ab") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # Without locks, as on some network file systems, the limit still holds: processes tolerate a deleted store.
        pass
    return False


def _last_used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
