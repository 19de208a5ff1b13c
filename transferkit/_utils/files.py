"""The cache folder, atomic writes, file locks, and JSON files that may be lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The umask can be read only by setting it, which other threads would notice: it is read once, at import.
_UMASK = os.umask(0)
os.umask(_UMASK)
_SYSTEM_NAME = re.compile(
    r"(?i)\.|(thumbs\.db|ehthumbs\.db|desktop\.ini|icon\r|__macosx|__pycache__|\$recycle\.bin|recycler|recycled|"
    r"system volume information|lost\+found|found\.\d{3}|@eadir|[#@]recycle|@tmp|#snapshot|lost\.dir)$"
)


def is_system_name(name: str) -> bool:
    """Return whether a file or folder of this name belongs to an operating system, network storage or program.

    >>> is_system_name(".DS_Store"), is_system_name("__MACOSX"), is_system_name("cats")
    (True, True, False)
    """
    return _SYSTEM_NAME.match(name) is not None


def cache_home() -> Path:
    """Return the cache folder: $TRANSFERKIT_HOME, or the cache folder of the platform.

    The environment is read at each call, so that tests and jobs can redirect it.
    """
    chosen = os.environ.get("TRANSFERKIT_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "transferkit"


@contextlib.contextmanager
def atomic_write(target: str | os.PathLike[str], suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`; rename it to `target` on success, delete it on failure.

    `suffix` is the extension of the temporary name, for writers that depend on it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=suffix or ".partial", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp creates files for their owner only.
        temporary.chmod(0o666 & ~_UMASK)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; it replaces `target` on success and is deleted on failure.

    An existing folder is kept until the new one is complete, and restored if the exchange fails.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:60]}.", dir=target.parent))
    old = temporary.with_name(temporary.name + ".old")
    try:
        yield temporary
        temporary.chmod(0o777 & ~_UMASK)
        for path in temporary.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(temporary, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], timeout: float = 600.0) -> Iterator[None]:
    """Hold an exclusive lock on `path`, a lock file, against other processes; a TimeoutError after `timeout` seconds.

    The operating system releases the lock when its holder dies.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with open(path, "a+b") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{path} must be unlocked. Received: a lock that another process has held for {timeout:g} s. "
                    "End that process."
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            _unlock(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty dict when it is missing, unreadable or not an object."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def update_json(path: Path, key: str, value: Any) -> None:
    """Set one key of a JSON file; a folder that cannot be written to is ignored."""
    with contextlib.suppress(OSError), atomic_write(path) as temporary:
        temporary.write_text(json.dumps({**read_json(path), key: value}), encoding="utf-8")


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
