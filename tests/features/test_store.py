"""Stored features: found by contents, checked before use, shared by processes, and never more than the limit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.data import Split
from transferkit.features import extraction as extract
from transferkit.features import shard_io as shard_files
from transferkit.features.extraction import extract_features, extract_views
from transferkit.features.shard import Shard, compute_shard
from transferkit.features.store import FeatureStore
from transferkit.images.loading import ImageSpec
from transferkit.modeling.fingerprint import model_fingerprint


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def row(number: int) -> np.ndarray:
    return np.full(3, number, np.float32)


def filled(name: str, *shards: list[int]) -> FeatureStore:
    store = FeatureStore(name)
    for numbers in shards:
        store.add([key(n) for n in numbers], [np.stack([row(n) for n in numbers]), np.array(numbers)])
    store.refresh()
    return store


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True), min_size=1, max_size=4), st.data())
def test_rows_come_as_they_are_asked_for(shards: list[list[int]], data: st.DataObject) -> None:
    store = filled(os.urandom(4).hex(), *shards)
    there = sorted({number for shard in shards for number in shard})
    asked = data.draw(st.lists(st.sampled_from(there), min_size=1, max_size=20))
    first, second = store.rows([key(number) for number in asked])
    np.testing.assert_array_equal(np.asarray(first), [row(number) for number in asked])
    np.testing.assert_array_equal(second[np.arange(len(asked))], asked)
    assert first.shape == (len(asked), 3) and first[0].tolist() == row(asked[0]).tolist()
    absent = [number for number in range(35) if number not in there]
    assert store.missing([key(number) for number in [*absent, *absent]]) == list(range(len(absent)))


@pytest.mark.parametrize("part", ["*.0.npy", "*.keys"])
def test_a_broken_shard_is_thrown_away_and_said(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = filled("broken", [1, 2], [3])
    victim = sorted(store.folder.glob(part))[0]
    victim.write_bytes(victim.read_bytes()[:-3])
    again = FeatureStore("broken")
    again.refresh()
    assert "are broken" in capsys.readouterr().err
    assert len(again.missing([key(1), key(2), key(3)])) in (1, 2)
    assert not victim.exists()


def split_of_files(paths: list[Path]) -> Split:
    return Split("train", np.zeros(len(paths), np.int32), ImageSpec((48, 48)), paths=tuple(map(str, paths)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each shard that is computed."""
    counts: list[int] = []
    original = extract.compute_shard

    def counting(shard: Shard, engine: object, **options: object) -> tuple[np.ndarray, ...]:
        counts.append(len(shard.places))
        return original(shard, engine, **options)

    monkeypatch.setattr(extract, "compute_shard", counting)
    return counts


def test_features_are_computed_once_and_one_changed_photograph_once_more(
    drawn: Path, tmp_path: Path, counted: list[int]
) -> None:
    model = small_network(48)
    originals = sorted(drawn.glob("train/*/*.jpg"))[:6]
    paths = [tmp_path / path.name for path in originals]
    for path, original in zip(paths, originals):
        path.write_bytes(original.read_bytes())
    (first,) = extract_features(split_of_files(paths), model)
    (second,) = extract_features(split_of_files(paths[::-1]), model)
    np.testing.assert_array_equal(np.asarray(second), np.asarray(first)[::-1])
    assert counted == [6]
    paths[2].write_bytes(sorted(drawn.glob("validation/*/*.jpg"))[0].read_bytes())
    (third,) = extract_features(split_of_files(paths), model)
    assert counted == [6, 1]
    np.testing.assert_array_equal(np.asarray(third)[[0, 1, 3, 4, 5]], np.asarray(first)[[0, 1, 3, 4, 5]])
    assert np.abs(np.asarray(third)[2] - np.asarray(first)[2]).max() > 0


def test_other_weights_pixels_and_draws_have_rows_of_their_own(drawn: Path, counted: list[int]) -> None:
    model = small_network(48)
    split = split_of_files(sorted(drawn.glob("train/*/*.jpg"))[:4])
    block = tk.AugmentationBlock(rotation=0.2)
    options = [{}, {"augmentation": block, "views": [0]}, {"augmentation": block, "views": [1]}]
    options.append({"augmentation": block, "views": [0], "seed": 1})
    results = [np.asarray(extract_views(split, model, **one)[0][0]) for one in options]
    model.get_layer("block0_conv").set_weights([np.ones((3, 3, 3, 8)), np.zeros(8)])
    results.append(np.asarray(extract_features(split, model)[0]))
    assert counted == [4] * 5
    for number, mine in enumerate(results):
        assert all(np.abs(mine - other).max() > 1e-6 for other in results[:number])


def test_without_the_store_nothing_is_kept(drawn: Path, own_home: Path) -> None:
    split = split_of_files(sorted(drawn.glob("train/*/*.jpg"))[:4])
    (load_compiled,), (passing,) = (extract_features(split, small_network(48), store=store) for store in (True, False))
    np.testing.assert_allclose(np.asarray(load_compiled), passing, atol=1e-5)


def test_an_identity_follows_structure_and_weights_and_not_names() -> None:
    first, second = small_network(48), small_network(48)
    assert model_fingerprint(first) == model_fingerprint(second)
    second.get_layer("block1_conv").set_weights([np.ones((3, 3, 8, 12)), np.zeros(12)])
    assert model_fingerprint(first) != model_fingerprint(second)
    assert model_fingerprint(small_network(32)) != model_fingerprint(first)


def test_the_limit_is_kept_and_the_store_used_last_stays(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("old", [1, 2, 3])
    os.utime(FeatureStore("old").folder, (1, 1))
    monkeypatch.setenv("TRANSFERKIT_CACHE_LIMIT", "10")
    extract_features(split_of_files(sorted(drawn.glob("train/*/*.jpg"))[:4]), small_network(48))
    assert not FeatureStore("old").folder.exists()
    assert tk.cache.info().bytes["features"] > 0
    tk.cache.clear()
    assert set(tk.cache.info().bytes.values()) == {0}


def _fill(paths: list[Path], home: str) -> None:
    os.environ["TRANSFERKIT_HOME"] = home
    extract._rows_a_shard = lambda model: 4
    extract_features(split_of_files(paths), small_network(48), progress=False)


def test_two_processes_fill_one_store_and_one_is_killed(drawn: Path, own_home: Path, counted: list[int]) -> None:
    paths = sorted(drawn.glob("*/*/*.jpg"))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(part, str(own_home))) for part in (paths, paths[::-1])]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 90
    while not list((own_home / "features").rglob("*.keys")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.join()
    assert processes[1].exitcode == 0
    model = small_network(48)
    (stored,) = extract_features(split_of_files(paths), model)
    assert counted == []
    (fresh,) = extract_features(split_of_files(paths), model, store=False)
    np.testing.assert_allclose(np.asarray(stored), fresh, atol=1e-5)


class Means:
    """An engine that any process can make in no time: the mean of each colour."""

    batch_size = 4

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (images.mean(axis=(1, 2), dtype=np.float32),)


def _fill_shards(paths: list[Path], home: str, turn: int, killed: bool) -> None:
    """Fill a store, shard by shard of a fixed list, beginning with another one in each process."""
    os.environ["TRANSFERKIT_HOME"] = home
    split = split_of_files(paths)
    keys, load_compiled, added = split.keys(), FeatureStore("together"), 0
    starts = list(range(0, len(paths), 5))
    for start in starts[turn:] + starts[:turn]:
        places = tuple(range(start, min(start + 5, len(paths))))
        load_compiled.refresh()
        # There must be time to clear the store meanwhile, and always something to write for the one that is killed.
        time.sleep(0.05)
        if killed or load_compiled.missing([keys[place] for place in places]):
            if killed and added == 1:
                # The arrays are written and the keys not yet.
                shard_files._remember_checked = lambda path, stamps: os.kill(os.getpid(), signal.SIGKILL)
            load_compiled.add([keys[place] for place in places], compute_shard(Shard(split, places), Means()))
            added += 1


def test_several_processes_fill_one_store_shard_by_shard_while_one_clears(drawn: Path, own_home: Path) -> None:
    paths = sorted(drawn.glob("*/*/*.jpg"))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_fill_shards, args=(paths, str(own_home), 4 * turn, turn == 1)) for turn in range(3)
    ]
    for process in processes:
        process.start()
    cleared = 0
    while any(process.is_alive() for process in processes):
        if cleared < 3 and list((own_home / "features").rglob("*.keys")):
            tk.cache.clear("features")
            cleared += 1
        time.sleep(0.02)
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL, 0]
    assert cleared
    _fill_shards(paths, str(own_home), 0, False)
    split, load_compiled = split_of_files(paths), FeatureStore("together")
    load_compiled.refresh()
    (stored,) = load_compiled.rows(split.keys())
    (fresh,) = compute_shard(Shard(split, tuple(range(len(paths)))), Means())
    np.testing.assert_array_equal(np.asarray(stored), fresh)
