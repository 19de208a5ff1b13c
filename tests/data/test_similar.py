"""Similar images of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics.pairwise import cosine_similarity

import transferkit as tk
from transferkit.data import Split
from transferkit.errors import DataError
from transferkit.images import ImageSpec
from transferkit.images.loading import load_images


class MeanBackbone:
    """A backbone whose features are the mean color of an image."""

    def features(self, images: Any, image_spec: ImageSpec | None = None) -> np.ndarray:
        sources = (images.images if images.paths is None else images.paths) if isinstance(images, Split) else images
        loaded = load_images(list(sources), image_spec or ImageSpec((48, 48)))
        return np.stack(loaded).reshape(len(loaded), -1, 3).mean(axis=1)


def test_similar_images_have_the_largest_cosines(synthetic):
    data = tk.DatasetBuilder(synthetic / "train", test=0.3, image_size=48, progress=False).build()
    query = data.files["train"][3]
    found = data.similar(query, 5, backbone=MeanBackbone())
    files = data.files["train"] + data.files["test"]
    features = MeanBackbone().features(files)
    cosines = cosine_similarity(features[[3]], features)[0]
    assert found[0].path == query and found[0].similarity == pytest.approx(1)
    np.testing.assert_allclose([one.similarity for one in found], np.sort(cosines)[::-1][:5], atol=1e-6)
    for one in found:
        split = data.splits[one.split]
        assert split.paths[one.index] == one.path and data.class_names[split.labels[one.index]] == one.label
    assert {one.split for one in data.similar(query, 5, backbone=MeanBackbone(), splits=["test"])} == {"test"}


def test_similar_of_arrays_with_several_labels():
    images = np.stack([np.full((48, 48, 3), color, np.uint8) for color in ((200, 0, 0), (0, 200, 0), (200, 150, 0))])
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    data = tk.DatasetBuilder((images, labels), image_size=48, class_names=["red", "green"], progress=False).build()
    found = data.similar(images[0], 2, backbone=MeanBackbone())
    assert [(one.index, one.label, one.path) for one in found] == [(0, "red", None), (2, "red, green", None)]


def test_similar_invalid_arguments_raise():
    images, labels = np.zeros((4, 48, 48, 3), np.uint8), np.array([0, 1, 0, 1])
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    data = tk.DatasetBuilder(dataset, image_size=48, class_names=["a", "b"]).build()
    with pytest.raises(DataError, match="The data must consist of files or arrays to be searched"):
        data.similar(images[0], backbone=MeanBackbone())
    with pytest.raises(ValueError, match="`splits` must be one of 'train'. Received: 'test'"):
        data.similar(images[0], backbone=MeanBackbone(), splits=["test"])
    with pytest.raises(ValueError, match="`count` must be an integer of at least 1. Received: 0"):
        data.similar(images[0], 0, backbone=MeanBackbone())
