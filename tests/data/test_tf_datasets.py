"""Datasets of the user: labels of all forms, and checks of every element."""

import numpy as np
import pytest
import tensorflow as tf

from transferkit import DatasetBuilder
from transferkit.errors import DataError

SIZE = (8, 6)
CLASSES = ["a", "b", "c"]
INDICES = np.arange(12) % 3


def noise(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def build(images, labels, batch_size=4, **options):
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.batch(batch_size) if batch_size else dataset
    return DatasetBuilder(dataset, image_size=SIZE, class_names=CLASSES, **options).build()


def labels_of(data):
    return np.concatenate([labels for _, labels in data.train.as_numpy_iterator()])


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("labels", [np.eye(3, dtype=np.float32)[INDICES], np.eye(3, dtype=np.int64)[INDICES]])
def test_build_turns_one_hot_labels_into_indices(batch_size, labels):
    data = build(noise(), labels, batch_size)
    assert not data.multi_label and labels_of(data).tolist() == INDICES.tolist()


@pytest.mark.parametrize("batch_size", [None, 4])
def test_build_keeps_several_labels_per_image(batch_size):
    labels = np.array([[1, 1, 0], [0, 1, 0]] * 6, np.float32)
    data = build(noise(), labels, batch_size)
    assert data.multi_label and labels_of(data).tolist() == labels.tolist()


def test_build_decides_one_form_of_labels_for_all_splits():
    several = tf.data.Dataset.from_tensor_slices((noise(), np.ones((12, 3), np.float32)))
    data = build(noise(), np.eye(3, dtype=np.float32)[INDICES], None, validation=several)
    assert data.multi_label and labels_of(data).shape == (12, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (INDICES + 1, "class indices from 0 to 2. Received: "),
        (INDICES - 1.0, "class indices from 0 to 2"),
        (INDICES + 0.5, "class indices from 0 to 2"),
        (np.full(12, np.nan), "finite numbers"),
        (np.array(CLASSES)[INDICES], "finite numbers"),
    ],
)
def test_build_refuses_labels_of_first_batch(labels, message):
    with pytest.raises(DataError, match=message):
        build(noise(), labels)


@pytest.mark.parametrize(
    ("index", "images", "labels", "message"),
    [
        (30, np.nan, None, "must be RGB in .0, 255.. Received: NaN"),
        (30, 300.0, None, "Scale them to 8 bits"),
        (90, None, 7, "class indices from 0 to 2"),
    ],
)
def test_later_elements_are_checked_when_read(index, images, labels, message):
    all_images, all_labels = noise(100).astype(np.float32), np.arange(100) % 3
    all_images[index] = all_images[index] if images is None else images
    all_labels[index] = all_labels[index] if labels is None else labels
    data = build(all_images, all_labels)
    with pytest.raises(tf.errors.OpError, match=message):
        labels_of(data)


def test_later_labels_must_stay_one_hot():
    labels = np.eye(3, dtype=np.float32)[np.arange(100) % 3]
    labels[99] = 1
    data = build(noise(100), labels)
    with pytest.raises(tf.errors.OpError, match="rows with exactly one 1, like the first ones"):
        labels_of(data)


SLICES = tf.data.Dataset.from_tensor_slices
OTHER_FORMS = [
    tf.data.Dataset.range(3),
    tf.data.Dataset.from_tensors((noise()[..., 0], INDICES)),
    SLICES({"picture": noise(), "label": INDICES}),
    SLICES({"image": noise(), "label": INDICES, "labels": INDICES}),
    SLICES((noise(), {"label": INDICES})),
    SLICES(((noise(), noise()), INDICES)),
    SLICES((noise(), INDICES, np.ones(12), np.ones(12))),
    SLICES((noise(2), tf.ragged.constant([[0], [0, 1]]))),
    SLICES((noise(2), tf.sparse.from_dense([[0, 1], [1, 0]]))),
]


@pytest.mark.parametrize("source", OTHER_FORMS)
def test_build_refuses_elements_of_other_form(source):
    with pytest.raises(DataError, match="`source` must be a tf.data.Dataset of "):
        DatasetBuilder(source, class_names=CLASSES).build()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SLICES((noise(), INDICES)).repeat(), "Received: an infinite dataset. Remove repeat"),
        (SLICES((noise(), INDICES)).take(0), "Received: an empty dataset"),
        (SLICES((noise(), np.array(CLASSES)[INDICES])), "must be finite numbers. Received: texts"),
        (SLICES((noise(), np.eye(4)[INDICES])), "one column for each of the 3 `class_names`. Received: 4 columns"),
    ],
)
@pytest.mark.parametrize("argument", ["source", "validation"])
def test_build_refuses_datasets_without_end_or_classes(source, message, argument):
    other = SLICES((noise(), INDICES))
    given = {"source": other, "validation": other, argument: source}
    with pytest.raises(DataError, match=message) as caught:
        DatasetBuilder(image_size=SIZE, class_names=CLASSES, **given).build()
    assert f"`{argument}`" in str(caught.value)
