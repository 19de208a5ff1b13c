"""Arrays in memory: forms of images and labels, checked over all of the data."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from transferkit import DatasetBuilder
from transferkit.data.arrays import is_arrays, validate_arrays
from transferkit.errors import DataError

SIZE = (8, 6)
INDICES = np.arange(12) % 3


def noise(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def build(source, **options):
    return DatasetBuilder(source, **{"image_size": SIZE, "progress": False, **options}).build()


def one_image(images):
    objects = np.empty(len(images), object)
    objects[:] = list(images)
    return objects


FORMS = {
    "array": np.asarray,
    "list of arrays": list,
    "tuple of arrays": tuple,
    "list of Pillow images": lambda images: [Image.fromarray(image) for image in images],
    "object array": one_image,
    "tensor": tf.constant,
    "list of tensors": lambda images: [tf.constant(image) for image in images],
    "big-endian": lambda images: images.astype(">u2"),
    "not contiguous": lambda images: np.asfortranarray(images),
    "half precision": lambda images: images.astype(np.float16),
}


@pytest.mark.parametrize("form", FORMS)
def test_build_accepts_form_of_images(form):
    split = build((FORMS[form](noise()), INDICES)).splits["train"]
    assert np.array_equal(split.images, noise()) and split.labels.tolist() == INDICES.tolist()


@pytest.mark.parametrize(
    "labels",
    [INDICES.tolist(), INDICES[:, None], INDICES.astype(np.float64), INDICES.astype(">i8"), np.eye(3)[INDICES],
     np.eye(3, dtype=bool)[INDICES], tf.one_hot(INDICES, 3), INDICES.astype(object), pd.array(INDICES, "Int64")],
)  # fmt: skip
def test_build_accepts_form_of_labels(labels):
    data = build((noise(), labels))
    assert data.splits["train"].labels.tolist() == INDICES.tolist() and not data.multi_label


def test_validate_arrays_decides_over_all_splits():
    one_hot, several = np.eye(3)[INDICES], np.array([[1, 1, 0], [0, 0, 1]] * 6)
    alone = validate_arrays({"train": (noise(), one_hot)}, SIZE)
    assert alone["train"][1].tolist() == INDICES.tolist()
    both = validate_arrays({"train": (noise(), several), "validation": (255 - noise(), one_hot)}, SIZE)
    assert both["validation"][1].tolist() == one_hot.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.where(INDICES == 1, np.nan, INDICES), "without missing values"),
        ([None] * 12, "without missing values"),
        (["cats", "dogs", "birds"] * 4, r"np.unique\(names, return_inverse=True\)"),
        (INDICES - 1, "class indices"),
        (INDICES + 0.5, "class indices"),
        (np.eye(3)[INDICES] * 0.9, "zeros and ones"),
        (INDICES * 4_000_000, "class indices"),
        ([[0, 1], [0]] * 6, "rows of different lengths"),
        (INDICES[:7], "12 images and 7 labels"),
        (INDICES * 5, r"3 different ones up to 10: \[0, 5, 10\]"),
        (np.eye(4)[INDICES], r"none for the columns \[3\]"),
    ],
)
def test_build_refuses_labels(labels, message):
    with pytest.raises(DataError, match=message):
        build((noise(), labels))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (noise().transpose(0, 3, 1, 2), r"np.moveaxis\(images, -3, -1\)"),
        (noise()[..., 0], r"np.repeat\(images\[..., None\], 3, axis=-1\)"),
        (noise()[..., :1], r"np.repeat\(images, 3, axis=-1\)"),
        (noise()[..., [0, 1, 2, 2]], "Remove the alpha channel"),
        (noise() * np.float32(257), "Scale them to 8 bits"),
        ([*noise(11), noise(1)[0][:5]], r"\(8, 6, 3\) and, at position 11, \(5, 6, 3\)"),
        (noise()[:0], r"Received: \(0, 8, 6, 3\)\.$"),
        (noise() > 99, "Convert them to uint8"),
        (noise().astype(np.longdouble), "Convert them to uint8"),
    ],
)
def test_build_refuses_images(images, message):
    with pytest.raises(DataError, match=message):
        build((images, INDICES[: len(images)]))


def test_build_finds_a_value_in_any_image():
    images = noise(100).astype(np.float32)
    images[77, 3, 2, 1] = np.nan
    with pytest.raises(DataError, match="NaN or infinite values in image 77"):
        build((images, np.arange(100) % 3))


@pytest.mark.parametrize("source", [(["a.jpg"], ["x"]), ("a", "b"), noise(), [noise()], None, (b"", 1)])
def test_is_arrays_distinguishes_paths(source):
    assert not is_arrays(source)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_training_images_of_another_split_are_left_out(split, caplog):
    images = noise(24)
    data = build((images, np.arange(24) % 3), **{split: (images[:6], INDICES[:6])})
    assert np.array_equal(data.splits["train"].images, images[6:]) and len(data.splits[split]) == 6
    assert "Left out 6 of 24 training images" in caplog.text


def test_training_images_of_another_split_in_another_type_are_left_out():
    images = np.random.default_rng(0).integers(0, 256, (6, *SIZE, 3), np.uint8)
    data = build((images, [0, 1, 0, 1, 0, 1]), validation=(images[:2].astype(np.float64), [0, 1]))
    assert len(data.splits["train"]) == 4


def test_training_images_that_all_are_in_another_split_raise():
    with pytest.raises(DataError, match="training images that all are in"):
        build((noise(), INDICES), validation=(noise(), INDICES))


def test_class_weight_of_class_without_images_is_zero():
    data = build((noise(), INDICES), class_names=["a", "b", "c", "d"])
    assert data.class_weight == {0: 0.75, 1: 0.75, 2: 0.75, 3: 0.0}
