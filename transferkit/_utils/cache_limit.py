"""The size limit of the cache folder: the least recently used entries are deleted, but none that is in use."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
import weakref
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from transferkit._utils.files import cache_home, folder_size, read_json

try:
    import fcntl
except ImportError:  # Windows, where a folder with open files cannot be renamed, so that no lock is needed
    fcntl = None  # type: ignore[assignment]

LIMIT_VARIABLE = "TRANSFERKIT_CACHE_LIMIT"
# Folders whose entries count for the limit; each file or folder in them is an entry.
LIMITED = ("features", "engines", "images", "unpacked", "downloads", "trials", "shards")
_DEFAULT_LIMIT = 20 * 10**9
# An open lock on this file keeps its folder from being evicted.
LOCK_FILE = ".in-use"
_SIZE = re.compile(r"([\d._]+(?:e[+-]?\d+)?)\s*(?:([kmgt]?)(i?)b?)", re.IGNORECASE)
_TRASH = ".removed-"


def cache_limit_bytes() -> int:
    """Return the size limit of the cache: $TRANSFERKIT_CACHE_LIMIT, such as "20GB", "500 MB" or "1e9", or 20 GB.

    Raises:
        ValueError: when the variable is not a size.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(_DEFAULT_LIMIT)
    with contextlib.suppress(ValueError, OverflowError):
        found = _SIZE.fullmatch(text.strip())
        if found is not None:
            unit = (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
            return int(float(found[1]) * unit)
    raise ValueError(
        f"The environment variable {LIMIT_VARIABLE} must be a size in bytes, such as 20GB, '500 MB' or 1e9. "
        f"Received: {text!r}. Change or remove it."
    )


def hold(folder: Path) -> BinaryIO | None:
    """Return an open file that keeps `folder` from being evicted, or None where it cannot be created.

    The operating system releases the lock when its holder dies.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK_FILE, "ab")  # noqa: SIM115 - it stays open
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        mark_used(folder)
        return file
    return None


def hold_files(owner: Any, paths: Iterable[str]) -> None:
    """Keep the unpacked archives that hold some of `paths` from being evicted while the object `owner` lives."""
    root = f"{cache_home() / 'unpacked'}{os.sep}"
    for name in {path[len(root) :].split(os.sep, 1)[0] for path in paths if path.startswith(root)}:
        file = hold(Path(root, name))
        if file is not None:
            weakref.finalize(owner, file.close)


def mark_used(path: Path) -> None:
    """Set the time of the last use of an entry, its modification time."""
    with contextlib.suppress(OSError):
        os.utime(path)


def evict(keep: Collection[Path] = ()) -> None:
    """Delete the least recently used entries until the cache fits its limit, but none in `keep` or in use."""
    limit = cache_limit_bytes()
    sizes = {path: _entry_size(path) for path in _entries()}
    total = sum(sizes.values())
    for path in sorted(sizes, key=_last_used):
        if total <= limit:
            return
        if path not in keep and not _is_in_use(path) and remove_entry(path):
            total -= sizes[path]


def remove_entry(path: Path) -> bool:
    """Delete a file or folder atomically: rename, then delete; return whether it is gone.

    Processes that have its files open can still read them.
    """
    trash = path.with_name(f"{_TRASH}{uuid.uuid4().hex}")
    try:
        os.rename(path, trash)
    except OSError:
        return not path.exists()
    _delete(trash)
    return True


def remove_trash(folder: Path) -> None:
    """Delete what interrupted deletions left in `folder`."""
    for path in folder.glob(f"{_TRASH}*"):
        _delete(path)


def _entries() -> Iterator[Path]:
    for folder in (cache_home() / name for name in LIMITED):
        remove_trash(folder)
        # Notes about entries and lock files are small, and may be needed without their entry.
        yield from (path for path in folder.glob("[!.]*") if path.suffix not in (".json", ".lock"))


def _entry_size(path: Path) -> int:
    # An unpacked archive can have very many files; its size is noted.
    noted = read_json(path.with_suffix(".json")).get("size") if path.parent.name == "unpacked" else None
    return noted if isinstance(noted, int) else folder_size(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def _is_in_use(path: Path) -> bool:
    if fcntl is None or not path.is_dir():
        return False
    try:
        with open(path / LOCK_FILE, "ab") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # Without locks, as on some network file systems, the limit still holds: processes tolerate a deleted store.
        pass
    return False


def _last_used(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0
