"""Batches: order, resuming at any epoch, and the split of a dataset."""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.images.image_corpus import encode, sample_image
from transferkit.data import DatasetBuilder
from transferkit.data.examples import Split
from transferkit.data.pipeline import epoch_order, epochs_dataset, evaluation_dataset, split_of, training_dataset
from transferkit.images import ImageSpec, load_image
from transferkit.images.dataset import image_dataset
from transferkit.training.feature_data import evaluation_batches, training_batches

SPEC = ImageSpec((24, 32))


@pytest.fixture
def files(folder, tmp_path):
    """Twenty photographs, and one that Pillow reads."""
    odd = tmp_path / "odd.webp"
    odd.write_bytes(encode(sample_image(), "WEBP", lossless=True))
    return [*sorted(str(path) for path in folder.rglob("*.jpg")), str(odd)]


def test_epoch_order_follows_from_seed_and_epoch():
    assert epoch_order(6, 0, 0).tolist() == [0, 2, 1, 5, 4, 3]
    assert sorted(epoch_order(50, 3, 1)) == list(range(50))
    assert epoch_order(50, 3, 1).tolist() != epoch_order(50, 3, 2).tolist() != epoch_order(50, 4, 2).tolist()


def test_epochs_dataset_resumes_at_any_epoch(files):
    split = Split("train", np.arange(len(files), dtype=np.int32), SPEC, paths=tuple(files))
    whole = list(epochs_dataset(split, batch_size=8, seed=1, first_epoch=0, epochs=3))
    assert [len(labels) for _, labels in whole] == [8, 8, 5] * 3
    resumed = list(epochs_dataset(split, batch_size=8, seed=1, first_epoch=2, epochs=1))
    for (images, labels), (again, labels_again) in zip(whole[6:], resumed):
        assert np.array_equal(images, again) and np.array_equal(labels, labels_again)
    first = np.concatenate([labels for _, labels in whole[:3]])
    assert first.tolist() == epoch_order(len(files), 1, 0).tolist()
    images = np.concatenate([images for images, _ in whole[:3]])
    assert np.array_equal(images[0], load_image(files[first[0]], SPEC))


def test_iterators_have_no_tuning_thread(files):
    # Their destructor waits for it, up to a minute.
    split = Split("train", np.arange(len(files), dtype=np.int32), SPEC, paths=tuple(files))
    features = [np.zeros((len(files), 3), np.float32)]
    targets = (split.labels,)
    datasets = [
        epochs_dataset(split, batch_size=8, seed=1, first_epoch=0, epochs=3),
        training_dataset(split, batch_size=8, seed=1),
        evaluation_dataset(split, batch_size=8),
        image_dataset(files, SPEC),
        training_batches([features], targets, batch_size=8, seed=1, epochs=range(2)),
        evaluation_batches(features, targets),
    ]
    assert [dataset.options().autotune.enabled for dataset in datasets] == [False] * len(datasets)


def test_train_shuffles_each_time_and_knows_its_split(folder):
    data = DatasetBuilder(folder, image_size=(24, 32), batch_size=20).build()
    first, second = (next(iter(data.train))[1].numpy().tolist() for _ in range(2))
    assert sorted(first) == sorted(second) and first != second
    again = DatasetBuilder(folder, image_size=(24, 32), batch_size=20).build()
    assert next(iter(again.train))[1].numpy().tolist() == first
    assert split_of(data.train) is data.splits["train"] and split_of(data.train.take(1)) is None


def test_evaluation_dataset_of_arrays_is_in_order():
    images = np.arange(5 * 24 * 32 * 3).reshape(5, 24, 32, 3).astype(np.uint8)
    split = Split("test", np.arange(5, dtype=np.int32), SPEC, images=images)
    got = list(evaluation_dataset(split, batch_size=2))
    assert np.array_equal(np.concatenate([batch for batch, _ in got]), images.astype(np.float32))
    assert np.concatenate([labels for _, labels in got]).tolist() == [0, 1, 2, 3, 4]


def test_train_skips_a_deleted_file(folder, caplog):
    data = DatasetBuilder(folder, image_size=(24, 32), batch_size=4).build()
    os.unlink(data.files["train"][3])
    for _ in range(2):
        assert sum(len(labels) for _, labels in data.train) == 19
    assert list(data.splits["train"].unreadable.values()) == ["there is no such file"]
    assert sum("skipped from now on" in record.message for record in caplog.records) == 1


def test_validation_keeps_number_of_batches_of_deleted_files(folder):
    data = DatasetBuilder(folder, validation=5, image_size=(24, 32), batch_size=1).build()
    os.unlink(data.files["validation"][4])
    labels = [int(labels[0]) for _, labels in data.validation]
    assert len(labels) == len(data.validation) == 5 and labels[4] == labels[3]
    for path in data.files["validation"][:4]:
        os.unlink(path)
    with pytest.raises(tf.errors.OpError, match="no such file"):
        list(data.validation)


def test_split_of_is_found_through_prefetch_only(folder):
    data = DatasetBuilder(folder, validation=0.25, image_size=(24, 32)).build()
    split = data.splits["validation"]
    options = tf.data.Options()
    for same in (
        data.validation.prefetch(1),
        data.validation.with_options(options),
        data.validation.prefetch(2).cache(),
    ):
        assert split_of(same) is split
    for other in (data.validation.map(lambda *pair: pair), data.validation.take(1), data.validation.shuffle(9)):
        assert split_of(other) is None and split_of(other, same_elements=False) is split
    assert split.class_names == ("cats", "dogs")
    assert split_of(tf.data.Dataset.range(3)) is None


def weighted_split(labels=range(5), **options):
    labels = np.array(labels, np.int32)
    return Split("train", labels, SPEC, weights=np.float32(labels) / 4, **options)


def test_batches_of_a_weighted_split_have_its_weights(files):
    images = np.arange(5 * 24 * 32 * 3).reshape(5, 24, 32, 3).astype(np.uint8)
    for split in (weighted_split(images=images), weighted_split(paths=tuple(files[:5]))):
        assert [weights.numpy().tolist() for _, _, weights in evaluation_dataset(split, batch_size=3)] == [
            [0.0, 0.25, 0.5],
            [0.75, 1.0],
        ]
        for batches in (
            training_dataset(split, batch_size=2, seed=3),
            epochs_dataset(split, batch_size=2, seed=3, first_epoch=1, epochs=2),
        ):
            assert batches.element_spec[2] == tf.TensorSpec((None,), tf.float32)
            for _, labels, weights in batches:
                assert weights.numpy().tolist() == (labels.numpy() / 4).tolist()


def test_batches_skip_the_weight_of_a_deleted_file(files):
    split = weighted_split(paths=tuple(files[:5]))
    os.unlink(files[1])
    found = [
        (labels.numpy().tolist(), weights.numpy().tolist())
        for _, labels, weights in evaluation_dataset(split, batch_size=2)
    ]
    assert found == [([0], [0.0]), ([2, 3], [0.5, 0.75]), ([4], [1.0])]


def test_batch_without_a_readable_file_repeats_the_last_weight(files):
    split = weighted_split(paths=tuple(files[:5]))
    os.unlink(files[4])
    *_, (_, labels, weights) = evaluation_dataset(split, batch_size=2)
    assert labels.numpy().tolist() == [3] and weights.numpy().tolist() == [0.75]


def test_keras_fit_uses_the_weights():
    images = np.zeros((4, 24, 32, 3), np.uint8)
    split = Split("train", np.array([0, 1, 1, 1], np.int32), SPEC, images=images, weights=np.float32([3, 1, 0, 4]))
    model = keras.Sequential([keras.Input((24, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    # The bias is 0, so both probabilities are 1/2, and class 0 is predicted.
    assert model.evaluate(evaluation_dataset(split, batch_size=4), verbose=0) == pytest.approx(
        [np.log(2) * 8 / 4, 3 / 8], rel=1e-5
    )
    model.fit(training_dataset(split, batch_size=4, seed=0), verbose=0)
    # The gradient of the first bias is the sum of weight * (probability - label) over 4: (3 * -0.5 + 5 * 0.5) / 4.
    assert model.layers[-1].bias.numpy().tolist() == pytest.approx([-0.0025, 0.0025], rel=1e-4)
