"""Which feature map is found in which model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.explanation.conftest import make_predictor
from transferkit.explanation.target_layer import find_feature_map


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("MobileNetV2", "out_relu", (2, 2)),
        ("MobileNetV3Small", "activation", (2, 2)),
        ("VGG16", "block5_conv3", (4, 4)),
        ("EfficientNetB0", "top_activation", (2, 2)),
    ],
)
def test_last_map_of_catalogue_backbone_is_found(name: str, layer: str, shape: tuple[int, int]) -> None:
    options = {"alpha": 0.35} if name == "MobileNetV2" else {}
    backbone = tk.BackboneFactory.create(name, input_shape=(64, 64, 3), weights=None, **options)
    found = find_feature_map(tk.build_classifier(backbone, tk.ClassifierHead(2)))
    assert found.layer.startswith(layer)
    assert found.tensor.shape[1:3] == shape


def test_map_of_one_position_is_not_used() -> None:
    backbone = tk.BackboneFactory.create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    shape = find_feature_map(tk.build_classifier(backbone, tk.ClassifierHead(2))).tensor.shape
    assert shape[1:3] == (2, 2)


def test_map_of_flat_and_of_sequential_model_is_found() -> None:
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="first"),
        keras.layers.Conv2D(4, 3, name="last"),
        keras.layers.AveragePooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    sequential = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    images = keras.Input((8, 8, 3))
    nested = keras.Model(images, keras.layers.Dense(2)(sequential(images)))
    assert [find_feature_map(model).layer for model in (sequential, nested)] == ["last", "last"]


def test_model_without_map_names_other_methods() -> None:
    images = keras.Input((8, 8, 3))
    scaled = keras.layers.Normalization(mean=[1.0] * 3, variance=[4.0] * 3)(images)
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(scaled)))
    predictor, image = make_predictor(model), np.full((8, 8, 3), 100, np.uint8)
    with pytest.raises(ValueError, match="a model with a feature map .*'integrated_gradients' or .*'occlusion'"):
        tk.explain(predictor, image)
    assert tk.explain(predictor, image, "integrated_gradients").heatmap.shape == (8, 8)


def branched_model(size: int) -> keras.Model:
    images = keras.Input((size, size, 3))
    stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(images)
    branches = [keras.layers.Conv2D(4, 3, padding="same", name=f"branch_{number}")(stem) for number in range(2)]
    merged = keras.layers.Concatenate(name="merged")(branches)
    reduced = [keras.layers.Conv2D(4, 3, strides=2, name=f"reduced_{number}")(merged) for number in range(2)]
    joined = keras.layers.Add(name="joined")([reduced[0], keras.layers.ReLU(name="relu")(reduced[1])])
    return keras.Model(images, joined, name="branched")


@pytest.mark.parametrize(("size", "layer"), [(8, "joined"), (4, "merged")])
@pytest.mark.parametrize("is_nested", [False, True])
def test_map_of_all_branches_is_preferred(size: int, layer: str, is_nested: bool) -> None:
    # With images of 4 pixels the joined map has one position, and those of the branches below it too.
    model = branched_model(size)
    images = keras.Input((size, size, 3))
    features = model(images) if is_nested else model.outputs[0]
    vector = keras.layers.GlobalAveragePooling2D()(features)
    classifier = keras.Model(images if is_nested else model.inputs, keras.layers.Dense(2)(vector))
    assert find_feature_map(classifier).layer == layer


def test_branch_is_used_where_no_map_has_all() -> None:
    images = keras.Input((8, 8, 3))
    branches = [keras.layers.Conv2D(4, 3, name=f"branch_{number}")(images) for number in range(2)]
    vectors = [keras.layers.GlobalAveragePooling2D()(branch) for branch in branches]
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Concatenate()(vectors)))
    assert find_feature_map(model).layer.startswith("branch_")
