"""Mutated images: reading, scanning, training data and prediction agree about which files are images, and on pixels."""

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.fuzz.limits import memory_limit, time_limit
from tests.fuzz.mutator import case_count, generator, mutate
from tests.images.image_corpus import encode, image_corpus, sample_image
from transferkit.data.pipeline import evaluation_dataset
from transferkit.errors import ImageError
from transferkit.images import ImageSpec, load_images

# Mutated files that are in one folder together.
_BATCH = 50
_MAX_SEED_BYTES = 20_000
SPEC = ImageSpec((24, 32))


def seed_files() -> list[tuple[str, bytes]]:
    """Return (extension, contents) of the small files of the corpus, of all formats and variants."""
    files = [(Path(file.name).suffix, file.make) for file in image_corpus().values()]
    return [(extension, data) for extension, data in files if isinstance(data, bytes) and len(data) <= _MAX_SEED_BYTES]


@pytest.fixture(scope="module")
def predictor() -> tk.Predictor:
    images = keras.Input((*SPEC.image_size, 3))
    logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(images))
    return tk.Predictor(keras.Model(images, logits), ["a", "b"], SPEC, activation="softmax", engine="keras")


def write_mutants(folder: Path, seeds: list[tuple[str, bytes]], rng: np.random.Generator, count: int) -> list[str]:
    """Write mutated files into two classes, each with an intact image; return the sorted paths."""
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        (folder / label / "intact.png").write_bytes(encode(sample_image() // (1 if label == "a" else 2), "PNG"))
    for number in range(count):
        extension, data = seeds[int(rng.integers(len(seeds)))]
        (folder / "ab"[number % 2] / f"{number:03}{extension}").write_bytes(mutate(data, rng))
    return sorted(str(path) for path in folder.rglob("*.*"))


def is_readable(path: str) -> bool:
    """Return whether an image can be read; nothing but an ImageError is raised where it cannot."""
    with time_limit():
        try:
            image = tk.read_image(path)
        except ImageError:
            return False
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3
    return True


def test_mutated_images_are_read_or_refused_alike(tmp_path: Path, predictor: tk.Predictor) -> None:
    rng, seeds = generator(), seed_files()
    assert len({extension for extension, _ in seeds}) >= 8
    with memory_limit():
        for start in range(0, case_count(400), _BATCH):
            check_folder(tmp_path / str(start), write_mutants(tmp_path / str(start), seeds, rng, _BATCH), predictor)


def check_folder(folder: Path, paths: list[str], predictor: tk.Predictor) -> None:
    bad = {path for path in paths if not is_readable(path)}
    with time_limit(len(paths)):
        assert {path for path, _ in tk.scan(folder, progress=False).skipped} == bad
        builder = tk.DatasetBuilder(folder, image_spec=SPEC, max_skipped_fraction=1.0, batch_size=16, progress=False)
        data = builder.build()
        assert {path for path, _ in data.report.skipped} == bad
        good = data.files["train"]
        assert sorted(good) == sorted(set(paths) - bad)
        batches = evaluation_dataset(data.splits["train"], batch_size=16)
        images = np.concatenate([batch for batch, _ in batches.as_numpy_iterator()])
        assert np.array_equal(images, load_images(good, SPEC)) and not data.splits["train"].unreadable
        predictions = predictor.predict(folder)
    assert [one.path for one in predictions] == paths
    assert {one.path for one in predictions if one.error} == bad
