"""Feature extraction: each row is computed once, and found again by its contents."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.features.conftest import SPEC, split_of_files
from tests.training.conftest import small_network
from tests.waiting import wait_until
from transferkit.data.examples import Split
from transferkit.engines import compile_engine
from transferkit.engines.verification import relative_error
from transferkit.features import extraction, shard_io
from transferkit.features.extraction import ExtractionJob, ExtractionOptions, compute_features, extract_features
from transferkit.features.shard import Shard, compute_shard
from transferkit.features.store import FeatureStore
from transferkit.features.views import View


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each shard that is computed."""
    counts: list[int] = []
    original = extraction.compute_shard

    def counting(shard: Shard, engine: Any, **options: Any) -> tuple[np.ndarray, ...]:
        counts.append(len(shard.image_indices))
        return original(shard, engine, **options)

    monkeypatch.setattr(extraction, "compute_shard", counting)
    return counts


def extract_views(
    split: Split, model: keras.Model, views: Sequence[View], augmentation: Any = None, **options: Any
) -> list[np.ndarray]:
    job = ExtractionJob(model, [(split, views)], augmentation=augmentation, options=ExtractionOptions(**options))
    return [np.asarray(rows) for ((rows,),) in zip(job.run()[0])]


def compute(split: Split, model: keras.Model) -> np.ndarray:
    (rows,) = compute_features(split, model, compile_engine(model, count=len(split)))
    return rows


def test_extract_features_computes_changed_files_only(synthetic: Path, tmp_path: Path, counted: list[int]) -> None:
    model = small_network(48)
    originals = sorted(synthetic.glob("train/*/*.jpg"))[:6]
    paths = [tmp_path / path.name for path in originals]
    for path, original in zip(paths, originals):
        path.write_bytes(original.read_bytes())
    (first,) = extract_features(split_of_files(paths), model)
    (second,) = extract_features(split_of_files(paths[::-1]), model)
    np.testing.assert_array_equal(np.asarray(second), np.asarray(first)[::-1])
    assert counted == [6]
    paths[2].write_bytes(sorted(synthetic.glob("validation/*/*.jpg"))[0].read_bytes())
    (third,) = extract_features(split_of_files(paths), model)
    assert counted == [6, 1]
    np.testing.assert_array_equal(np.asarray(third)[[0, 1, 3, 4, 5]], np.asarray(first)[[0, 1, 3, 4, 5]])
    assert np.abs(np.asarray(third)[2] - np.asarray(first)[2]).max() > 0


def test_extract_features_depends_on_weights_and_views(split: Split, counted: list[int]) -> None:
    model = small_network(48)
    split = dataclasses.replace(split, paths=split.paths[:4], labels=split.labels[:4])
    block = tk.AugmentationBlock(rotation=0.2)
    results = extract_views(split, model, [None])
    for view, seed in ((0, 0), (1, 0), (0, 1)):
        results += extract_views(split, model, [view], block, seed=seed)
    model.get_layer("block0_conv").set_weights([np.ones((3, 3, 3, 8)), np.zeros(8)])
    results.append(np.asarray(extract_features(split, model)[0]))
    assert counted == [4] * 5
    for number, rows in enumerate(results):
        assert all(np.abs(rows - other).max() > 1e-6 for other in results[:number])


def test_compute_features_equals_cached(split: Split, own_home: Path) -> None:
    split = dataclasses.replace(split, paths=split.paths[:4], labels=split.labels[:4])
    (cached,) = extract_features(split, small_network(48))
    np.testing.assert_allclose(np.asarray(cached), compute(split, small_network(48)), atol=1e-5)


def test_compute_features_does_not_use_cache(split: Split, monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.setattr(Split, "content_hashes", lambda self: pytest.fail("a key was computed"))
    assert len(compute(split, small_network(48))) == len(split)
    assert not (own_home / "features").exists()


def test_extraction_job_evicts_other_stores(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    FeatureStore("old").add([bytes(32)], [np.zeros((1, 3), np.float32)])
    os.utime(FeatureStore("old").folder, (1, 1))
    monkeypatch.setenv("TRANSFERKIT_CACHE_LIMIT", "10")
    extract_features(split, small_network(48))
    assert not FeatureStore("old").folder.exists()
    assert tk.cache.info().sizes["features"] > 0
    tk.cache.clear()
    assert set(tk.cache.info().sizes.values()) == {0}


def test_extraction_job_views_equal_single_views(split: Split, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, block = small_network(48), tk.AugmentationBlock(rotation=0.2)
    together = extract_views(split, model, (None, 0, 3), block, seed=7)
    for view, rows in zip((None, 0, 3), together):
        # In another cache, so that the rows are computed again.
        monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / str(view)))
        (alone,) = extract_views(split, model, (view,), block, seed=7)
        assert relative_error((rows,), (alone,)) < 1e-5


def test_extraction_job_of_several_splits(synthetic: Path, counted: list[int]) -> None:
    paths = sorted(synthetic.glob("*/*/*.jpg"))
    model = small_network(48)
    # The splits share five files, which are computed once.
    first, second = split_of_files(paths[:25]), split_of_files(paths[20:])
    job = ExtractionJob(model, [(first, [None]), (second, [None])])
    assert (job.num_rows, job.num_missing) == (65, 60) and job.estimate_seconds() > 0
    ((one,),), ((two,),) = job.run()
    assert counted == [25, 35] and job.num_missing == 0 and job.estimate_seconds() == 0
    together = compute(split_of_files(paths), model)
    np.testing.assert_allclose(np.asarray(one), together[:25], atol=1e-5)
    np.testing.assert_allclose(np.asarray(two), together[20:], atol=1e-5)


def test_extraction_job_of_equal_images_computes_one(synthetic: Path, counted: list[int]) -> None:
    path = next(synthetic.glob("train/*/*.jpg"))
    (rows,) = extract_features(split_of_files([path, path, path]), small_network(48))
    assert counted == [1] and len(rows) == 3
    np.testing.assert_array_equal(rows[0], rows[2])


def test_extraction_job_with_several_outputs(split: Split) -> None:
    base = small_network(48)
    model = keras.Model(base.inputs, [base.get_layer("block0_relu").output, base.output])
    first, second = extract_features(split, model)
    assert (first.shape, second.shape) == ((40, 24, 24, 8), (40, 6, 6, 16))
    np.testing.assert_allclose(np.asarray(second), compute(split, base), atol=1e-5)


def test_extraction_job_reuses_originals_with_augmentation(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_network(48)
    first, _ = extract_views(split, model, (None, 0), tk.AugmentationBlock(rotation=0.2))
    monkeypatch.setattr("transferkit.features.extraction.compute_shard", None)
    (second,) = extract_features(split, model)
    np.testing.assert_array_equal(first, np.asarray(second))


def test_extraction_job_num_missing(split: Split) -> None:
    model, block = small_network(48), tk.AugmentationBlock(rotation=0.2)

    def num_missing(views: Sequence[View] = (None, 0), **options: Any) -> int:
        options = ExtractionOptions(**options)
        return ExtractionJob(model, [(split, views)], augmentation=block, options=options).num_missing

    assert num_missing() == 2 * len(split)
    extract_features(split, model)
    assert num_missing() == len(split)
    extract_views(split, model, (None, 0), block)
    assert num_missing() == 0
    assert num_missing(seed=1) == len(split)
    assert num_missing((None,), feature_dtype="float16") == len(split)
    assert num_missing((None,), precision="bfloat16") == len(split)


def test_extract_features_in_float16_is_half_the_size(split: Split) -> None:
    split = dataclasses.replace(split, paths=split.paths[:6], labels=split.labels[:6])
    (full,) = extract_features(split, small_network(48))
    (half,) = extract_features(split, small_network(48), ExtractionOptions(feature_dtype="float16"))
    assert (full.dtype, half.dtype) == (np.float32, np.float16) and half.nbytes * 2 == full.nbytes
    np.testing.assert_allclose(np.asarray(half, np.float32), np.asarray(full), rtol=1e-3, atol=1e-6)


def test_extract_features_of_unreadable_file_raises(split: Split, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(tk.ImageError, match=r"broken\.jpg"):
        extract_features(split_of_files([*split.paths, broken]), small_network(48))


def test_extract_features_of_arrays_depends_on_values() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    model = small_network(48)
    split = Split("train", np.zeros(3, np.int32), SPEC, images=images)
    (rows,) = extract_features(split, model)
    changed = Split("train", np.zeros(3, np.int32), SPEC, images=255 - images)
    assert ExtractionJob(model, [(split, [None])]).num_missing == 0
    assert ExtractionJob(model, [(changed, [None])]).num_missing == 3
    np.testing.assert_allclose(np.asarray(rows), model.predict(images.astype("float32"), verbose=0), atol=1e-4)


def _fill(paths: list[Path], home: str) -> None:
    os.environ["TRANSFERKIT_HOME"] = home
    extraction._shard_rows = lambda rows, *_: (rows[start : start + 4] for start in range(0, len(rows), 4))
    extract_features(split_of_files(paths), small_network(48), ExtractionOptions(progress=False))


def test_extract_features_in_two_processes_of_which_one_is_killed(
    synthetic: Path, own_home: Path, counted: list[int]
) -> None:
    paths = sorted(synthetic.glob("*/*/*.jpg"))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(part, str(own_home))) for part in (paths, paths[::-1])]
    for process in processes:
        process.start()
    wait_until(lambda: list((own_home / "features").rglob("*.keys")))
    os.kill(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.join()
    assert processes[1].exitcode == 0
    model = small_network(48)
    (stored,) = extract_features(split_of_files(paths), model)
    assert counted == []
    np.testing.assert_allclose(np.asarray(stored), compute(split_of_files(paths), model), atol=1e-5)


class Means:
    """An engine that any process creates at once: the mean of each color."""

    batch_size = 4

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (images.mean(axis=(1, 2), dtype=np.float32),)


def _fill_shards(paths: list[Path], home: str, turn: int, killed: bool) -> None:
    """Fill a store by a fixed list of shards, starting with another one in each process."""
    os.environ["TRANSFERKIT_HOME"] = home
    split = split_of_files(paths)
    keys, store, added = split.content_hashes(), FeatureStore("together"), 0
    starts = list(range(0, len(paths), 5))
    for start in starts[turn:] + starts[:turn]:
        indices = range(start, min(start + 5, len(paths)))
        store.reload()
        # There must be time to clear the store meanwhile, and always something to write for the killed process.
        time.sleep(0.05)
        if killed or any(keys[index] not in store for index in indices):
            if killed and added == 1:
                # The arrays are written and the keys are not yet.
                shard_io._remember_verified = lambda path, versions: os.kill(os.getpid(), signal.SIGKILL)
            store.add([keys[index] for index in indices], compute_shard(Shard(split, indices), Means()))
            added += 1


def test_store_filled_by_processes_while_it_is_cleared(synthetic: Path, own_home: Path) -> None:
    paths = sorted(synthetic.glob("*/*/*.jpg"))
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
    split, store = split_of_files(paths), FeatureStore("together")
    (stored,) = store.rows(split.content_hashes())
    (fresh,) = compute_shard(Shard(split, range(len(paths))), Means())
    np.testing.assert_array_equal(np.asarray(stored), fresh)
