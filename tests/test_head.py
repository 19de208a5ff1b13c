"""Classification heads: layers, shapes, initial logits and invalid arguments."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.head import global_pooling


def names(head: tk.ClassifierHead, rank: int = 4) -> list[str]:
    return [layer.name for layer in head.layers(rank)]


def test_layers_in_order() -> None:
    head = tk.ClassifierHead(3, hidden=(8, 4), dropout=0.5)
    assert names(head) == ["pooling", "hidden_1", "hidden_2", "dropout", "logits"]
    assert names(tk.ClassifierHead(3, dropout=0)) == ["pooling", "logits"]


@pytest.mark.parametrize(
    ("num_classes", "multi_label", "units"), [(2, False, 1), (3, False, 3), (1, True, 1), (2, True, 2)]
)
def test_units(num_classes: int, multi_label: bool, units: int) -> None:
    head = tk.ClassifierHead(num_classes, multi_label=multi_label)
    assert head.units == units
    assert head(keras.Input((5, 5, 8))).shape == (None, units)


@pytest.mark.parametrize("shape", [(5, 5, 8), (6, 8), (8,)])
@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
def test_call_pools_features(shape: tuple[int, ...], pooling: str) -> None:
    assert tk.ClassifierHead(3, pooling=pooling)(keras.Input(shape)).shape == (None, 3)


def test_kind_follows_from_hidden_layers() -> None:
    assert tk.ClassifierHead(2) == tk.ClassifierHead(2, kind="linear")
    assert tk.ClassifierHead(2, hidden=(4,)) == tk.ClassifierHead(2, kind="mlp", hidden=(4,))
    assert tk.ClassifierHead(2, kind="mlp").hidden == (128,)


@pytest.mark.parametrize("shape", [(5, 5, 8), (6, 8), (8,)])
@pytest.mark.parametrize("kind", ["prototype", "cosine", "knn"])
@pytest.mark.parametrize(("num_classes", "units"), [(2, 1), (3, 3)])
def test_heads_for_few_images_return_equal_logits_at_first(
    kind: str, shape: tuple[int, ...], num_classes: int, units: int
) -> None:
    images = keras.Input(shape)
    model = keras.Model(images, tk.ClassifierHead(num_classes, kind=kind)(images))
    logits = np.asarray(model(np.ones((2, *shape), "float32")))
    assert logits.shape == (2, units) and np.ptp(logits) == 0 and (units == 3 or not logits.any())


def test_layers_of_neighbors_raises() -> None:
    with pytest.raises(ValueError, match="`layers` requires a head that is a list of layers. Received: kind='knn'"):
        tk.ClassifierHead(2, kind="knn").layers()


def test_layers_of_unsupported_rank_raises() -> None:
    with pytest.raises(ValueError, match="Features must be .* Received: rank 5"):
        tk.ClassifierHead(2).layers(5)


def test_initial_logits_are_zero_and_float32() -> None:
    head = tk.ClassifierHead(3, hidden=(4,))
    features = np.random.default_rng(0).normal(size=(2, 8)).astype("float16")
    logits = head(features)
    assert logits.dtype == "float32" and not np.any(logits)


def test_same_seed_initializes_equal_hidden_layers() -> None:
    features = np.ones((1, 8), "float32")
    first, second, other = (
        np.asarray(tk.ClassifierHead(2, hidden=(4,), seed=seed).layers(2)[0](features)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


def test_l2_regularizes_kernels() -> None:
    layers = tk.ClassifierHead(2, hidden=(4,), l2=0.5).layers()
    assert [layer.kernel_regularizer.l2 for layer in layers if isinstance(layer, keras.layers.Dense)] == [0.5, 0.5]


@pytest.mark.parametrize("rank", [3, 4])
def test_global_pooling_values(rank: int) -> None:
    features = np.arange(8, dtype="float32").reshape(1, *[2] * (rank - 2), -1)
    axes = tuple(range(1, rank - 1))
    np.testing.assert_allclose(global_pooling("avg", rank)(features), features.mean(axis=axes))
    np.testing.assert_allclose(global_pooling("max", rank)(features), features.max(axis=axes))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"num_classes": 1},
            "`num_classes` must be an integer of at least 2. Received: 1. A classifier needs",
        ),
        ({"num_classes": 0, "multi_label": True}, "`num_classes` must be an integer of at least 1. Received: 0."),
        ({"pooling": "average"}, "`pooling` must be one of 'avg', 'max', 'flatten'. Received: 'average'."),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1). Received: 1.0."),
        ({"hidden": (8, 0)}, "`hidden` must be an integer of at least 1. Received: 0."),
        ({"l2": -1}, "`l2` must be a finite number of at least 0. Received: -1."),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1."),
        (
            {"kind": "knnn"},
            "`kind` must be one of 'linear', 'mlp', 'prototype', 'cosine', 'knn', 'ordinal'. Received: 'knnn'.",
        ),
        (
            {"kind": "linear", "hidden": (8,)},
            "`hidden` is for kind='mlp' or 'ordinal'. Received: hidden=(8,) with kind='linear'.",
        ),
        (
            {"kind": "knn", "l2": 0.1},
            "`l2` is for kind='linear' or 'mlp' or 'cosine' or 'ordinal'. Received: l2=0.1 with kind='knn'",
        ),
        (
            {"kind": "prototype", "dropout": 0.5},
            "`dropout` is for kind='linear' or 'mlp' or 'cosine' or 'ordinal'. Received: dropout",
        ),
        (
            {"scale": 5.0},
            "`scale` is for kind='prototype' or 'cosine' or 'knn'. Received: scale=5.0 with kind='linear'.",
        ),
        (
            {"kind": "cosine", "neighbors": 3},
            "`neighbors` is for kind='knn'. Received: neighbors=3 with kind='cosine'.",
        ),
        ({"kind": "cosine", "scale": 0}, "`scale` must be a finite number above 0. Received: 0."),
        ({"kind": "knn", "max_images": 4}, "`max_images` must be an integer of at least 5. Received: 4."),
        ({"kind": "knn", "multi_label": True}, "kind='knn' requires one label per image. Received: multi_label=True."),
    ],
)
def test_head_invalid_argument_raises(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        tk.ClassifierHead(**{"num_classes": 2, **arguments})
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"num_classes": ["cats", "dogs"]},
            "`num_classes` must be an integer. Received: list. Give, for example, data.",
        ),
        ({"num_classes": 2.0}, "`num_classes` must be an integer. Received: float."),
        ({"hidden": 128}, "`hidden` must be a sequence of integers. Received: 128. Give, for example, (128,)."),
    ],
)
def test_head_argument_of_other_type_raises(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as error:
        tk.ClassifierHead(**{"num_classes": 2, **arguments})
    assert text in str(error.value)


def test_ordinal_logits_are_log_probabilities() -> None:
    features = keras.Input((4,))
    model = keras.Model(features, tk.ClassifierHead(4, kind="ordinal", dropout=0)(features))
    np.testing.assert_allclose(np.exp(model(np.ones((2, 4), "float32"))), 0.25, rtol=1e-6)
    thresholds = model.get_layer("thresholds")
    thresholds.set_weights([np.zeros((4, 3), "float32"), np.log([1 / 3, 1 / 2, 3.0]).astype("float32")])
    # The logits of "above": log(3/3), log(2/2), log(1 * 3): half of the images stay at each of the first two classes.
    np.testing.assert_allclose(np.exp(model(np.ones((1, 4), "float32")))[0], [0.5, 0.25, 0.0625, 0.1875], rtol=1e-5)


def test_ordinal_loss_is_the_sum_over_reached_thresholds() -> None:
    features = keras.Input((4,))
    model = keras.Model(features, tk.ClassifierHead(4, kind="ordinal", dropout=0)(features))
    model.get_layer("thresholds").set_weights([np.random.default_rng(0).normal(size=(4, 3)), np.zeros(3)])
    inputs = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    labels = np.array([0, 1, 2, 3, 3, 1])
    cross_entropy = keras.losses.sparse_categorical_crossentropy(labels, model(inputs), from_logits=True)
    above = np.asarray(model.get_layer("thresholds")(inputs)) + np.log([3, 2, 1])
    reached = np.arange(3) <= labels[:, None]
    signs = np.where(np.arange(3) < labels[:, None], 1, -1)
    expected = np.where(reached, np.log1p(np.exp(-signs * above)), 0).sum(axis=1)
    np.testing.assert_allclose(cross_entropy, expected, rtol=1e-5)


def test_ordinal_head_requires_three_classes_and_one_label() -> None:
    with pytest.raises(
        ValueError, match="`num_classes` must be an integer of at least 3. Received: 2. For two classes use"
    ):
        tk.ClassifierHead(2, kind="ordinal")
    with pytest.raises(ValueError, match="kind='ordinal' requires one label per image. Received: multi_label=True"):
        tk.ClassifierHead(3, kind="ordinal", multi_label=True)
