"""Every public class: a short repr, a config that round-trips, errors that name the argument, equal rebuilds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.calibration import Calibration

SIZE = 32


@pytest.fixture(scope="module")
def data(synthetic: Path) -> tk.Data:
    return tk.DatasetBuilder(synthetic, test=0.5, image_size=SIZE, batch_size=16).build()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return make_classifier()


def make_classifier() -> keras.Model:
    keras.utils.set_random_seed(1)
    images = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(4, 3, strides=4, name="conv")(images)
    backbone = tk.BackboneFactory.create(keras.Model(images, features, name="tiny"), preprocessing="tf")
    return tk.build_classifier(backbone, tk.ClassifierHead(2), augmentation=tk.AugmentationBlock(rotation=0.1))


def searched(data: tk.Data) -> Any:
    backbone = tk.BackboneFactory.create("MobileNetV2", weights=None, alpha=0.35, input_shape=(SIZE, SIZE, 3))
    return tk.autofit(data, backbones=backbone, time_limit=None, max_trials=1)


def many_classes() -> list[str]:
    return [f"a class with a long name, number {number}" for number in range(1000)]


def make_report(count: int) -> tk.Report:
    labels = np.arange(count)
    return tk.Report(labels, np.eye(count), class_names=many_classes()[:count])


def full_block() -> Any:
    degradations = {"erasing": 0.5, "blur": 2.0, "jpeg_quality": 30}
    return tk.AugmentationBlock(
        random_resized_crop=(0.3, 1.0), **degradations, policy="rand_augment", mixup=0.2, cutmix=1.0
    )


INSTANCES: dict[str, Callable[[Any, Any], Any]] = {
    "AutoFit": lambda data, model: searched(data),
    "AugmentationBlock": lambda data, model: tk.AugmentationBlock(rotation=0.1, zoom=0.2),
    "Backbone": lambda data, model: tk.BackboneFactory.create("MobileNetV2", weights=None, alpha=0.35),
    "BackboneSpec": lambda data, model: tk.BackboneFactory.spec("MobileNetV2"),
    "Calibration": lambda data, model: Calibration(training_features=np.zeros((5000, 1280), np.float16)),
    "ClassifierHead": lambda data, model: tk.ClassifierHead(3, hidden=(8,)),
    "Data": lambda data, model: data,
    "DataReport": lambda data, model: data.report,
    "DatasetBuilder": lambda data, model: tk.DatasetBuilder(many_classes(), image_size=SIZE),
    "Ensemble": lambda data, model: tk.Ensemble([predictor()] * 3),
    "ExportReport": lambda data, model: tk.ExportReport("a", "onnx", "float32", 1, 1, False, 0.0, 1.0, 1.0, 1.0),
    "Explanation": lambda data, model: make_explanations(model, 1)[0],
    "Explanations": lambda data, model: make_explanations(model, 30),
    "Faithfulness": lambda data, model: tk.explanation.faithfulness(predictor(), make_explanations(model, 1)),
    "Inspection": lambda data, model: tk.inspect(data, backbone()),
    "ImageSpec": lambda data, model: tk.ImageSpec((SIZE, SIZE)),
    "NumberPrediction": lambda data, model: tk.NumberPrediction("a.jpg", None, 1.0, Calibration(half_width=1.0)),
    "NumberPredictions": lambda data, model: tk.Predictions([tk.NumberPrediction("a.jpg", None, 1.0)] * 300),
    "Plan": lambda data, model: tk.Trainer(model).plan(data),
    "Prediction": lambda data, model: tk.Prediction("a.jpg", None, tuple(many_classes()), np.eye(1000)[0]),
    "Predictions": lambda data, model: predictor().predict(np.zeros((300, SIZE, SIZE, 3), np.uint8)),
    "Predictor": lambda data, model: tk.Predictor(model, ("cat", "dog"), data.image_spec, activation="sigmoid"),
    "RegressionHead": lambda data, model: tk.RegressionHead(hidden=(8,)),
    "RegressionReport": lambda data, model: tk.RegressionReport(range(1000), range(1000)),
    "Report": lambda data, model: make_report(3),
    "Report of 1000 classes": lambda data, model: make_report(1000),
    "Report slices": lambda data, model: make_report(100).slices([f"value {number}" for number in range(100)]),
    "Report curve": lambda data, model: make_report(3).roc_curve("a class with a long name, number 0"),
    "Report reliability": lambda data, model: make_report(3).reliability(),
    "Report comparison": lambda data, model: make_report(3).compare(make_report(3)),
    "RunHistory": lambda data, model: tk.Trainer(model).history,
    "Split": lambda data, model: data.splits["train"],
    "Trainer": lambda data, model: tk.Trainer(model),
    "cache information": lambda data, model: tk.cache.info(),
    "compare_reports": lambda data, model: tk.compare_reports([make_report(2)] * 30, samples=2),
    "catalogue": lambda data, model: tk.BackboneFactory.catalogue(),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_repr_is_short_and_names_the_object(name: str, data: tk.Data, model: keras.Model) -> None:
    instance = INSTANCES[name](data, model)
    text = repr(instance)
    assert 0 < len(text) <= 2000
    assert " object at 0x" not in text


def build_block() -> Any:
    return tk.AugmentationBlock(flip="horizontal_and_vertical", rotation=0.1, contrast=0.2, fill_mode="nearest", seed=3)


ROUND_TRIPS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "AugmentationBlock": (build_block, lambda block: block.get_config(), tk.AugmentationBlock.from_config),
    "AugmentationBlock with all options": (
        full_block,
        lambda block: block.get_config(),
        tk.AugmentationBlock.from_config,
    ),
    "ImageSpec": (
        lambda: tk.ImageSpec((48, 64), resize="crop", interpolation="bicubic", antialias=True, crop_fraction=0.875),
        lambda spec: spec.to_dict(),
        tk.ImageSpec.from_dict,
    ),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_config_round_trips_through_json(name: str) -> None:
    make, to_config, from_config = ROUND_TRIPS[name]
    config = to_config(make())
    again = from_config(json.loads(json.dumps(config)))
    assert json.dumps(to_config(again)) == json.dumps(config)


def head(**options: Any) -> Any:
    return tk.ClassifierHead(**{"num_classes": 2} | options)


def builder(**options: Any) -> Any:
    return tk.DatasetBuilder(**{"source": "images"} | options)


def image_spec(**options: Any) -> Any:
    return tk.ImageSpec(**{"image_size": (SIZE, SIZE)} | options)


def trainer(**options: Any) -> Any:
    return tk.Trainer(**{"model": make_classifier()} | options)


def predictor(**options: Any) -> Any:
    defaults = {"model": make_classifier(), "class_names": ("cat", "dog"), "image_spec": image_spec()}
    return tk.Predictor(**defaults | {"activation": "sigmoid"} | options)


def report(**options: Any) -> Any:
    defaults = {"labels": [0, 1], "probabilities": np.eye(2), "class_names": ("cat", "dog")}
    return tk.Report(**defaults | options)


def interval(**options: Any) -> Any:
    return make_report(3).confidence_interval(**options)


def compared(**options: Any) -> Any:
    return tk.compare_reports(**{"reports": [make_report(3)] * 2} | options)


def make_explanations(model: keras.Model, count: int) -> Any:
    return tk.explain(predictor(model=model), np.full((count, SIZE, SIZE, 3), 100, np.uint8))


def explained(**options: Any) -> Any:
    return tk.explain(**{"predictor": predictor(), "images": np.full((SIZE, SIZE, 3), 100, np.uint8)} | options)


def backbone(**options: Any) -> Any:
    defaults = {"name": "MobileNetV2", "input_shape": (SIZE, SIZE, 3), "weights": None, "alpha": 0.35}
    return tk.BackboneFactory.create(**defaults | options)


BAD_ARGUMENTS: list[tuple[Callable[..., Any], str, Any]] = [
    (tk.AugmentationBlock, "flip", "sideways"),
    (tk.AugmentationBlock, "rotation", -0.1),
    (tk.AugmentationBlock, "zoom", 2),
    (tk.AugmentationBlock, "translation", -1),
    (tk.AugmentationBlock, "brightness", "much"),
    (tk.AugmentationBlock, "contrast", -1),
    (tk.AugmentationBlock, "saturation", float("nan")),
    (tk.AugmentationBlock, "hue", 1.5),
    (tk.AugmentationBlock, "fill_mode", "zero"),
    (tk.AugmentationBlock, "random_resized_crop", (0.5, 1.5)),
    (tk.AugmentationBlock, "erasing", 1.5),
    (tk.AugmentationBlock, "blur", -1),
    (tk.AugmentationBlock, "jpeg_quality", 0),
    (tk.AugmentationBlock, "policy", "auto"),
    (tk.AugmentationBlock, "mixup", -1),
    (tk.AugmentationBlock, "cutmix", "half"),
    (tk.AugmentationBlock, "seed", -1),
    (head, "num_classes", 0),
    (head, "kind", "prototypes"),
    (head, "scale", 0),
    (head, "neighbors", 0),
    (head, "max_images", 4),
    (head, "pooling", "median"),
    (head, "dropout", 1.5),
    (head, "hidden", (0,)),
    (head, "l2", -1),
    (head, "seed", -1),
    (builder, "validation", 1.5),
    (builder, "test", -0.5),
    (builder, "image_size", 0),
    (builder, "batch_size", 0),
    (builder, "seed", -1),
    (builder, "resize", "tile"),
    (builder, "class_names", ("cat", "cat")),
    (builder, "weight_column", ""),
    (builder, "subset", -1),
    (builder, "balance", "mixed"),
    (builder, "on_error", "ignore"),
    (builder, "max_skipped_fraction", 2),
    (image_spec, "image_size", (0, 1)),
    (image_spec, "resize", "tile"),
    (image_spec, "interpolation", "cubist"),
    (image_spec, "crop_fraction", 0),
    (trainer, "model", "MobileNetV2"),
    (trainer, "learning_rate", 0),
    (trainer, "optimizer", "adamm"),
    (trainer, "weight_decay", -1),
    (trainer, "loss", "focus"),
    (trainer, "metrics", ["accurracy"]),
    (trainer, "label_smoothing", 1.0),
    (trainer, "clip_norm", 0),
    (trainer, "accumulate_steps", 0),
    (trainer, "ema", 1.5),
    (trainer, "strategy", "mirrored"),
    (trainer, "seed", -1),
    (trainer, "callbacks", ["early stopping"]),
    (trainer, "engine", "fastest"),
    (trainer, "precision", "float8"),
    (trainer, "max_feature_bytes", -1),
    (trainer, "feature_dtype", "int8"),
    (predictor, "class_names", ("cat", "dog", "fox")),
    (predictor, "activation", "relu"),
    (predictor, "batch_size", 0),
    (predictor, "engine", "fastest"),
    (report, "labels", [0, 5]),
    (report, "probabilities", np.ones((3, 3))),
    (report, "class_names", ("cat",)),
    (report, "paths", ("a.jpg",)),
    (interval, "metric", "acuracy"),
    (interval, "level", 95),
    (interval, "samples", 0),
    (interval, "seed", -1),
    (compared, "reports", []),
    (compared, "metric", "auc"),
    (compared, "level", 0),
    (explained, "method", "gradcam"),
    (explained, "class_name", "fox"),
    (explained, "data", "train"),
    (explained, "neighbors", 0),
    (explained, "batch_size", 0),
    (tk.explanation.ClassActivation, "name", "cam"),
    (tk.explanation.IntegratedGradients, "steps", 0),
    (tk.explanation.IntegratedGradients, "baseline", "white"),
    (tk.explanation.Occlusion, "patch_size", 0),
    (tk.explanation.Occlusion, "stride", -1),
    (backbone, "name", "MobileNetV9"),
    (backbone, "input_shape", (SIZE,)),
    (backbone, "weights", "no such file.h5"),
    (backbone, "preprocessing", "pytorch"),
    (backbone, "sha256", "abc"),
]


@pytest.mark.parametrize(
    ("make", "argument", "value"), BAD_ARGUMENTS, ids=[f"{make.__name__}-{name}" for make, name, _ in BAD_ARGUMENTS]
)
def test_bad_value_of_argument_raises(make: Callable[..., Any], argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError, tk.DataError, tk.WeightsError)) as error:
        make(**{argument: value})
    message = str(error.value)
    assert argument in message or (argument == "name" and str(value) in message), message
    assert "Received" in message or "did you mean" in message.lower(), message


def test_building_data_twice_gives_equal_data(synthetic: Path) -> None:
    first, second = (tk.DatasetBuilder(synthetic, test=0.5, image_size=SIZE, batch_size=8).build() for _ in range(2))
    assert first.class_names == second.class_names
    assert repr(first.report) == repr(second.report)
    for one, two in zip(first.train, second.train, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_one_builder_builds_equal_data_twice(synthetic: Path) -> None:
    data_builder = tk.DatasetBuilder(synthetic / "train", validation=0.25, image_size=SIZE)
    first, second = data_builder.build(), data_builder.build()
    assert repr(first) == repr(second)
    for one, two in zip(first.validation, second.validation, strict=True):
        np.testing.assert_array_equal(one[0], two[0])


def test_building_classifier_twice_gives_equal_outputs() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype("float32")
    first, second = make_classifier(), make_classifier()
    np.testing.assert_array_equal(first.predict(images, verbose=0), second.predict(images, verbose=0))


def test_one_head_gives_equal_layers_twice() -> None:
    classifier_head = tk.ClassifierHead(3, hidden=(4,), seed=2)
    features = np.random.default_rng(0).normal(size=(2, 3, 3, 5)).astype("float32")

    def outputs() -> np.ndarray:
        x = features
        for layer in classifier_head.layers():
            x = layer(x)
        return np.asarray(x)

    np.testing.assert_array_equal(outputs(), outputs())


def test_one_augmentation_block_gives_equal_views_for_equal_seeds() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype("float32")
    seeds = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(*(np.asarray(build_block().augment(images, seeds)) for _ in range(2)))
