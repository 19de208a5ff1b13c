"""The cache folder, atomic writes, locks and JSON files."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import TIMEOUT
from transferkit._utils import files
from transferkit._utils.files import atomic_folder, atomic_write, cache_home, lock, read_json, update_json
from transferkit.errors import StorageError

_HOLD_LOCK = """
import sys, time
from transferkit._utils.files import lock
with lock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_cache_home_of_user_without_home_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_HOME", "~no-such-user/cache")
    with pytest.raises(StorageError, match="must be known. Received: '~no-such-user/cache'. Set TRANSFERKIT_HOME"):
        cache_home()
    # Other files can still be written, and their errors are not replaced.
    with pytest.raises(StorageError, match="something that is not a file.*Choose another path"), atomic_write(tmp_path):
        pass


def test_cache_home_with_long_name_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_HOME", "/tmp/" + "é" * 128)
    with pytest.raises(StorageError, match="names of at most 255 bytes. Received: '/tmp/é+'?... Choose a shorter name"):
        cache_home()


def test_atomic_write_below_file_in_cache_raises(own_home: Path) -> None:
    (own_home / "locks").touch()
    with (
        pytest.raises(StorageError, match="Set TRANSFERKIT_HOME to a folder that you"),
        lock(own_home / "locks/a.lock"),
    ):
        pass


def test_cache_home_follows_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "here"))
    assert cache_home() == tmp_path / "here"
    monkeypatch.setenv("TRANSFERKIT_HOME", "~/there")
    assert cache_home() == Path.home() / "there"
    monkeypatch.delenv("TRANSFERKIT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_home() == tmp_path / "transferkit"


def test_atomic_write_creates_file_and_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.npz"
    with atomic_write(target, suffix=".npz") as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".npz"
        temporary.write_text("content")
        assert not target.exists()
    assert target.read_text() == "content" and entries(target.parent) == ["file.npz"]


def test_atomic_write_on_error_keeps_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "old" and entries(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_atomic_write_has_permissions_of_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_atomic_folder_replaces_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for text in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / text).write_text(text)
        assert entries(target) == [text]
    assert entries(tmp_path) == ["folder"]


def test_atomic_folder_on_error_keeps_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(KeyError), atomic_folder(target) as temporary:
        (temporary / "half").write_text("")
        raise KeyError
    assert entries(target) == ["old"] and entries(tmp_path) == ["folder"]


def test_atomic_folder_failed_exchange_restores_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")
    replace = os.replace

    def fail(source: str, destination: str) -> None:
        if Path(destination) == target and not str(source).endswith(".old"):
            raise OSError("full")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"), atomic_folder(target):
        pass
    assert entries(target) == ["old"] and entries(tmp_path) == ["folder"]


def test_lock_held_by_other_process_times_out(tmp_path: Path) -> None:
    file = tmp_path / "new" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", _HOLD_LOCK, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        message = r"must be unlocked. Received: a lock .* for 0.1 s. End that process"
        with pytest.raises(TimeoutError, match=message), lock(file, timeout=0.1):
            pass
    finally:
        holder.kill()
        holder.wait()
    # The operating system releases the lock of a process that was killed.
    with lock(file, timeout=TIMEOUT):
        pass


def test_lock_leaves_no_file(tmp_path: Path) -> None:
    for error in (None, KeyError):
        with contextlib.suppress(KeyError), lock(tmp_path / "lock"):
            assert (tmp_path / "lock").is_file()
            if error is not None:
                raise error
        assert not [*tmp_path.iterdir()]


def test_lock_of_file_that_was_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, try_lock = tmp_path / "lock", files._try_lock
    tried: list[int] = []

    def late(handle: int) -> bool:
        if not tried:
            # The holder before deletes its file, and another process creates a new one.
            path.unlink()
            path.touch()
        tried.append(handle)
        return try_lock(handle)

    monkeypatch.setattr(files, "_try_lock", late)
    with lock(path), open(path, "a+b") as other:
        assert len(tried) == 2 and not try_lock(other.fileno())


_COUNT_IN_FILE = """
import sys
from pathlib import Path
from transferkit._utils.files import lock
path = Path(sys.argv[1])
for _ in range(40):
    with lock(path.with_suffix(".lock"), timeout=600):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_lock_excludes_other_processes(tmp_path: Path) -> None:
    # Each holder deletes the file that the others may have opened already.
    path = tmp_path / "count"
    path.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", _COUNT_IN_FILE, str(path)]) for _ in range(3)]
    assert [process.wait(timeout=TIMEOUT) for process in processes] == [0, 0, 0]
    assert path.read_text() == "120"


def test_lock_after_error_is_released(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock(tmp_path / "lock"):
        raise KeyError
    with lock(tmp_path / "lock", timeout=0):
        pass


def test_update_json_adds_and_replaces_keys(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "store.json"
    assert read_json(file) == {}
    update_json(file, "first", [1, 2.5])
    update_json(file, "second", {"a": None})
    update_json(file, "first", "ü")
    assert read_json(file) == {"first": "ü", "second": {"a": None}}
    assert entries(file.parent) == ["store.json"]


@pytest.mark.parametrize("content", [b"", b"{half", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_read_json_of_damaged_file_is_empty(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "store.json"
    file.write_bytes(content)
    assert read_json(file) == {}
    update_json(file, "key", 1)
    assert read_json(file) == {"key": 1}


def test_update_json_without_writable_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    update_json(tmp_path / "file" / "store.json", "key", 1)
    assert read_json(tmp_path / "file" / "store.json") == {}
