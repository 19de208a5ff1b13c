"""The cache folder, atomic writes, file locks, and JSON files that may be lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from transferkit._utils.text import printable
from transferkit.errors import DownloadError, StorageError

# The umask can be read only by setting it, which other threads would notice: it is read once, at import.
_UMASK = os.umask(0)
os.umask(_UMASK)
# Far above the size of any file of measurements.
_MAX_JSON_BYTES = 16 << 20
# What file systems allow.
_MAX_NAME_BYTES = 255
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

    The environment is read at each call, so that tests and jobs can redirect it. Raise a StorageError when the user has
    no home folder.
    """
    chosen = os.environ.get("TRANSFERKIT_HOME")
    try:
        if chosen:
            return _checked_home(Path(chosen).expanduser().absolute())
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "transferkit"
    except RuntimeError as error:
        # As in a container whose user has no account.
        received = repr(chosen) if chosen else "no home folder of this user"
        raise StorageError(
            errno.ENOENT, f"The cache folder must be known. Received: {received}. Set TRANSFERKIT_HOME to a folder."
        ) from error


def _checked_home(folder: Path) -> Path:
    if any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in folder.parts):
        raise StorageError(
            errno.ENAMETOOLONG,
            f"The environment variable TRANSFERKIT_HOME must be a path with names of at most {_MAX_NAME_BYTES} bytes. "
            f"Received: {str(folder)[:60]!r}... Choose a shorter name.",
        )
    return folder


@contextlib.contextmanager
def atomic_write(target: str | os.PathLike[str], suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`; rename it to `target` on success, delete it on failure.

    `suffix` is the extension of the temporary name, for writers that depend on it. A link is followed. Raise a
    StorageError when the file cannot be written.
    """
    target = _without_link(target)
    with storage_errors(target):
        _check_kind(target, stat.S_ISREG, "a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_hidden_prefix(target), suffix=suffix or ".partial", dir=target.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(target, temporary):
            yield temporary
            # mkstemp creates files for their owner only.
            temporary.chmod(0o666 & ~_UMASK)
            _sync(temporary)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; its contents replace `target` on success and are deleted on failure.

    An existing folder is kept until the new one is complete, and restored if the exchange fails. An empty one is
    filled, because a mount point or the current folder cannot be exchanged. A link is followed. Raise a StorageError
    when the folder cannot be written.
    """
    target = _without_link(target)
    with storage_errors(target):
        _check_kind(target, stat.S_ISDIR, "a folder")
        is_empty = target.is_dir() and not any(target.iterdir())
        parent = target if is_empty else target.parent
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_hidden_prefix(target), dir=parent))
    try:
        with storage_errors(target, temporary):
            yield temporary
            temporary.chmod(0o777 & ~_UMASK)
            for path in temporary.rglob("*"):
                if path.is_file():
                    _sync(path)
            (_fill if is_empty else _exchange)(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def storage_errors(target: Path, written: Path | None = None) -> Iterator[None]:
    """Raise a StorageError for any OSError while `target` is written: place, reason, bytes in `written`, free bytes."""
    try:
        yield
    except (StorageError, DownloadError):
        raise
    except OSError as error:
        size = "" if written is None else f" after {folder_size(written):,} bytes"
        raise StorageError(
            error.errno or errno.EIO,
            f"{str(target)!r} must be writable. Received: {printable(error.strerror or error)}{size}"
            f"{_free_space(target)}. {_remedy(error, target)}.",
        ) from error
    except ValueError as error:
        if "\0" not in str(target):
            raise
        raise StorageError(errno.EINVAL, f"{str(target)!r} must be a path. Received: a NUL character in it.") from error


def folder_size(path: Path) -> int:
    """Return the size in bytes of a file or of all files in a folder, which other processes may change meanwhile."""
    size = 0
    with contextlib.suppress(OSError):
        if not path.is_dir():
            return path.stat().st_size
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def _without_link(target: str | os.PathLike[str]) -> Path:
    # Renaming onto a link would replace the link.
    return Path(os.path.realpath(target) if "\0" not in os.fspath(target) and os.path.islink(target) else target)


def _check_kind(target: Path, has_kind: Callable[[int], bool], kind: str) -> None:
    """Raise an OSError when `target` exists and is not a file or folder that can be replaced, or cannot exist."""
    with contextlib.suppress(FileNotFoundError):
        if not has_kind(os.stat(target).st_mode):
            raise OSError(errno.EEXIST, f"something that is not {kind}")


def _hidden_prefix(target: Path) -> str:
    # A letter may have four bytes, and a name at most 255.
    return f".{target.name[:40]}."


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _exchange(temporary: Path, target: Path) -> None:
    if target.exists() and _holds_current_folder(target):
        # Renamed and deleted, it would leave this process without a folder.
        raise OSError(errno.EBUSY, "the current folder")
    old = temporary.with_name(temporary.name + ".old")
    try:
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(temporary, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _holds_current_folder(folder: Path) -> bool:
    try:
        return Path.cwd().is_relative_to(folder.resolve())
    except FileNotFoundError:
        return False


def _fill(temporary: Path, target: Path) -> None:
    moved = []
    try:
        for path in sorted(temporary.iterdir()):
            moved.append(target / path.name)
            os.replace(path, moved[-1])
    except OSError:
        for path in moved:
            os.replace(path, temporary / path.name)
        raise


def _free_space(target: Path) -> str:
    for folder in target.absolute().parents:
        with contextlib.suppress(OSError):
            return f", with {shutil.disk_usage(folder).free:,} bytes free"
    return ""


def _remedy(error: OSError, target: Path) -> str:
    in_cache = False
    with contextlib.suppress(StorageError):
        in_cache = target.is_relative_to(cache_home())
    if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None)):
        return "Free disk space, or " + ("set TRANSFERKIT_HOME to another disk" if in_cache else "choose another disk")
    if in_cache:
        return "Set TRANSFERKIT_HOME to a folder that you may write to"
    if error.errno == errno.ENAMETOOLONG:
        return "Choose a shorter name"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder that you may write to"
    return "Choose another path"


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], timeout: float = 600.0) -> Iterator[None]:
    """Hold an exclusive lock on `path`, a lock file, against other processes; a TimeoutError after `timeout` seconds.

    The operating system releases the lock when its holder dies. The file is deleted afterwards. Raise a StorageError
    when it cannot be created.
    """
    path = Path(path)
    deadline = time.monotonic() + timeout
    while (file := _open_locked(path)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{path} must be unlocked. Received: a lock that another process has held for {timeout:g} s. "
                "End that process."
            )
        time.sleep(0.05)
    with file:
        try:
            yield
        finally:
            # Windows does not delete an open file; there the empty file stays.
            with contextlib.suppress(OSError):
                path.unlink()
            _unlock(file.fileno())


def _open_locked(path: Path) -> BinaryIO | None:
    """Return the lock file, opened and locked, or None while another process holds it."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115 - the caller closes it
    if _try_lock(file.fileno()):
        # A holder before may have deleted the file after it was opened here: others would lock another file.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
    file.close()
    return None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise a ValueError for any other text, also for one nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty dict when it is missing, unreadable, too large or not an object."""
    with contextlib.suppress(OSError, ValueError):
        # A pipe or a device would block or never end.
        if path.is_file() and path.stat().st_size <= _MAX_JSON_BYTES:
            found = parse_json(path.read_bytes())
            return found if isinstance(found, dict) else {}
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
