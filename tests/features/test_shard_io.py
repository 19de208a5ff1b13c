"""Shards on disk against damage: broken, deleted and cleared files, a full disk, killed writers."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import transferkit as tk
from transferkit.features import shard_io, store
from transferkit.features.shard_io import ShardArray, open_shard, remove_shard, write_shard
from transferkit.features.store import FeatureStore


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def rows_of(numbers: list[int]) -> list[np.ndarray]:
    return [np.array([[n, n + 0.5, -n] for n in numbers], np.float32), np.array(numbers)]


def add(target: FeatureStore, *numbers: int) -> None:
    target.add([key(number) for number in numbers], rows_of(list(numbers)))


def opened() -> FeatureStore:
    return FeatureStore("some")


def check(target: FeatureStore, numbers: list[int]) -> None:
    """Check that the rows of `numbers` are in the store and right."""
    for array, expected in zip(target.rows([key(number) for number in numbers]), rows_of(numbers)):
        np.testing.assert_array_equal(np.asarray(array), expected)


class Store(RuleBasedStateMachine):
    """A store returns right rows or does not contain them, after any change to its files."""

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
        self.added = {n for n in self.added if key(n) in self.store}

    @rule(which=st.integers(0, 1000), position=st.integers(0, 1000), cut=st.booleans())
    def damage(self, which: int, position: int, cut: bool) -> None:
        files = sorted(path for path in self.store.folder.glob("*") if path.is_file() and path.stat().st_size)
        if files:
            path = files[which % len(files)]
            content = bytearray(path.read_bytes())
            position %= len(content)
            content[position] ^= 255
            # A new file under the same name: the open store continues to read the old one.
            path.unlink()
            path.write_bytes(content[:position] if cut else content)

    @rule(which=st.integers(0, 1000))
    def remove_a_file(self, which: int) -> None:
        if files := sorted(self.store.folder.glob("*")):
            files[which % len(files)].unlink()

    @rule()
    def clear(self) -> None:
        tk.cache.clear()

    @invariant()
    def added_rows_stay_readable(self) -> None:
        if getattr(self, "added", None):
            check(self.store, sorted(self.added))

    @invariant()
    def another_process_finds_right_rows_or_none(self) -> None:
        if hasattr(self, "store"):
            other = opened()
            known = [n for n in range(21) if key(n) in other]
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
    """The files whose checksums are computed."""
    names: list[str] = []
    original = ShardArray.checksum

    def spy(rows: ShardArray) -> int:
        names.append(rows._file.name)
        return original(rows)

    monkeypatch.setattr(ShardArray, "checksum", spy)
    return names


def test_open_shard_verifies_after_change_or_week(checksums: list[str]) -> None:
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


def test_write_shard_and_open_shard(tmp_path: Path) -> None:
    keys, expected = [key(number) for number in (5, 7)], rows_of([5, 7])
    path = write_shard(tmp_path, keys, expected)
    found_keys, outputs = open_shard(path)
    assert found_keys == keys
    for output, array in zip(outputs, expected):
        assert (output.shape, output.dtype, len(output)) == (array.shape, array.dtype, 2)
        np.testing.assert_array_equal(output[np.array([1, 0, 1])], array[[1, 0, 1]])
    remove_shard(path)
    assert list(tmp_path.iterdir()) == []


def test_open_shard_with_fewer_outputs_raises(tmp_path: Path) -> None:
    path = write_shard(tmp_path, [key(5), key(7)], rows_of([5, 7]))
    header, _, body = path.read_bytes().partition(b"\n")
    described = json.loads(header)
    assert len(described["sums"]) == 2
    path.write_bytes(json.dumps({**described, "sums": described["sums"][:1]}).encode() + b"\n" + body)
    with pytest.raises(ValueError, match="the checksum of its keys differs"):
        open_shard(path)


@pytest.mark.parametrize("suffix", [".keys", ".0.npy"])
def test_open_shard_damaged_raises(tmp_path: Path, suffix: str) -> None:
    path = write_shard(tmp_path, [key(5), key(7)], rows_of([5, 7]))
    file = path.with_name(path.stem + suffix)
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    # A new file, as the one that was verified is trusted.
    file.unlink()
    file.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        open_shard(path)


def test_store_cleared_while_reading_still_returns_rows() -> None:
    add(opened(), 1, 2, 3)
    reader = opened()
    rows = reader.rows([key(2), key(3)])
    tk.cache.clear("features")
    np.testing.assert_array_equal(rows[0][np.array([1, 0])], rows_of([3, 2])[0])
    add(reader, 4)
    check(reader, [4, 1])
    again = opened()
    assert key(1) not in again and key(4) in again


def test_store_shard_deleted_while_opened_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    first = opened()
    add(first, 1)
    add(first, 2)
    sorted(first.folder.glob("*.1.npy"))[0].unlink()
    again = opened()
    assert sum(key(number) not in again for number in (1, 2)) == 1
    assert not caplog.records


def test_store_cleared_while_writing_writes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    original, times = shard_io._remember_verified, []

    def clearing(path: Path, versions: list[list[int]]) -> None:
        times.append(path)
        if len(times) < 3:
            tk.cache.clear()
        original(path, versions)

    monkeypatch.setattr(shard_io, "_remember_verified", clearing)
    add(writer := opened(), 1, 2)
    assert len(times) == 3
    check(writer, [2, 1])
    check(opened(), [2, 1])


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Limit every file to a thousand bytes, which has the effect of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_store_on_full_disk_keeps_rows_in_memory(full_disk: None, caplog: pytest.LogCaptureFixture) -> None:
    writer = opened()
    add(writer, 1, 2)
    add(writer, *range(100, 300))
    add(writer, *range(300, 500))
    check(writer, [499, 1, 100, 2, 300])
    (record,) = caplog.records
    message = record.getMessage()
    assert record.name == "transferkit" and "cannot be stored in" in message and "kept in memory" in message
    assert len(list(writer.folder.glob("*.npy"))) == 2 and not list(writer.folder.glob("*.partial"))
    check(opened(), [1, 2])


def test_store_on_full_disk_beyond_memory_limit_raises(full_disk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MAX_MEMORY_BYTES", 10_000)
    writer = opened()
    add(writer, 1, 2)
    add(writer, *range(100, 300))
    with pytest.raises(OSError, match=r"must be writable. Received: File too large. Stored features are kept"):
        add(writer, *range(300, 1000))
    check(opened(), [1, 2])


def test_shard_array_reads_do_not_count_as_memory() -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux' count of a process' memory")
    writer, count, width = opened(), 20_000, 1280
    keys = [key(number) for number in range(count)]
    for start in range(0, count, 4000):
        writer.add(keys[start : start + 4000], [np.full((4000, width), start, np.float32)])
    (rows,) = writer.rows(keys)
    order = np.random.default_rng(0).permutation(count)
    before = int(statm.read_text().split()[1])
    for start in range(0, count, 32):
        chosen = order[start : start + 32]
        np.testing.assert_array_equal(rows[chosen][:, 7], chosen // 4000 * 4000)
    grown = (int(statm.read_text().split()[1]) - before) * resource.getpagesize()
    assert rows.nbytes > 100e6 and grown < 10e6


def test_store_with_more_shards_than_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit is one for the numbers of files, and lower numbers may be free.
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    for number in free:
        os.close(number)
    try:
        writer = opened()
        for number in range(60):
            add(writer, number)
        check(writer, list(range(60)))
        check(opened(), list(range(60)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
