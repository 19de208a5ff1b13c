"""Presets of KerasHub as backbones: one small preset of each architecture, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.backbones.tiny_hub_presets import BUILD, SCALE, SHAPE, SIDE, expected_features, keras_hub, save_preset
from transferkit.autofitting.fine_tuning import copy_backbone
from transferkit.backbones import hub_catalogue, hub_presets
from transferkit.modeling import precision
from transferkit.modeling.freezing import find_blocks

pytest.importorskip("keras_hub", reason="needs the extra `hub`")

FAST = ("ViT", "DINOV2", "SigLIP", "ResNet")
FAMILIES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in BUILD]
# Number of blocks, and the form of the output.
EXPECTED = {
    "ViT": (2, "class token"),
    "DINOV2": (2, "class token"),
    "SigLIP": (2, "pooled vector"),
    "CLIP": (2, "class token"),
    "ResNet": (2, "feature map"),
    "EfficientNet": (3, "feature map"),
    "MobileNet": (5, "feature map"),
    "SwinTransformer": (4, "patch tokens"),
    "DINOV3": (2, "class token"),
    "DeiT": (2, "class token"),
    "CSPNet": (3, "feature map"),
    "HGNetV2": (2, "feature map"),
    "MiT": (6, "feature map"),
    "DenseNet": (3, "feature map"),
    "VGG": (2, "feature map"),
    "Xception": (3, "feature map"),
    "MobileNetV5": (2, "feature map"),
    "MetaCLIP2": (2, "class token"),
    "SAM": (3, "feature map"),
}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "vit"
    save_preset("ViT", folder)
    return folder


def pooled(features: Any) -> np.ndarray:
    values = np.asarray(features)
    return values.mean(axis=(1, 2)) if values.ndim == 4 else values


def train_head(folder: Path, data: tk.Data, *, cache: bool = True) -> tk.Trainer:
    keras.utils.set_random_seed(0)
    model = tk.build_classifier(tk.BackboneFactory.create(folder), tk.ClassifierHead(2, dropout=0.0))
    trainer = tk.Trainer(model, learning_rate=0.05, cache=cache)
    trainer.fit(data, epochs=2, verbose=0)
    return trainer


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_those_of_keras_hub(family: str, images: np.ndarray, tmp_path: Path) -> None:
    original = save_preset(family, tmp_path / "preset")
    backbone = tk.BackboneFactory.create(tmp_path / "preset")
    expected = expected_features(family, original, images)
    np.testing.assert_allclose(pooled(backbone(images)), expected, atol=1e-5 * np.abs(expected).max())
    blocks, output = EXPECTED[family]
    assert (len(find_blocks(backbone.model)), backbone.spec.output) == (blocks, output)
    assert (backbone.spec.family, backbone.spec.features) == (family, expected.shape[-1])
    assert not backbone.model.trainable_variables
    backbone.unfreeze(blocks=1)
    last = list(find_blocks(backbone.model).values())[-1]
    trained = [layer.name for layer in backbone.model.layers[:last] if layer.trainable_variables]
    assert backbone.model.trainable_variables and not trained


@pytest.mark.slow
@pytest.mark.parametrize("family", list(BUILD))
def test_family_trains_is_loaded_explained_and_exported(
    family: str, images: np.ndarray, synthetic: Path, tmp_path: Path
) -> None:
    save_preset(family, tmp_path / "preset")
    data = tk.DatasetBuilder(synthetic, image_size=SIDE, batch_size=16).build()
    trainer = train_head(tmp_path / "preset", data)
    logits = np.asarray(trainer.model(images))
    assert np.abs(logits).max() > 1e-3
    plain = train_head(tmp_path / "preset", data, cache=False)
    np.testing.assert_allclose(logits, np.asarray(plain.model(images)), atol=1e-5)

    trainer.fine_tune(data, epochs=1, blocks=max(1, EXPECTED[family][0] // 2), layer_decay=0.5, verbose=0)
    plan = trainer.plan(data)
    assert (plan.trained_on, plan.partition.limit) == ("features", None)
    paths = data.files["validation"]
    trainer.save(tmp_path / "classifier")
    loaded, trained = (
        np.stack([row.probability_array for row in model.predict(paths)])
        for model in (tk.load(tmp_path / "classifier"), trainer)
    )
    np.testing.assert_allclose(loaded, trained, atol=1e-6)
    assert tk.explain(trainer, paths[0]).heatmap.shape == (SIDE, SIDE)
    for name in ("model.onnx", "model.tflite", "openvino"):
        report = tk.export(trainer, tmp_path / name, format="openvino" if name == "openvino" else None)
        assert report.max_difference < 1e-5


def test_preset_states_its_preprocessing_and_resizing(vit: Path) -> None:
    backbone = tk.BackboneFactory.create(vit)
    assert backbone.image_spec == tk.ImageSpec((SIDE, SIDE), "crop", "bicubic", True)
    assert backbone.spec.preprocessing == "own"
    np.testing.assert_allclose(backbone.preprocessing.scale, SCALE)
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    expected = backbone.features([image], image_spec=backbone.image_spec)
    np.testing.assert_array_equal(backbone.features([image]), expected)


def test_random_weights_differ_from_those_of_the_preset(vit: Path, images: np.ndarray) -> None:
    loaded, random = (np.asarray(tk.BackboneFactory.create(vit, weights=w)(images)) for w in ("imagenet", None))
    assert loaded.shape == random.shape and np.abs(loaded - random).max() > 0.1


def test_patch_tokens_are_a_map(vit: Path, images: np.ndarray) -> None:
    backbone = tk.BackboneFactory.create(vit, features="patch_tokens")
    assert backbone.model.output_shape == (None, 4, 4, 32)
    assert backbone.spec.output == "patch tokens"
    tokens = np.asarray(keras_hub.models.Backbone.from_preset(str(vit))(backbone.preprocessing(images)))
    np.testing.assert_allclose(np.asarray(backbone(images)).reshape(3, 16, 32), tokens[:, 1:], atol=1e-5)


def test_classifier_object_of_keras_hub_is_a_backbone(vit: Path, images: np.ndarray) -> None:
    backbone = keras_hub.models.Backbone.from_preset(str(vit))
    converter = keras_hub.layers.ImageConverter.from_preset(str(vit))
    preprocessor = keras_hub.models.ViTImageClassifierPreprocessor(image_converter=converter)
    classifier = keras_hub.models.ViTImageClassifier(backbone, 3, preprocessor=preprocessor)
    created = tk.BackboneFactory.create(classifier)
    np.testing.assert_allclose(created(images), tk.BackboneFactory.create(vit)(images), atol=1e-5)


def test_position_embeddings_are_interpolated(vit: Path) -> None:
    small, large = (tk.BackboneFactory.create(vit, input_shape=(side, side, 3)) for side in (SIDE, 2 * SIDE))
    assert large.input_shape == (64, 64, 3) and large.spec.default_size == SIDE
    before, after = (b.model.get_layer("vit_patching_and_embedding").position_embedding for b in (small, large))
    old, new = np.asarray(before.embeddings), np.asarray(after.embeddings)
    assert new.shape == (65, 32)
    np.testing.assert_array_equal(new[0], old[0])
    # Bicubic interpolation keeps the mean of a table nearly, and the corners are closest to the old corners.
    np.testing.assert_allclose(new[1:].mean(axis=0), old[1:].mean(axis=0), atol=2e-3)
    distances = np.linalg.norm(old[1:] - new[1], axis=1)
    assert distances.argmin() == 0


def test_dinov2_interpolates_as_keras_hub_does(images: np.ndarray, tmp_path: Path) -> None:
    save_preset("DINOV2", tmp_path / "preset")
    backbone = tk.BackboneFactory.create(tmp_path / "preset", input_shape=(48, 48, 3))
    original = keras_hub.models.Backbone.from_preset(str(tmp_path / "preset"), image_shape=(48, 48, 3))
    resized = np.asarray(keras.ops.image.resize(images, (48, 48)))
    expected = np.asarray(original({"images": backbone.preprocessing(resized)}))[:, 0]
    np.testing.assert_allclose(backbone(resized), expected, atol=1e-4)


def test_size_that_the_architecture_does_not_support_is_refused(vit: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`input_shape` must be one that ViTBackbone supports. Received: \(36, 36, 3\)"
    ):
        tk.BackboneFactory.create(vit, input_shape=(36, 36, 3))
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, 3\)"):
        tk.BackboneFactory.create(vit, input_shape=(36, 36))
    save_preset("SAM", tmp_path / "sam")
    with pytest.raises(ValueError, match=r"must be one that ViTDetBackbone supports. .* Use the size of the preset"):
        tk.BackboneFactory.create(tmp_path / "sam", input_shape=(64, 64, 3))


def test_arguments_that_a_preset_does_not_take_are_refused(vit: Path) -> None:
    for arguments, message in (
        ({"preprocessing": "tf"}, "`preprocessing` is not supported .* own image converter"),
        ({"weights": "weights.h5"}, r"`weights` must be None \(random\) or omitted"),
        ({"sha256": "0"}, "`sha256` is not supported"),
        ({"alpha": 0.5}, "`alpha` is not supported"),
        ({"features": "mean"}, "`features` must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            tk.BackboneFactory.create(vit, **arguments)


def test_class_token_of_a_model_without_one_is_refused(tmp_path: Path) -> None:
    save_preset("ResNet", tmp_path / "preset", converter=False)
    with pytest.raises(ValueError, match="`features` must be 'auto' for a model without tokens"):
        tk.BackboneFactory.create(tmp_path / "preset", preprocessing="tf", features="class_token")


def test_preset_without_image_converter_requires_preprocessing(images: np.ndarray, tmp_path: Path) -> None:
    save_preset("ResNet", tmp_path / "preset", converter=False)
    with pytest.raises(ValueError, match="`preprocessing` must be given for .* without an image converter"):
        tk.BackboneFactory.create(tmp_path / "preset")
    backbone = tk.BackboneFactory.create(tmp_path / "preset", preprocessing="tf", input_shape=SHAPE)
    assert (backbone.spec.preprocessing, backbone(images).shape) == ("tf", (3, 4, 4, 64))


def test_backbone_of_text_is_refused() -> None:
    text = keras_hub.models.CLIPTextEncoder(8, 32, 32, num_layers=1, num_heads=2, intermediate_dim=64)
    with pytest.raises(ValueError, match="must take images alone. Received: .*CLIPTextEncoder"):
        tk.BackboneFactory.create(text)


def test_damaged_preset_is_an_error_of_weights(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((vit / "config.json").read_bytes())
    with pytest.raises(tk.WeightsError, match=r"could not be loaded. Received: .*model.weights"):
        tk.BackboneFactory.create(tmp_path)


def test_catalogue_lists_image_presets_of_the_registry() -> None:
    rows = tk.BackboneFactory.catalogue(source="hub")
    names = {row.name for row in rows}
    assert {"hub:dinov2_base", "hub:siglip_base_patch16_224", "hub:vit_base_patch16_384_imagenet"} <= names
    assert not {"hub:bert_base_en", "hub:gemma3_4b"} & names
    assert {row.family for row in rows} == set(BUILD)
    row = next(row for row in rows if row.name == "hub:vit_base_patch16_384_imagenet")
    assert (row.parameters, row.features, row.default_size, row.output) == (86_090_496, 768, 384, "class token")
    assert [row.name for row in rows] == sorted(names)
    sizes = {row.name: row.default_size for row in rows}
    assert (sizes["hub:siglip_so400m_patch14_384"], sizes["hub:mit_b5_ade20k_640"]) == (384, 640)
    assert (sizes["hub:clip_vit_large_patch14_336"], sizes["hub:dinov2_base"]) == (336, 518)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:dinov2_bas", "Did you mean 'dinov2_base'"),
        ("hub:bert_base_en", "a preset without image features"),
        ("hub:zzzzzzzzz", r"catalogue\(source=\"hub\"\) lists them"),
    ],
)
def test_unknown_preset_suggests_the_closest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.BackboneFactory.create(name)


def test_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="`source` must be one of 'keras', 'hub'"):
        tk.BackboneFactory.catalogue(source="timm")


def test_missing_extra_is_named(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_presets.is_hub_name("hub:dinov2_base") and hub_presets.is_hub_name("hf://timm/resnet18.a1_in1k")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    for call in (
        lambda: tk.BackboneFactory.create("hub:dinov2_base"),
        lambda: tk.BackboneFactory.create(vit),
        lambda: tk.BackboneFactory.catalogue(source="hub"),
        hub_catalogue.hub_catalogue,
    ):
        with pytest.raises(tk.MissingExtraError, match=r'pip install "transferkit\[hub\]"'):
            call()


def test_saved_classifier_needs_the_extra_and_no_network(
    vit: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=SIDE, batch_size=16).build()
    trainer = train_head(vit, data)
    trainer.save(tmp_path / "classifier")
    image = data.files["validation"][0]
    expected = trainer.predict(image).probability_array.tolist()
    code = (
        "import socket, sys, transferkit as tk\n"
        "socket.socket.connect = lambda *_: sys.exit('connected')\n"
        "print(tk.load(sys.argv[1], engine='keras').predict(sys.argv[2]).probability_array.tolist())"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "classifier"), str(image)]
    result = subprocess.run(arguments, capture_output=True, text=True)
    np.testing.assert_allclose(json.loads(result.stdout.splitlines()[-1]), expected, atol=1e-5)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(tk.MissingExtraError, match=r'pip install "transferkit\[hub\]"'):
        tk.load(tmp_path / "classifier")


@pytest.mark.parametrize("family", ["ViT", pytest.param("DINOV2", marks=pytest.mark.slow)])
def test_blocks_compute_in_one_precision_as_on_a_gpu(
    family: str, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_preset(family, tmp_path / "preset")
    backbone = tk.BackboneFactory.create(tmp_path / "preset")
    exact = backbone.features(list(images.astype("uint8")), engine="frozen_graph")
    monkeypatch.setattr(precision, "has_gpu", lambda: True)
    coarse = backbone.features(list(images.astype("uint8")), engine="frozen_graph", precision="bfloat16")
    difference = np.abs(coarse - exact).max() / np.abs(exact).max()
    assert 0 < difference < 0.05


def test_autofit_fine_tunes_a_copy(vit: Path) -> None:
    backbone = tk.BackboneFactory.create(vit)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *backbone.input_shape)).astype("float32")
    expected = np.asarray(backbone.model(images))
    copy = copy_backbone(backbone)
    np.testing.assert_array_equal(np.asarray(copy.model(images)), expected)
    assert copy.image_spec == backbone.image_spec
    copy.model.set_weights([2 * weight for weight in copy.model.get_weights()])
    np.testing.assert_array_equal(np.asarray(backbone.model(images)), expected)


def test_presets_are_compared_and_their_scores_used_again(vit: Path, synthetic: Path, tmp_path: Path) -> None:
    save_preset("ResNet", tmp_path / "resnet")
    data = tk.DatasetBuilder(synthetic, image_size=SIDE, batch_size=16).build()
    names, stored = [str(vit), str(tmp_path / "resnet")], tmp_path / "scores.json"
    first = tk.compare_backbones(data, names, folds=2, results_file=stored, progress=False)
    assert sorted(score.name for score in first) == sorted(names)
    assert all(score.error is None and 0 <= score.accuracy <= 1 and score.ms_per_image > 0 for score in first)
    assert tk.compare_backbones(data, names, folds=2, results_file=stored, progress=False) == first
    assert set(first.pareto) <= set(first) and first.pareto
    first.plot(tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").stat().st_size > 1000


def test_import_does_not_import_keras_hub() -> None:
    code = "import sys, transferkit as tk; tk.BackboneFactory.catalogue(); print('keras_hub' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


def test_heat_map_of_tokens_shows_where_the_class_token_looks(vit: Path) -> None:
    # A head that reads the class token; the map is that of the input of the last block.
    backbone = tk.BackboneFactory.create(vit)
    keras.utils.set_random_seed(0)
    model = tk.build_classifier(backbone, tk.ClassifierHead(2, dropout=0.0, hidden=(8,)))
    model.layers[-1].set_weights([np.ones((8, 1), "float32"), np.zeros(1, "float32")])
    predictor = tk.Predictor(model, ["cat", "dog"], backbone.image_spec, activation="sigmoid")
    image = np.random.default_rng(1).integers(0, 255, SHAPE, np.uint8)
    explanation = tk.explain(predictor, image, tk.explanation.ClassActivation("hires_cam"))
    assert explanation.heatmap.shape == (SIDE, SIDE) and explanation.heatmap.max() > 0
    named = tk.explanation.ClassActivation("hires_cam", layer="vit_encoder_transformer_block_1")
    np.testing.assert_array_equal(tk.explain(predictor, image, named).heatmap, explanation.heatmap)
