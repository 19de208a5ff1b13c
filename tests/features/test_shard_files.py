"""The store against everything that happens to files: broken, removed, cleared, a full disk, killed writers."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import transferkit as tk
from transferkit.features import shard_io as shard_files
from transferkit.features import store
from transferkit.features.shard_io import ShardArray
from transferkit.features.store import FeatureStore


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def rows_of(numbers: list[int]) -> list[np.ndarray]:
    return [np.array([[n, n + 0.5, -n] for n in numbers], np.float32), np.array(numbers)]


def add(load_compiled: FeatureStore, *numbers: int) -> None:
    load_compiled.add([key(number) for number in numbers], rows_of(list(numbers)))


def opened(name: str = "some") -> FeatureStore:
    load_compiled = FeatureStore(name)
    load_compiled.refresh()
    return load_compiled


def check(load_compiled: FeatureStore, numbers: list[int]) -> None:
    """What is asked for is there, and right."""
    found = load_compiled.rows([key(number) for number in numbers])
    for array, wanted in zip(found, rows_of(numbers)):
        np.testing.assert_array_equal(np.asarray(array), wanted)


class Store(RuleBasedStateMachine):
    """Whatever happens to the files, a store gives right rows or says that they are missing."""

    @initialize()
    def start(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.before = os.environ["TRANSFERKIT_HOME"]
        os.environ["TRANSFERKIT_HOME"] = str(self.home)
        self.store, self.added = opened(), set()

    @rule(numbers=st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True))
    def add_rows(self, numbers: list[int]) -> None:
        add(self.store, *numbers)
        self.added.update(numbers)

    @rule()
    def start_again(self) -> None:
        self.store = opened()
        self.added = {n for n in self.added if not self.store.missing([key(n)])}

    @rule(which=st.integers(0, 1000), place=st.integers(0, 1000), cut=st.booleans())
    def damage(self, which: int, place: int, cut: bool) -> None:
        files = sorted(path for path in self.store.folder.glob("*") if path.is_file() and path.stat().st_size)
        if files:
            path = files[which % len(files)]
            contents = bytearray(path.read_bytes())
            place %= len(contents)
            contents[place] ^= 255
            # A new file in its place: the store that is open reads on from the old one.
            path.unlink()
            path.write_bytes(contents[:place] if cut else contents)

    @rule(which=st.integers(0, 1000))
    def remove_a_file(self, which: int) -> None:
        if files := sorted(self.store.folder.glob("*")):
            files[which % len(files)].unlink()

    @rule()
    def clear(self) -> None:
        tk.cache.clear()

    @invariant()
    def what_was_added_is_still_there(self) -> None:
        if getattr(self, "added", None):
            check(self.store, sorted(self.added))

    @invariant()
    def another_process_finds_right_rows_or_none(self) -> None:
        if hasattr(self, "store"):
            other = opened()
            known = [n for n in range(21) if not other.missing([key(n)])]
            if known:
                check(other, known)

    def teardown(self) -> None:
        if hasattr(self, "home"):
            os.environ["TRANSFERKIT_HOME"] = self.before
            shutil.rmtree(self.home)


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)


@pytest.fixture
def checksums(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose checksums are worked out."""
    names: list[str] = []
    original = ShardArray.checksum

    def spy(rows: ShardArray) -> int:
        names.append(rows._file.name)
        return original(rows)

    monkeypatch.setattr(ShardArray, "checksum", spy)
    return names


def test_a_checksum_is_worked_out_once_and_anew_after_a_change_or_a_week(checksums: list[str]) -> None:
    add(opened(), 1, 2, 3)
    check(opened(), [3, 1])
    assert checksums == []
    (array,) = opened().folder.glob("*.0.npy")
    os.utime(array, (1, 1))
    check(opened(), [3, 1])
    assert len(checksums) == 2
    check(opened(), [3, 1])
    assert len(checksums) == 2
    (note,) = opened().folder.glob("*.checked")
    os.utime(note, (time.time() - 8 * 86400,) * 2)
    check(opened(), [3, 1])
    assert len(checksums) == 4


def test_a_reader_goes_on_when_all_is_cleared() -> None:
    add(opened(), 1, 2, 3)
    load_compiled = opened()
    rows = load_compiled.rows([key(2), key(3)])
    tk.cache.clear("features")
    np.testing.assert_array_equal(rows[0][np.array([1, 0])], rows_of([3, 2])[0])
    add(load_compiled, 4)
    check(load_compiled, [4, 1])
    assert opened().missing([key(1), key(4)]) == [0]


def test_a_shard_that_vanishes_while_it_is_opened_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    load_compiled = opened()
    add(load_compiled, 1)
    add(load_compiled, 2)
    sorted(load_compiled.folder.glob("*.1.npy"))[0].unlink()
    assert len(opened().missing([key(1), key(2)])) == 1
    assert capsys.readouterr().err == ""


def test_a_folder_that_is_cleared_while_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    original, times = shard_files._remember_checked, []

    def clearing(path: Path, stamps: list) -> None:
        times.append(path)
        if len(times) < 3:
            tk.cache.clear()
        original(path, stamps)

    monkeypatch.setattr(shard_files, "_remember_checked", clearing)
    add(load_compiled := opened(), 1, 2)
    assert len(times) == 3
    check(load_compiled, [2, 1])
    check(opened(), [2, 1])


@pytest.fixture
def full_disk() -> None:
    """No file may grow beyond a thousand bytes, which is as good as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_rows_stay_in_memory(full_disk: None, capsys: pytest.CaptureFixture[str]) -> None:
    load_compiled = opened()
    add(load_compiled, 1, 2)
    add(load_compiled, *range(100, 300))
    add(load_compiled, *range(300, 500))
    check(load_compiled, [499, 1, 100, 2, 300])
    error = capsys.readouterr().err
    assert error.count("cannot be stored in") == 1 and "kept in memory" in error
    assert len(list(load_compiled.folder.glob("*.npy"))) == 2 and not list(load_compiled.folder.glob("*.partial"))
    check(opened(), [1, 2])


def test_too_much_for_memory_is_a_clear_error(full_disk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_IN_MEMORY", 10_000)
    load_compiled = opened()
    add(load_compiled, 1, 2)
    add(load_compiled, *range(100, 300))
    with pytest.raises(OSError, match=r"must take the features. Received: File too large. What was stored before"):
        add(load_compiled, *range(300, 1000))
    check(opened(), [1, 2])


def test_rows_read_do_not_count_as_memory() -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux' count of a process' memory")
    load_compiled, count, width = opened(), 20_000, 1280
    keys = [key(number) for number in range(count)]
    for start in range(0, count, 4000):
        load_compiled.add(keys[start : start + 4000], [np.full((4000, width), start, np.float32)])
    (rows,) = load_compiled.rows(keys)
    order = np.random.default_rng(0).permutation(count)
    before = int(statm.read_text().split()[1])
    for start in range(0, count, 32):
        chosen = order[start : start + 32]
        np.testing.assert_array_equal(rows[chosen][:, 7], chosen // 4000 * 4000)
    grown = (int(statm.read_text().split()[1]) - before) * resource.getpagesize()
    assert rows.nbytes > 100e6 and grown < 10e6


def test_more_shards_than_a_process_may_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 50, hard))
    try:
        load_compiled = opened()
        for number in range(60):
            add(load_compiled, number)
        check(load_compiled, list(range(60)))
        check(opened(), list(range(60)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(free)
