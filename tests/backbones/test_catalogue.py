"""Every backbone of the catalogue, large ones with `python -m pytest -m slow`, and the catalogue as a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.backbones import BackboneSpec, Catalogue
from transferkit.backbones.applications import list_applications
from transferkit.backbones.efficientnet_lite import VARIANTS, build_efficientnet_lite
from transferkit.backbones.table import ROWS
from transferkit.modeling.freezing import batch_norm_layers

SMALL = {
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetLite0",
    "EfficientNetV2B0",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
}
# Built with the default tests, each with another structure; the others take seconds to minutes each.
FAST = {"EfficientNetLite0", "MobileNetV2", "MobileNetV3Small", "ResNet50V2", "VGG16"}
EVERY = [pytest.param(row, id=row.name, marks=() if row.name in FAST else pytest.mark.slow) for row in ROWS]
# One model per family, for properties that do not depend on the size.
FAMILIES = {row.family: row.name for row in reversed(ROWS) if row.name in SMALL}
ONE_PER_FAMILY = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in sorted(FAMILIES.values())
]


@pytest.fixture(autouse=True)
def clear_models(request: pytest.FixtureRequest) -> Iterator[None]:
    """Delete large models at once: a collection takes longer than a fast test."""
    yield
    if request.node.get_closest_marker("slow") is not None:
        keras.backend.clear_session()


@pytest.fixture(scope="module", autouse=True)
def clear_small_models() -> Iterator[None]:
    yield
    keras.backend.clear_session()


def image_side(row: BackboneSpec) -> int:
    # Large enough for the strides of every model, small enough to be fast.
    return max(row.min_size, 96)


@pytest.mark.parametrize("row", EVERY)
def test_create_matches_row_and_trains(row: BackboneSpec) -> None:
    side = image_side(row)
    backbone = tk.BackboneFactory.create(row.name, input_shape=(side, side, 3), weights=None)
    assert backbone.model.output_shape[-1] == row.features
    assert not backbone.model.trainable_variables
    model = tk.build_classifier(backbone, tk.ClassifierHead(3))
    assert model.output_shape == (None, 3)

    backbone.unfreeze(fraction=0.1)
    assert backbone.model.trainable_variables
    assert not any(layer.trainable for layer in batch_norm_layers(backbone.model))
    statistics = [
        np.asarray(weight).tobytes() for layer in batch_norm_layers(backbone.model) for weight in layer.weights
    ]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
    assert np.isfinite(model.train_on_batch(images, np.array([0, 2])))
    after = [np.asarray(weight).tobytes() for layer in batch_norm_layers(backbone.model) for weight in layer.weights]
    assert after == statistics

    backbone.freeze()
    assert not backbone.model.trainable_variables


@pytest.mark.parametrize("row", EVERY)
def test_row_parameters_match_model(row: BackboneSpec) -> None:
    if row.name in VARIANTS:
        size = row.default_size
        model = build_efficientnet_lite(row.name, (size, size, 3), include_top=True)
    else:
        model = getattr(keras.applications, row.name)(weights=None)
    assert model.count_params() == row.parameters
    if None not in model.input_shape[1:]:
        assert model.input_shape[1] == row.default_size


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_preprocessing_matches_keras(name: str) -> None:
    backbone = tk.BackboneFactory.create(name, input_shape=(96, 96, 3), weights=None)
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    actual = np.asarray(backbone.preprocessing(keras.ops.convert_to_tensor(images)))
    if name == "EfficientNetLite0":
        expected = (images - 127) / 128
    else:
        module = sys.modules[getattr(keras.applications, name).__module__]
        expected = np.asarray(module.preprocess_input(images.copy()))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_classifier_loads_with_plain_keras(name: str, tmp_path: object) -> None:
    backbone = tk.BackboneFactory.create(name, input_shape=(96, 96, 3), weights=None)
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    images = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-5)


def test_catalogue_filters_and_sorts() -> None:
    catalogue = tk.BackboneFactory.catalogue()
    assert [row.name for row in catalogue] == sorted(row.name for row in catalogue)
    assert {row.name for row in ROWS} <= {row.name for row in catalogue}
    small = catalogue.filter(max_parameters=6e6, min_top1=0.74).sorted("top1", descending=True)
    assert [row.name for row in small][:3] == ["EfficientNetB0", "EfficientNetLite1", "MobileNetV3Large"]
    assert all(row.paper.startswith("https://") and row.source.startswith("https://") and row.license for row in ROWS)
    with pytest.raises(AttributeError):
        catalogue[0].name = "other"


def test_catalogue_as_text_html_and_markdown() -> None:
    catalogue = tk.BackboneFactory.catalogue()
    header, *rows = str(catalogue).splitlines()
    assert header.split()[:3] == ["name", "parameters", "MB"] and header.endswith("license")
    assert len(rows) == len(catalogue)
    assert "MobileNetV2" in str(catalogue) and "<td>MobileNetV2</td>" in catalogue._repr_html_()
    assert "| MobileNetV2 | 3.5M | 14 | 105 | 71.3% |" in catalogue.to_markdown()
    assert catalogue.to_dicts()[0]["name"] == catalogue[0].name


def test_catalogue_unknown_column_raises() -> None:
    with pytest.raises(ValueError, match="`by` must be one of .*Received: 'parameter'. Did you mean 'parameters'"):
        Catalogue().sorted("parameter")


def test_catalogue_contains_all_applications() -> None:
    assert set(list_applications()) <= {row.name for row in ROWS}
