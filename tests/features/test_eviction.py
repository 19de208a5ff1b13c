"""The size limit of feature stores: least recently used first, and never a store in use."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit._utils.cache_limit import LIMIT_VARIABLE
from transferkit.features import shard_io
from transferkit.features.eviction import evict, root
from transferkit.features.store import FeatureStore


def filled(name: str, used: float) -> Path:
    """Create a store of about a kilobyte that was used `used` seconds ago."""
    store = FeatureStore(name)
    store.add([bytes(32)], [np.zeros((1, 200), np.float32)])
    os.utime(store.folder, (time.time() - used,) * 2)
    return store.folder


def names() -> list[str]:
    return sorted(path.name for path in root().iterdir())


def test_evict_removes_least_recently_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        filled(f"used{number}", number * 100)
    FeatureStore("used4").hold()
    monkeypatch.setenv(LIMIT_VARIABLE, "3500")
    evict(keep={root() / "used2"})
    assert names() == ["used0", "used2", "used4"]
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    evict(keep={root() / "used2"})
    assert names() == ["used2"]


def test_evict_below_limit_removes_nothing() -> None:
    filled("some", 1e6), filled("other", 1e7)
    evict(keep=())
    assert names() == ["other", "some"]


def test_evict_keeps_stores_of_living_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    filled("old", 100), filled("older", 200)
    store = FeatureStore("older")
    store.hold()
    (rows,) = store.rows([bytes(32)])
    del store
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    evict(keep={root() / "none"})
    assert names() == ["older"]
    del rows
    evict(keep={root() / "none"})
    assert names() == []


def _use(cache_home: str, ready: Connection) -> None:
    os.environ["TRANSFERKIT_HOME"] = cache_home
    store = FeatureStore("old")
    store.hold()
    ready.send(True)
    time.sleep(120)


def test_evict_keeps_store_of_other_living_process(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("old", 100)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_use, args=(str(own_home), there))
    process.start()
    assert here.poll(60) and here.recv()
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    evict(keep={root() / "none"})
    assert names() == ["old"]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    evict(keep={root() / "none"})
    assert names() == []


def test_evict_removes_files_of_killed_processes_after_an_hour() -> None:
    folder = filled("some", 0)
    complete = {path.name for path in folder.iterdir()}
    stale = [folder / f".{'a' * 32}.0.npy.x1.partial", folder / f"{'b' * 32}.0.npy", folder / f"{'b' * 32}.checked"]
    for path in stale:
        path.write_bytes(b"half")
    (root() / ".removed-x").mkdir()
    evict(keep={folder})
    assert all(path.exists() for path in stale) and names() == ["some"]
    for path in stale:
        os.utime(path, (time.time() - shard_io._STALE_SECONDS - 1,) * 2)
    evict(keep={folder})
    assert {path.name for path in folder.iterdir()} == complete


def test_hold_updates_time_of_last_use() -> None:
    folder = filled("some", 1000)
    FeatureStore("some")
    assert folder.stat().st_mtime < time.time() - 900
    FeatureStore("some").hold()
    assert folder.stat().st_mtime > time.time() - 100


def test_cache_clear_removes_stores(own_home: Path) -> None:
    filled("some", 0)
    (own_home / "engines").mkdir()
    (own_home / "engines" / "one.bin").write_bytes(b"12345")
    (own_home / "files-9.sqlite").write_bytes(b"123")
    assert tk.cache.info().sizes["features"] > 800
    tk.cache.clear("features", "file_info")
    empty = dict.fromkeys(("features", "images", "unpacked", "downloads", "trials", "shards", "file_info"), 0)
    assert tk.cache.info().sizes == {**empty, "engines": 5}
    tk.cache.clear()
    assert list(own_home.iterdir()) == []
    with pytest.raises(ValueError, match=r"`names` must be one of 'features', .*Did you mean 'features'"):
        tk.cache.clear("feature")
