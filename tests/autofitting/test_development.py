"""The images of a search: nothing of the test split in them, samples with the classes of the whole, folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from transferkit.autofitting.development import make_development
from transferkit.images.loading import load_image


def build(source: object, **options: object) -> tk.Data:
    return tk.DatasetBuilder(source, image_size=32, progress=False, **options).build()


def test_test_images_are_the_test_split(synthetic: Path) -> None:
    data = build(synthetic, test=0.5)
    development = make_development(data, 0)
    assert development.test_name == "test" and development.test.paths == data.splits["test"].paths
    assert development.split.paths == (*data.splits["train"].paths, *data.splits["validation"].paths)
    assert len(development.split.labels) == len(development.split.paths)


def test_test_images_are_the_validation_split_without_a_test_split(data: tk.Data) -> None:
    development = make_development(data, 0)
    assert development.test_name == "validation" and development.test.paths == data.splits["validation"].paths
    assert development.split.paths == data.splits["train"].paths


@pytest.mark.parametrize("folder", ["train", "."])
def test_images_of_samples_come_from_their_files_with_a_cache_of_images(folder: str, synthetic: Path) -> None:
    # In the folder itself, the search has the images of two splits.
    development = make_development(build(synthetic / folder, test=10, cache_images=True), 0)
    sample = development.sample(20)
    for split in (sample.split, development.split):
        data = development.data_of(split)
        expected = sorted(load_image(path, data.image_spec).astype(np.float32).tobytes() for path in split.paths)
        assert sorted(image.tobytes() for images, _ in data.train.as_numpy_iterator() for image in images) == expected


def test_test_images_are_a_fifth_without_other_splits(synthetic: Path) -> None:
    development = make_development(build(synthetic / "train"), 0)
    test = development.test
    assert len(test) == 8 and np.bincount(test.labels).tolist() == [4, 4] and test.name == "test"
    assert not set(test.content_hashes()) & set(development.split.content_hashes())
    assert len(development) == 32


def test_copies_of_an_image_are_on_one_side() -> None:
    images = np.repeat(np.arange(20, dtype=np.uint8) * 10, 4)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    development = make_development(build((images, np.arange(80) // 4 % 2)), 0)
    assert not set(development.test.content_hashes()) & set(development.split.content_hashes())
    sample = development.sample(1000)
    hashes = np.array([key.hex() for key in sample.split.content_hashes()])
    for fold in sample.folds:
        assert not set(hashes[fold]) & set(hashes[sample.outside(fold)])


def test_samples_are_nested_and_have_the_classes_of_the_whole() -> None:
    images = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    development = make_development(build((images, (np.arange(100) % 4 == 0).astype(int)), test=20), 0)
    small, large = development.sample(40), development.sample(60)
    assert np.bincount(small.split.labels).tolist() == [30, 10]
    keys = [set(sample.split.content_hashes()) for sample in (small, large)]
    assert keys[0] < keys[1]
    assert sorted(np.concatenate(large.folds).tolist()) == list(range(60)) and len(large.folds) == 5


def test_folds_of_a_small_class_are_as_many_as_its_images() -> None:
    images = np.arange(23, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    development = make_development(build((images, (np.arange(23) > 19).astype(int)), test=images_of_test(images)), 0)
    assert len(development.sample(100).folds) == 3


def images_of_test(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images[:4] + 100, np.array([0, 1, 0, 1])


def test_class_with_one_image_raises() -> None:
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    data = build((images, (np.arange(12) == 0).astype(int)), test=images_of_test(images))
    with pytest.raises(tk.DataError, match="Every class must have two images for training.* Received: .*: 1}. Add"):
        make_development(data, 0)


def test_dataset_raises() -> None:
    dataset = tf.data.Dataset.from_tensors((np.zeros((4, 32, 32, 3), np.float32), np.arange(4) % 2))
    data = tk.DatasetBuilder(dataset, class_names=["a", "b"], image_size=32).build()
    with pytest.raises(tk.DataError, match="`data` must consist of files or arrays. Received: a tf.data.Dataset"):
        make_development(data, 0)
    with pytest.raises(TypeError, match="`data` must be the result of DatasetBuilder.* Received: str. Build it"):
        make_development("photos", 0)
