"""How much stored features may take, and which of them go when it is too much: those not used for longest."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
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
_IN_USE = ".in-use"
_REMOVED = ".removed-"


def root() -> Path:
    """Return the folder of all stores."""
    return cache_home() / "features"


def cache_limit_bytes() -> int:
    """Return how much all stores together may take: $TRANSFERKIT_CACHE_LIMIT in bytes, or 20 GB."""
    return int(float(os.environ.get(LIMIT_VARIABLE) or _DEFAULT_LIMIT))


def hold(folder: Path) -> BinaryIO | None:
    """Return an open file: while it is open, no process makes room by removing `folder`.

    The operating system lets go of the mark when its holder dies. None where there can be no such file.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / _IN_USE, "ab")  # noqa: SIM115 - it stays open
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        # The time of change says when the store was used last.
        os.utime(folder)
        return file
    return None


def evict(keep: Path) -> None:
    """Remove the stores that were not used for longest, until all fit the limit; never `keep` or one in use.

    What killed processes left behind is removed too.
    """
    remove_trash(root())
    stores = [path for path in root().glob("*") if path.is_dir()]
    for path in stores:
        remove_stale(path)
    sizes = {path: folder_size(path) for path in stores}
    for path in sorted(stores, key=_last_used):
        if sum(sizes.values()) <= cache_limit_bytes():
            return
        if path != keep and not _is_in_use(path) and remove_folder(path):
            sizes.pop(path)


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder, while other processes may change it."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def remove_folder(folder: Path) -> bool:
    """Remove a folder at one stroke, so that nobody finds half of it; return whether it is gone.

    Processes that have files of it open go on reading them.
    """
    aside = folder.with_name(f"{_REMOVED}{uuid.uuid4().hex}")
    try:
        os.rename(folder, aside)
    except OSError:
        return not folder.exists()
    shutil.rmtree(aside, ignore_errors=True)
    return True


def remove_trash(folder: Path) -> None:
    """Remove what is left in `folder` of folders whose removal was cut short."""
    for path in folder.glob(f"{_REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    if fcntl is None:
        return False
    try:
        with open(folder / _IN_USE, "ab") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # Without locks, as on some network disks, the limit still holds: processes survive that a store is removed.
        pass
    return False


def _last_used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
