"""Mutated files of the cache folder and of checkpoints: the results of intact files, or an error of the library."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.fuzz.limits import memory_limit, time_limit
from tests.fuzz.mutator import case_count, generator, mutate
from tests.training.conftest import small_classifier, small_network
from transferkit._utils.hashing import sha256_of
from transferkit.backbones.weights import resolve_weights
from transferkit.data import Data, file_info
from transferkit.datasets import download, synthetic_cats_and_dogs
from transferkit.engines import EngineError
from transferkit.engines.selection import compile_engine
from transferkit.engines.verification import TOLERANCE
from transferkit.errors import ArtifactError, DataError, DownloadError, ImageError, StorageError, WeightsError
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.images.spec import ImageSpec

_ERRORS = (ArtifactError, DataError, DownloadError, EngineError, ImageError, StorageError, WeightsError)
# Another engine may be chosen, and features differ by rounding.
_CLOSE = TOLERANCE["float32"]
Results = list[np.ndarray]


@pytest.fixture(autouse=True)
def remember_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the metadata of files at once, although they are young."""
    monkeypatch.setattr(file_info, "_SETTLED_NS", 0)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    synthetic_cats_and_dogs(folder / "photos", training=12, validation=4, size=40)
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    small_network().save_weights(folder / "small.weights.h5")
    return folder


@functools.cache
def network() -> keras.Model:
    return small_network()


@functools.cache
def arrays() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 200, (40, 32, 32, 3), np.uint8)
    return images + (labels * 50).astype(np.uint8)[:, None, None, None], labels


def build(source: Any, **options: Any) -> Data:
    return tk.DatasetBuilder(source, image_size=(32, 32), batch_size=8, progress=False, **options).build()


def images_of_archive(sources: Path, home: Path) -> Results:
    """Return the images, the labels and the report of an archive whose images are cached on disk."""
    data = build(sources / "photos.zip", cache_images=True)
    batches = [*data.train, *data.validation]
    return [np.array(str(data.report)), *(part.numpy() for batch in batches for part in batch)]


def metadata_of_files(sources: Path, home: Path) -> Results:
    paths = sorted(str(path) for path in (sources / "photos").rglob("*.jpg"))
    return [np.array([repr(info) for info in file_info.inspect_files(paths, ImageSpec(32), progress=False)])]


def features(sources: Path, home: Path) -> Results:
    options = ExtractionOptions(engine="keras", progress=False)
    split = build(arrays(), validation=0.25).splits["train"]
    return [np.asarray(array) for array in extract_features(split, network(), options)]


def copied_shards(sources: Path, home: Path) -> Results:
    """Return the features, the labels and the splits of a folder of shards, which are copied into the cache."""
    data = tk.Shards(_shards(sources)).to_data(validation=0.25, progress=False)
    return [array for split in data.splits.values() for array in (np.asarray(split.features.array), split.labels)]


@functools.cache
def _shards(sources: Path) -> Path:
    backbone = tk.BackboneFactory.create(network(), preprocessing="tf")
    photos, out = sources / "photos" / "train", sources / "shards"
    tk.extract_features(photos, backbone, out=out, shard_size=5, progress=False)
    return out


def converted_engine(sources: Path, home: Path) -> Results:
    return list(compile_engine(network(), engine="openvino")(arrays()[0]))


def selected_engine(sources: Path, home: Path) -> Results:
    return list(compile_engine(network(), count=5000)(arrays()[0]))


def download_without_checksum(sources: Path, home: Path) -> Results:
    path = download((sources / "small.weights.h5").as_uri(), progress=False)
    return [np.frombuffer(path.read_bytes(), np.uint8)]


def weights(sources: Path, home: Path) -> Results:
    path = sources / "small.weights.h5"
    found = resolve_weights(path.as_uri(), sha256=sha256_of(path))
    assert isinstance(found, Path)
    return [np.frombuffer(found.read_bytes(), np.uint8)]


def resumed_run(sources: Path, home: Path, *callbacks: keras.callbacks.Callback) -> Results:
    """Return the results of a finished phase and of one that was interrupted after its first epoch."""
    data = build(arrays(), validation=0.25)
    folder = home / "checkpoints"
    trainer = tk.Trainer(small_classifier(), checkpoint_dir=folder, engine="keras", callbacks=callbacks)
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=2, unfreeze_from="block2_conv", verbose=0)
    return [*map(np.array, trainer.history.history.values()), *trainer.model.get_weights()]


def whole_run(sources: Path, home: Path) -> Results:
    """Return the results of a run that reads all of the cache folder."""
    data = build(sources / "photos.zip", cache_images=True)
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, engine="openvino")
    history = trainer.fit(data, epochs=2, verbose=0).history
    report = trainer.evaluate(data)
    return [*map(np.array, history.values()), np.array(report.loss), *trainer.model.get_weights()]


@dataclasses.dataclass(frozen=True)
class Case:
    """What reads the files of a pattern in the cache folder, and by how much its results may differ."""

    run: Callable[[Path, Path], Results]
    pattern: str
    tolerance: float = 0.0


CASES = {
    "keys_of_features": Case(features, "features/*/*.keys"),
    "features": Case(features, "features/*/*.npy"),
    "notes_of_features": Case(features, "features/*/*.checked"),
    "features_of_shards": Case(copied_shards, "shards/*/*.npy"),
    "keys_of_shards": Case(copied_shards, "shards/*/*.keys"),
    "columns_of_shards": Case(copied_shards, "shards/*/*.parquet"),
    "converted_engine": Case(converted_engine, "engines/*.blob", _CLOSE),
    "reference_outputs": Case(converted_engine, "engines/*.outputs", _CLOSE),
    "measurements": Case(selected_engine, "engines/*.json", _CLOSE),
    "images": Case(images_of_archive, "images/*/images.npy"),
    "checksums_of_images": Case(images_of_archive, "images/*/checksums.npy"),
    "unpacked_archive": Case(images_of_archive, "unpacked/*/**/*"),
    "note_of_archive": Case(images_of_archive, "unpacked/*.json"),
    "file_info": Case(metadata_of_files, "files-*.sqlite"),
    "download": Case(download_without_checksum, "downloads/**/*"),
    "weights": Case(weights, "weights/**/*"),
    "checkpoint": Case(resumed_run, "checkpoints/*"),
    "whole": Case(whole_run, "**/*", _CLOSE),
}


class _Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def caches(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that every case has filled, and an interrupted run."""
    home = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(home))
        patch.setattr(file_info, "_SETTLED_NS", 0)
        with pytest.raises(KeyboardInterrupt):
            resumed_run(sources, home, _Interrupt())
        for run in {case.run for case in CASES.values()} - {resumed_run}:
            run(sources, home)
    return home


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "whole" else ()) for kind in CASES]
)
def test_mutated_cache_is_refused_or_changes_nothing(
    sources: Path, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    case, rng = CASES[kind], generator(5)
    expected: Results | None = None
    with memory_limit():
        for number in range(case_count(8)):
            home = Path(shutil.copytree(caches, tmp_path / str(number)))
            monkeypatch.setenv("TRANSFERKIT_HOME", str(home))
            if expected is None or case.run is not resumed_run:
                # The files of the copy are verified and trusted from now on.
                expected = case.run(sources, home)
            if case.run is resumed_run:
                shutil.copytree(caches / "checkpoints", home / "checkpoints", dirs_exist_ok=True)
            files = sorted(path for path in home.glob(case.pattern) if path.is_file())
            path = files[int(rng.integers(len(files)))]
            path.write_bytes(mutate(path.read_bytes(), rng))
            check(case, sources, home, expected)
            shutil.rmtree(home)


def check(case: Case, sources: Path, home: Path, expected: Results) -> None:
    try:
        with time_limit():
            found = case.run(sources, home)
    except _ERRORS:
        return
    except ValueError as error:
        assert str(error).startswith("`checkpoint_dir` must")
        return
    assert len(found) == len(expected)
    for actual, intact in zip(found, expected):
        if case.tolerance:
            np.testing.assert_allclose(actual, intact, rtol=case.tolerance, atol=case.tolerance)
        else:
            np.testing.assert_array_equal(actual, intact)
