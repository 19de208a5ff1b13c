"""Zero-shot classification with models of images and text of KerasHub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.saving import save_classifier

pytest.importorskip("keras_hub", reason="needs the extra `hub`")
pytest.importorskip("sentencepiece", reason="needs the tokenizers of KerasHub")

from tests.backbones.tiny_hub_presets import SHAPE, save_preset
from tests.backbones.tiny_image_text import FAMILIES, expected_logits, image_text_model

NAMES = ["cat", "dog", "zebra"]
PROMPTS = [f"a photo of a {name}." for name in NAMES]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return image_text_model(request.param)


@pytest.fixture(scope="module")
def clip() -> tuple[Any, Any]:
    return image_text_model("CLIP")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype("float32")


def test_logits_are_those_of_keras_hub(model: Any, images: np.ndarray) -> None:
    predictor = tk.zero_shot(NAMES, model[0], preprocessor=model[1])
    expected = expected_logits(*model, images, PROMPTS)
    assert np.ptp(expected, axis=1).min() > 1e-3  # the prompts differ
    np.testing.assert_allclose(predictor.model(images), expected, atol=1e-5)


def test_one_logit_of_two_classes_is_the_difference(model: Any, images: np.ndarray) -> None:
    predictor = tk.zero_shot(NAMES[:2], model[0], preprocessor=model[1])
    expected = expected_logits(*model, images, PROMPTS[:2])
    np.testing.assert_allclose(predictor.model(images), expected[:, 1:] - expected[:, :1], atol=1e-5)
    probabilities = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    predicted = np.stack([row.probability_array for row in predictor.predict(images)])
    np.testing.assert_allclose(predicted, probabilities, atol=1e-5)


def test_embeddings_of_templates_are_averaged(clip: Any, images: np.ndarray) -> None:
    backbone, preprocessor = clip
    templates = ["a photo of a {}.", "{}"]
    predictor = tk.zero_shot(NAMES, backbone, preprocessor=preprocessor, templates=templates)
    # The logits of one template are products with embeddings of length 1, so that the mean is one of these logits,
    # divided by the length of the mean embedding.
    rows = []
    for name in NAMES:
        tokens = preprocessor({"prompts": [text.replace("{}", name) for text in templates], "images": images[:2]})
        embeddings = np.asarray(backbone.get_text_embeddings(tokens["token_ids"]))
        mean = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    vectors = np.asarray(backbone.get_vision_embeddings(preprocessor.image_converter(images)))
    cosines = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ np.stack(rows).T
    np.testing.assert_allclose(predictor.model(images), cosines / 0.07, atol=1e-4)


def test_classifier_of_a_preset_folder(model: Any, images: np.ndarray, tmp_path: Path) -> None:
    backbone, preprocessor = model
    backbone.save_to_preset(str(tmp_path))
    preprocessor.save_to_preset(str(tmp_path))
    predictor = tk.zero_shot(NAMES, tmp_path)
    np.testing.assert_allclose(predictor.model(images), expected_logits(*model, images, PROMPTS), atol=1e-5)
    assert predictor.image_spec.image_size == SHAPE[:2]
    assert predictor.image_spec.interpolation == "bicubic"


def test_saved_classifier_has_no_text_part(model: Any, images: np.ndarray, tmp_path: Path) -> None:
    predictor = tk.zero_shot(NAMES, model[0], preprocessor=model[1])
    loaded = tk.load(save_classifier(tmp_path / "zero_shot", predictor))
    np.testing.assert_allclose(loaded.model(images), predictor.model(images), atol=1e-6)
    assert loaded.class_names == tuple(NAMES)
    assert not [weight.path for weight in loaded.model.weights if "text" in weight.path or "token" in weight.path]


@pytest.mark.parametrize("family", ["CLIP", "SigLIP"])
def test_exports_to_onnx(family: str, images: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    backbone, preprocessor = image_text_model(family)
    predictor = tk.zero_shot(NAMES, backbone, preprocessor=preprocessor)
    report = tk.export(predictor, tmp_path / "zero_shot.onnx", images=images)
    assert report.max_difference < 1e-4


def test_embeddings_and_explanations(model: Any, images: np.ndarray) -> None:
    backbone, preprocessor = model
    predictor = tk.zero_shot(NAMES, backbone, preprocessor=preprocessor)
    vectors = np.asarray(backbone.get_vision_embeddings(preprocessor.image_converter(images)))
    embedded = predictor.embed(images)
    cosines = (embedded * vectors).sum(axis=1) / np.linalg.norm(embedded, axis=1) / np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    explanation = tk.explain(predictor, images[:1].astype("uint8"))[0]
    assert np.isfinite(explanation.heatmap).all()


@pytest.mark.parametrize("family", ["CLIP", "SigLIP"])
def test_training_starts_from_the_text_embeddings(family: str, synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=SHAPE[:2], batch_size=16).build()
    backbone, preprocessor = image_text_model(family)
    predictor = tk.zero_shot(data.class_names, backbone, preprocessor=preprocessor)
    before = predictor.evaluate(data.train)
    trainer = tk.Trainer(predictor.model, learning_rate=1e-2)
    history = trainer.fit(data, epochs=10, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert trainer.evaluate(data.train).loss < before.loss
    tuned = trainer.fine_tune(data, epochs=1, fraction=0.5, verbose=0)
    assert np.isfinite(tuned.history["loss"]).all()


def test_the_first_step_of_training_keeps_the_logits(model: Any, images: np.ndarray, synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=SHAPE[:2], batch_size=16).build()
    predictor = tk.zero_shot(data.class_names, model[0], preprocessor=model[1])
    before = np.asarray(predictor.model(images))
    tk.Trainer(predictor.model, learning_rate=1e-7).fit(data, epochs=1, verbose=0)
    np.testing.assert_allclose(predictor.model(images), before, atol=1e-4)


def test_arguments_are_checked(clip: Any) -> None:
    backbone, preprocessor = clip
    with pytest.raises(ValueError, match="`class_names` must be different. Received: 'cat' more than once"):
        tk.zero_shot(["cat", "dog", "cat"], backbone, preprocessor=preprocessor)
    with pytest.raises(ValueError, match="at least 2 names"):
        tk.zero_shot(["cat"], backbone, preprocessor=preprocessor)
    with pytest.raises(TypeError, match="`class_names` must be a sequence of str. Received: 'cat'"):
        tk.zero_shot("cat", backbone, preprocessor=preprocessor)
    with pytest.raises(ValueError, match="`templates` must contain '{}'.*Received: 'a photo'"):
        tk.zero_shot(NAMES, backbone, preprocessor=preprocessor, templates="a photo")
    with pytest.raises(ValueError, match="at least one template"):
        tk.zero_shot(NAMES, backbone, preprocessor=preprocessor, templates=())
    with pytest.raises(ValueError, match="`preprocessor` must be given for a backbone object"):
        tk.zero_shot(NAMES, backbone)
    with pytest.raises(ValueError, match="`backbone` must be a preset of images and text"):
        tk.zero_shot(NAMES, "MobileNetV2")
    with pytest.raises(ValueError, match="`preprocessor` is for a backbone object"):
        tk.zero_shot(NAMES, "hub:clip_vit_base_patch16", preprocessor=preprocessor)


def test_model_without_a_text_part_is_refused(clip: Any, tmp_path: Path) -> None:
    vision = save_preset("ViT", tmp_path)
    for backbone in (vision, clip[0].vision_encoder):
        with pytest.raises(ValueError, match="`backbone` must have a text part"):
            tk.zero_shot(NAMES, backbone, preprocessor=clip[1])
    with pytest.raises(ValueError, match="`backbone` must have a text part"):
        tk.zero_shot(NAMES, tmp_path)


def test_preset_without_a_tokenizer(clip: Any, tmp_path: Path) -> None:
    clip[0].save_to_preset(str(tmp_path))
    with pytest.raises(tk.WeightsError, match="The tokenizer of the preset .* could not be loaded"):
        tk.zero_shot(NAMES, tmp_path)


@pytest.mark.parametrize("package", ["tensorflow-text", "sentencepiece"])
def test_missing_package_of_the_tokenizer_is_named(package: str, clip: Any) -> None:
    class Preprocessor:
        image_converter = clip[1].image_converter

        def __call__(self, inputs: Any) -> Any:
            raise ImportError(f"The tokenizer requires `{package}`.")

    with pytest.raises(tk.MissingExtraError, match=f"requires the package '{package}'"):
        tk.zero_shot(NAMES, clip[0], preprocessor=Preprocessor())


def test_preprocessor_without_an_image_converter_is_refused(clip: Any) -> None:
    preprocessor = type(clip[1])(clip[1].tokenizer)
    with pytest.raises(ValueError, match="`preprocessor` must have an image converter. Received: CLIPPreprocessor"):
        tk.zero_shot(NAMES, clip[0], preprocessor=preprocessor)
