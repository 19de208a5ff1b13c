"""Making room: by the time of last use, never what any live process uses, and what killed ones left goes too."""

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
from transferkit.features import eviction as room
from transferkit.features import shard_io as shard_files
from transferkit.features.eviction import evict, root
from transferkit.features.store import FeatureStore


def filled(name: str, used: float) -> Path:
    """Make a store of about a kilobyte that was used `used` seconds ago."""
    load_compiled = FeatureStore(name)
    load_compiled.add([bytes(32)], [np.zeros((1, 200), np.float32)])
    os.utime(load_compiled.folder, (time.time() - used,) * 2)
    return load_compiled.folder


def names() -> list[str]:
    return sorted(path.name for path in root().iterdir())


def test_those_not_used_for_longest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        filled(f"used{number}", number * 100)
    FeatureStore("used4").refresh()
    monkeypatch.setenv(room.LIMIT_VARIABLE, "3500")
    evict(keep=root() / "used2")
    assert names() == ["used0", "used2", "used4"]
    monkeypatch.setenv(room.LIMIT_VARIABLE, "0")
    evict(keep=root() / "used2")
    assert names() == ["used2"]


def test_a_store_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    filled("old", 100), filled("older", 200)
    load_compiled = FeatureStore("older")
    load_compiled.refresh()
    (rows,) = load_compiled.rows([bytes(32)])
    del load_compiled
    monkeypatch.setenv(room.LIMIT_VARIABLE, "0")
    evict(keep=root() / "none")
    assert names() == ["older"]
    del rows
    evict(keep=root() / "none")
    assert names() == []


def _use(cache_home: str, ready: Connection) -> None:
    os.environ["TRANSFERKIT_HOME"] = cache_home
    load_compiled = FeatureStore("old")
    load_compiled.refresh()
    ready.send(True)
    time.sleep(120)


def test_another_process_keeps_its_store_as_long_as_it_lives(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("old", 100)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_use, args=(str(own_home), there))
    process.start()
    assert here.poll(60) and here.recv()
    monkeypatch.setenv(room.LIMIT_VARIABLE, "0")
    evict(keep=root() / "none")
    assert names() == ["old"]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    evict(keep=root() / "none")
    assert names() == []


def test_what_killed_processes_left_goes_after_an_hour() -> None:
    folder = filled("some", 0)
    whole = {path.name for path in folder.iterdir()}
    left = [folder / f".{'a' * 32}.0.npy.x1.partial", folder / f"{'b' * 32}.0.npy", folder / f"{'b' * 32}.checked"]
    for path in left:
        path.write_bytes(b"half")
    (root() / ".removed-x").mkdir()
    evict(keep=folder)
    assert all(path.exists() for path in left) and names() == ["some"]
    for path in left:
        os.utime(path, (time.time() - shard_files._LEFTOVER_SECONDS - 1,) * 2)
    evict(keep=folder)
    assert {path.name for path in folder.iterdir()} == whole


def test_clearing_all_or_some(own_home: Path) -> None:
    filled("some", 0)
    (own_home / "engines").mkdir()
    (own_home / "engines" / "one.bin").write_bytes(b"12345")
    (own_home / "files-9.sqlite").write_bytes(b"123")
    assert tk.cache.info().bytes["features"] > 800
    tk.cache.clear("features", "files")
    assert tk.cache.info().bytes == {"features": 0, "engines": 5, "pixels": 0, "unpacked": 0, "files": 0}
    tk.cache.clear()
    assert list(own_home.iterdir()) == []
    with pytest.raises(ValueError, match=r"`parts` must be one of 'features', .*Did you mean 'features'"):
        tk.cache.clear("feature")
