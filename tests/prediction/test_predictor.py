"""Predictions of paths, bytes and arrays, in their order, with an error for each unreadable file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import transferkit as tk
from transferkit import engines
from transferkit.errors import DataError, ImageError
from transferkit.images import ImageSpec, read_image
from transferkit.prediction import Prediction, Predictor, to_probabilities
from transferkit.prediction import predictor as predictor_module


def gray(*levels: int) -> list[np.ndarray]:
    return [np.full((9, 12, 3), level, np.uint8) for level in levels]


def test_predict_one_image_from_any_source(predictor: Predictor, synthetic: Path) -> None:
    path = next(synthetic.glob("train/cats/*.jpg"))
    content = path.read_bytes()
    sources = (path, str(path), content, bytearray(content), read_image(path))
    predictions = [predictor.predict(source) for source in sources]
    assert all(isinstance(one, Prediction) for one in predictions)
    for one in predictions[1:]:
        np.testing.assert_allclose(one.probability_array, predictions[0].probability_array, atol=1e-6)
    assert [one.path for one in predictions] == [str(path), str(path), None, None, None]


def test_predict_many_images_in_order(predictor: Predictor) -> None:
    levels = [10, 250, 40, 200, 127]
    predictions = predictor.predict(gray(*levels))
    assert [one.label for one in predictions] == ["dark", "bright", "dark", "bright", "dark"]
    expected = [1 / (1 + np.exp(-3 * (level / 127.5 - 1))) for level in levels]
    np.testing.assert_allclose([one.probabilities["bright"] for one in predictions], expected, atol=1e-5)


def test_predict_more_images_than_a_batch(predictor: Predictor) -> None:
    images = np.stack([np.full((48, 48, 3), level, np.uint8) for level in range(0, 255, 3)])
    scores = [one.probabilities["bright"] for one in predictor.predict(images)]
    assert len(scores) == 85
    assert scores == sorted(scores)


def test_predict_unreadable_file_has_error(predictor: Predictor, synthetic: Path, tmp_path: Path) -> None:
    bad = tmp_path / "page.jpg"
    bad.write_text("<html>no image</html>")
    good = str(next(synthetic.glob("train/dogs/*.jpg")))
    predictions = predictor.predict([good, str(bad), str(tmp_path / "nothing.jpg"), good])
    assert [one.error for one in predictions] == [None, "it is an HTML page", "there is no such file", None]
    assert predictions[1].label is None and predictions[1].probabilities == {} and predictions[1].top(3) == []
    assert predictions[0].probability_array.tobytes() == predictions[3].probability_array.tobytes()
    assert predictor.predict(str(bad)).error == "it is an HTML page"


def test_predict_error_without_reason_keeps_order(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    original = predictor_module.load_images

    def without_second(sources: list[np.ndarray], spec: ImageSpec) -> list[Any]:
        images = original(sources, spec)
        return [images[0], tk.ImageError("b.jpg", ""), *images[2:]]

    monkeypatch.setattr(predictor_module, "load_images", without_second)
    predictions = predictor.predict(gray(10, 250, 250))
    assert [one.label for one in predictions] == ["dark", None, "bright"]


def test_predict_nothing_is_empty(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert list(predictor.iter_predict(np.empty((0, 9, 9, 3), np.uint8))) == []


def test_predict_other_type_raises(predictor: Predictor) -> None:
    with pytest.raises(
        TypeError, match="must be a path, bytes, a file object, an array or a Pillow image. Received: int"
    ):
        predictor.predict([3])


def test_iter_predict_equals_predict(predictor: Predictor) -> None:
    images = gray(*range(0, 250, 5))
    streamed = predictor.iter_predict(images)
    assert next(streamed).label == "dark"
    expected = [one.probability_array for one in predictor.predict(images)[1:]]
    np.testing.assert_array_equal([one.probability_array for one in streamed], expected)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images for which each engine is compiled."""
    counted: list[int] = []
    compiled = engines.compile_engine

    def counting(*args: Any, count: int, **options: Any) -> Any:
        counted.append(count)
        return compiled(*args, count=count, **options)

    monkeypatch.setattr(engines, "compile_engine", counting)
    return counted


def test_predictor_recompiles_after_many_more_images(predictor: Predictor, counts: list[int]) -> None:
    for _ in range(3):
        predictor.predict(gray(1, 2, 3))
    # After more than ten times as many images another engine may be faster.
    predictor.predict(gray(*range(30)))
    predictor.predict(gray(2)[0])
    assert counts == [3, 39, 1]


def test_predictor_expects_many_images_in_a_loop(predictor: Predictor, counts: list[int]) -> None:
    levels = range(10, 250, 10)
    alone = [predictor.predict(gray(level)[0]).probability_array for level in levels]
    # Loops over files and services get the engine of large batches after a few calls.
    assert counts == [1, 1000]
    np.testing.assert_allclose(alone, [one.probability_array for one in predictor.predict(gray(*levels))], atol=1e-5)


def test_predict_folder_and_pattern(predictor: Predictor, synthetic: Path) -> None:
    folder = synthetic / "validation"
    predictions = predictor.predict(folder)
    assert [one.path for one in predictions] == sorted(str(path) for path in folder.rglob("*.jpg"))
    cats = predictor.predict(str(folder / "cats" / "*.jpg"))
    assert [one.path for one in cats] == [one.path for one in predictions if f"{os.sep}cats{os.sep}" in one.path]
    np.testing.assert_array_equal(cats[0].probability_array, predictions[0].probability_array)


def test_predict_folder_with_undecodable_file(predictor: Predictor, tmp_path: Path) -> None:
    keras.utils.save_img(tmp_path / "b.png", gray(10)[0])
    (tmp_path / "a.psd").write_bytes(b"8BPS")
    first, second = predictor.predict(tmp_path)
    assert (first.path, first.label) == (str(tmp_path / "a.psd"), None) and "export it as PNG" in first.error
    assert (second.path, second.label) == (str(tmp_path / "b.png"), "dark")


def test_predict_missing_path_raises(predictor: Predictor, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", str(tmp_path / "*.jpg")):
        with pytest.raises(ImageError, match="there is no such file|no file matches the pattern"):
            predictor.predict(path)
    with pytest.raises(DataError, match="must be a folder with images"):
        predictor.predict(tmp_path)


def test_predict_pixels_out_of_range_raises(predictor: Predictor) -> None:
    for images in (gray(99)[0] / 255, np.stack(gray(99, 50)) / 255):
        with pytest.raises(ImageError, match="Multiply images in .0, 1. by 255"):
            predictor.predict(images)
    with pytest.raises(ImageError, match="Repeat the values of gray images"):
        predictor.predict(gray(99)[0][..., 0])
    good, bad = predictor.predict([gray(99)[0], gray(99)[0] / 255])
    assert good.label == "dark" and "by 255" in bad.error


def test_predict_pillow_images_and_tensors(predictor: Predictor) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    expected = predictor.predict(image).probability_array
    for source in (Image.fromarray(image), tf.constant(image)):
        np.testing.assert_array_equal(predictor.predict(source).probability_array, expected)
        np.testing.assert_allclose(predictor.predict([source])[0].probability_array, expected, atol=1e-6)


def test_predict_splits_in_the_order_of_files(predictor: Predictor, synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=48, batch_size=8, progress=False).build()
    expected = predictor.predict(data.files["train"])
    for images in (data.train, data.splits["train"]):
        predictions = predictor.predict(images)
        assert [one.path for one in predictions] == data.files["train"]
        np.testing.assert_array_equal(predictions[-1].probability_array, expected[-1].probability_array)
    batches = predictor.predict(data.validation.map(lambda images, labels: images))
    expected = predictor.predict(data.validation)
    np.testing.assert_array_equal(
        [one.probability_array for one in batches], [one.probability_array for one in expected]
    )


@pytest.mark.parametrize("batch_size", [1, 8, 20])
def test_iter_predict_reads_one_batch_ahead(predictor: Predictor, batch_size: int) -> None:
    read = 0

    def camera() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield gray(read % 250)[0]

    predictor.batch_size = batch_size
    predictions = predictor.iter_predict(camera())
    assert read == 0
    for count in range(1, 5 * batch_size):
        assert next(predictions).label == "dark"
        batches = -(-count // batch_size)
        assert read <= (batches + 1) * max(batch_size, 16 * -(-batch_size // 16)) and read >= count
    predictions.close()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", None])
def test_predict_of_diverged_model_raises(predictor: Predictor, activation: str | None) -> None:
    weights = [np.full((3, 1), np.nan), np.zeros(1)]
    predictor.model.layers[-1].set_weights(weights)
    diverged = predictor
    if activation != "sigmoid":
        diverged = Predictor(predictor.model, ["one"], ImageSpec((48, 48)), activation=activation)
    with pytest.raises(ValueError, match="must not be NaN. Received: NaN. Train it with a lower learning rate"):
        diverged.predict(gray(1)[0])


def test_prediction_probability_is_that_of_label(predictor: Predictor) -> None:
    prediction = predictor.predict(np.zeros((4, 4, 3), np.uint8))
    assert prediction.label == "dark"
    assert prediction.probability == pytest.approx(max(prediction.probabilities.values()))
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.top(1) == [("dark", prediction.probability)]


def test_prediction_top_is_sorted() -> None:
    prediction = Prediction("a.jpg", None, ("x", "y", "z"), np.array([0.2, 0.5, 0.3], np.float32))
    assert [name for name, _ in prediction.top(2)] == ["y", "z"]
    assert [name for name, _ in prediction.top()] == ["y", "z", "x"]
    with pytest.raises(ValueError, match="`count` must be an integer of at least 1. Received: 0"):
        prediction.top(0)


def test_prediction_to_dict_is_json() -> None:
    prediction = Prediction("a.jpg", None, ("x", "y"), np.array([0.25, 0.75], np.float32))
    record = json.loads(json.dumps(prediction.to_dict()))
    assert record["path"] == "a.jpg" and record["label"] == "y" and record["error"] is None
    assert record["probability"] == 0.75 and record["probabilities"] == {"x": 0.25, "y": 0.75}
    assert repr(prediction) == "Prediction(label='y', probability=0.7500, path='a.jpg')"
    assert "error='it is empty'" in repr(Prediction("b.jpg", "it is empty", ("x", "y"), None))


def test_to_probabilities_softmax_by_hand() -> None:
    probabilities = to_probabilities(np.log([[1.0, 2.0, 5.0]]), "softmax", 3)
    np.testing.assert_allclose(probabilities, [[0.125, 0.25, 0.625]], atol=1e-7)


def test_to_probabilities_of_large_logits() -> None:
    np.testing.assert_array_equal(to_probabilities([[1000.0], [-1000.0]], "sigmoid", 2), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(to_probabilities([[1000.0, 0.0, -1000.0]], "softmax", 3), [[1, 0, 0]])


def test_to_probabilities_of_independent_labels_and_probabilities() -> None:
    np.testing.assert_allclose(to_probabilities([[0.0, np.log(3)]], "sigmoid", 2), [[0.5, 0.75]])
    np.testing.assert_allclose(to_probabilities([[0.2, 0.8]], None, 2), [[0.2, 0.8]], atol=1e-7)


def test_predictor_wrong_number_of_names_raises(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="Received: 3 names for 1 outputs"):
        Predictor(predictor.model, ["a", "b", "c"], ImageSpec((48, 48)), activation="sigmoid")


def test_predictor_unknown_activation_raises(predictor: Predictor) -> None:
    with pytest.raises(
        ValueError, match="`activation` must be one of 'sigmoid', 'softmax', 'linear', None. Received: 'tanh'"
    ):
        tk.Predictor(predictor.model, ["a", "b"], ImageSpec((16, 16)), activation="tanh")


def test_predictor_unknown_engine_raises(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="`engine` must be one of 'auto', .*'openvino'. Received: 'warp-drive'"):
        tk.Predictor(predictor.model, ["a", "b"], ImageSpec((16, 16)), activation="sigmoid", engine="warp-drive")


def test_predictor_engines_are_those_of_the_package() -> None:
    # Listed twice, so that creating a Predictor does not import the engines.
    assert predictor_module.ENGINES == engines.ENGINES


def test_predict_image_error_without_reason_keeps_order(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferkit.prediction import predictor as prediction

    load = prediction.load_images

    def load_or_fail(sources: list[Any], spec: ImageSpec) -> list[Any]:
        return [
            ImageError("damaged", "") if isinstance(source, bytes) else load([source], spec)[0] for source in sources
        ]

    monkeypatch.setattr(prediction, "load_images", load_or_fail)
    dark, damaged, bright = predictor.predict([*gray(10), b"damaged", *gray(250)])
    assert (dark.label, bright.label) == ("dark", "bright")
    assert damaged.error is not None and damaged.probability_array is None
