"""`tk.export`: files that run in their own runtimes and agree with Keras, and nothing where they do not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import transferkit as tk
from tests.exporting.conftest import NAMES, SIZE, make_images, make_predictor
from transferkit.exporting import verified_report
from transferkit.exporting.formats import FORMATS

PATHS = {"saved_model": "saved_model", "litert": "model.tflite", "onnx": "model.onnx", "openvino": "openvino"}


def keras_probabilities(predictor: tk.Predictor, images: np.ndarray) -> np.ndarray:
    return np.stack([one.probability_array for one in predictor.with_engines(["keras"]).predict(images)])


@pytest.mark.parametrize("input_dtype", ["float32", "uint8"])
@pytest.mark.parametrize("name", FORMATS)
def test_export_agrees_with_keras(
    name: str, input_dtype: str, predictor: tk.Predictor, images: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / PATHS[name]
    report = tk.export(predictor, path, format=name, images=images, input_dtype=input_dtype, features=True)
    assert report.max_difference < 1e-5 and report.label_agreement == 1
    assert (report.format, report.precision, report.num_images, report.synthetic_images) == (name, "float32", 30, False)
    assert report.latency_ms > 0 and report.keras_latency_ms > 0 and report.accuracy is None
    run = FORMATS[name].load(path)
    expected = keras_probabilities(predictor, images)
    for count in (1, 2, 7, 30):
        outputs = run(images[:count])
        np.testing.assert_allclose(outputs["probabilities"], expected[:count], atol=1e-5)
    np.testing.assert_allclose(outputs["features"], predictor.embed(images), rtol=1e-4, atol=1e-3)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert report.size_bytes == sum(file.stat().st_size for file in files)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name, one in FORMATS.items() for precision in one.precisions if precision != "float32"],
)
def test_export_in_lower_precision(
    name: str, precision: str, predictor: tk.Predictor, images: np.ndarray, tmp_path: Path
) -> None:
    calibration = make_images(40) if precision == "int8" else None
    path = tmp_path / PATHS[name]
    # Of 30 images of random colors, two are close to the border of two classes.
    options = {"images": images, "calibration": calibration, "min_label_agreement": 0.9}
    report = tk.export(predictor, path, format=name, precision=precision, **options)
    assert 1e-5 < report.max_difference < 0.4 and report.label_agreement >= 0.9


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("num_classes", "multi_label"), [(2, False), (4, True)])
def test_export_of_sigmoid(name: str, num_classes: int, multi_label: bool, images: np.ndarray, tmp_path: Path) -> None:
    predictor = make_predictor(num_classes, multi_label=multi_label)
    tk.export(predictor, tmp_path / PATHS[name], format=name, images=images)
    probabilities = FORMATS[name].load(tmp_path / PATHS[name])(images)["probabilities"]
    np.testing.assert_allclose(probabilities, keras_probabilities(predictor, images), atol=1e-5)


def test_export_of_probabilities(images: np.ndarray, tmp_path: Path) -> None:
    model = make_predictor().model
    model = keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))
    predictor = tk.Predictor(model, NAMES, tk.ImageSpec((SIZE, SIZE)), activation=None)
    assert tk.export(predictor, tmp_path / "model.onnx", images=images).max_difference < 1e-5


@pytest.mark.parametrize("name", FORMATS)
def test_export_of_activations_with_own_gradient(name: str, images: np.ndarray, tmp_path: Path) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(8, 3, activation="swish")(keras.layers.Rescaling(1 / 64, -2)(inputs))
    backbone = tk.BackboneFactory.create(keras.Model(inputs, keras.layers.Activation("gelu")(features)))
    model = tk.build_classifier(backbone, tk.ClassifierHead(3))
    predictor = tk.Predictor(model, NAMES, tk.ImageSpec((SIZE, SIZE)), activation="softmax")
    assert tk.export(predictor, tmp_path / PATHS[name], format=name, images=images).max_difference < 1e-5


def test_metadata_of_onnx(predictor: tk.Predictor, tmp_path: Path) -> None:
    tk.export(predictor, tmp_path / "model.onnx", license="Apache-2.0")
    model = onnx.load(tmp_path / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["labels"].splitlines() == list(NAMES) and properties["license"] == "Apache-2.0"
    values = json.loads(properties["transferkit"])
    assert values["class_names"] == list(NAMES) and values["image_spec"]["image_size"] == [SIZE, SIZE]
    assert values["calibration"]["set_threshold"] == 0.2 and set(values["versions"]) >= {"keras", "tensorflow"}
    assert [value.name for value in model.graph.input] == ["image"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_metadata_of_openvino(predictor: tk.Predictor, tmp_path: Path) -> None:
    tk.export(predictor, tmp_path / "model", format="openvino")
    assert (tmp_path / "model" / "labels.txt").read_text() == "ant\nbig bee\ncat\n"
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {"INFERENCE_PRECISION_HINT": "f32"}
    assert 'labels value="ant big_bee cat"' in (tmp_path / "model" / "model.xml").read_text()


def test_assets_of_saved_model(predictor: tk.Predictor, tmp_path: Path) -> None:
    tk.export(predictor, tmp_path / "model", format="saved_model", license="MIT")
    assert (tmp_path / "model" / "assets" / "labels.txt").read_text() == "ant\nbig bee\ncat\n"
    assert json.loads((tmp_path / "model" / "assets" / "transferkit.json").read_text())["license"] == "MIT"
    signature = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    assert list(signature.structured_input_signature[1]) == ["image"]
    assert list(signature.structured_outputs) == ["probabilities"]


@pytest.mark.parametrize("name", FORMATS)
def test_class_name_with_line_break_is_one_label(name: str, tmp_path: Path) -> None:
    original = make_predictor()
    names = ("ant\nbee", "cat", "d\u2028og")
    predictor = tk.Predictor(original.model, names, original.image_spec, activation="softmax")
    path = tmp_path / PATHS[name]
    tk.export(predictor, path, format=name)
    if name == "onnx":
        labels = {entry.key: entry.value for entry in onnx.load(path).metadata_props}["labels"]
    elif name == "litert":
        with zipfile.ZipFile(path) as archive:
            labels = archive.read("labels.txt").decode()
    else:
        labels = next(path.rglob("labels.txt")).read_text()
    assert len(labels.splitlines()) == 3 and labels.splitlines()[1] == "cat"
    if name != "saved_model":
        assert tk.load(path).class_names == names


def test_accuracy_on_labeled_images(images: np.ndarray, tmp_path: Path) -> None:
    predictor = make_predictor()
    labels = keras_probabilities(predictor, images).argmax(axis=1)
    labels[:6] = (labels[:6] + 1) % 3
    data = tk.DatasetBuilder((images, labels), test=0.5, image_size=SIZE, class_names=NAMES, progress=False).build()
    report = tk.export(predictor, tmp_path / "model.onnx", images=data)
    split = data.splits["test"]
    expected = np.mean(keras_probabilities(predictor, split.images).argmax(axis=1) == split.labels)
    assert report.accuracy == report.keras_accuracy == expected < 1
    assert "accuracy" in str(report)


class Halved(keras.layers.Layer):
    """Divides by two in Python, at another place than where the model is exported."""

    factor = 1.0

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_difference_raises_and_leaves_nothing(
    name: str, existing: bool, monkeypatch: pytest.MonkeyPatch, images: np.ndarray, tmp_path: Path
) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Halved()(inputs))
    predictor = tk.Predictor(
        keras.Model(inputs, keras.layers.Softmax()(pooled)), NAMES, tk.ImageSpec((SIZE, SIZE)), activation=None
    )
    path = tmp_path / PATHS[name]
    if existing:
        tk.export(predictor, path, format=name, images=images)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    monkeypatch.setattr(verified_report, "verify", _changed_after(verified_report.verify, monkeypatch))
    with pytest.raises(tk.ExportError, match=r"agree with Keras\. Received: probabilities off by .*, more than 0.0001"):
        tk.export(predictor, path, format=name, images=images)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert sorted(tmp_path.iterdir()) == ([path] if existing else [])


def _changed_after(verify: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return `verify` for a Keras model that computes something else than when it was converted."""

    def changed(*arguments: Any) -> Any:
        monkeypatch.setattr(Halved, "factor", 0.01)
        return verify(*arguments)

    return changed


def test_too_few_equal_labels_raise(predictor: tk.Predictor, images: np.ndarray, tmp_path: Path) -> None:
    calibration = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    # One black image says nothing about the ranges of activations.
    with pytest.raises(tk.ExportError, match="equal labels, fewer than 100.0%. Give more calibration images"):
        tk.export(
            predictor,
            tmp_path / "model.tflite",
            precision="int8",
            calibration=calibration,
            images=images,
            min_label_agreement=1.0,
        )
    assert list(tmp_path.iterdir()) == []


def test_folder_with_other_files_is_kept(predictor: tk.Predictor, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"photo")
    with pytest.raises(tk.StorageError, match="`path` must be a new or empty folder, or an earlier export"):
        tk.export(predictor, tmp_path / "photos", format="openvino")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"photo"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "folder"}, "`format` must be given for a folder"),
        ({"path": "model.onnx", "format": "litert"}, "`path` must end in .tflite for 'litert'"),
        ({"path": "model.onnx", "format": "openvino"}, "`path` must be the name of a folder for 'openvino'"),
        ({"path": "model.onnx", "format": "onx"}, "Did you mean 'onnx'"),
        ({"path": "model.onnx", "precision": "int4"}, "`precision` must be one of"),
        ({"path": "model.onnx", "precision": "int8"}, "`calibration` must be given for 'int8'"),
        ({"path": "model.onnx", "calibration": "images/"}, "`calibration` must be given for 'int8', and for nothing"),
        ({"path": "model.onnx", "precision": "dynamic_int8"}, "20 times slower"),
        ({"path": "model.onnx", "input_dtype": "int8"}, "`input_dtype` must be one of"),
        ({"path": "model.onnx", "encoded_images": True}, "`encoded_images` must be False for 'onnx'"),
        ({"path": "model.onnx", "tolerance": -1}, "`tolerance` must be a finite number of at least 0"),
        ({"path": "model.onnx", "min_label_agreement": 2}, r"`min_label_agreement` must be in \[0, 1\]"),
    ],
)
def test_arguments_that_do_not_fit_raise(
    arguments: dict[str, Any], message: str, predictor: tk.Predictor, tmp_path: Path
) -> None:
    path = tmp_path / arguments.pop("path")
    with pytest.raises(ValueError, match=message):
        tk.export(predictor, path, **arguments)


def test_classifiers_that_cannot_be_exported_raise(predictor: tk.Predictor, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"`predictor` must be a Predictor or a Trainer\. Received: Ensemble"):
        tk.export(tk.Ensemble([predictor, predictor]), tmp_path / "model.onnx")
    views = make_predictor(augmentation=tk.AugmentationBlock(flip="horizontal"), num_views=2)
    with pytest.raises(ValueError, match=r"`predictor` must predict one view of an image\. Received: num_views=2"):
        tk.export(views, tmp_path / "model.onnx")


def test_export_of_images_that_cannot_be_read_raises(predictor: tk.Predictor, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="`images` must have at least one image that can be read"):
        tk.export(predictor, tmp_path / "model.onnx", images=[b"<html></html>"])


def test_export_of_trainer(synthetic: Path, tmp_path: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=SIZE, progress=False).build()
    trainer = tk.Trainer(make_predictor(2).model)
    trainer.fit(data, epochs=1, verbose=0)
    assert tk.export(trainer, tmp_path / "model.onnx", images=data).keras_accuracy is not None
    report = tk.export(trainer, tmp_path / "model.tflite", precision="int8", calibration=data)
    # Without images for the verification, those of the calibration are used.
    assert report.num_images == 40 and not report.synthetic_images
