"""Predictions: paths, bytes and pixels alike, in order, and one bad file stops nobody."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.images import ImageSpec, read_image
from transferkit.prediction import Prediction, Predictor, to_probabilities


@pytest.fixture
def predictor() -> Predictor:
    """Says "bright" by how bright an image is."""
    images = keras.Input((48, 48, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1)(images))
    dense = keras.layers.Dense(1)
    model = keras.Model(images, dense(x))
    dense.set_weights([np.ones((3, 1)), np.zeros(1)])
    return Predictor(model, ["dark", "bright"], ImageSpec((48, 48)), activation="sigmoid")


def test_one_image_gives_one_prediction_whatever_it_comes_as(predictor: Predictor, drawn: Path) -> None:
    path = next(drawn.glob("train/cats/*.jpg"))
    said = [predictor.predict(source) for source in (path, str(path), path.read_bytes(), read_image(path))]
    assert all(isinstance(one, Prediction) for one in said)
    for one in said[1:]:
        np.testing.assert_allclose(one.scores, said[0].scores, atol=1e-6)
    assert [one.path for one in said] == [str(path), str(path), None, None]


def test_many_come_in_the_order_given(predictor: Predictor) -> None:
    levels = [10, 250, 40, 200, 127]
    images = [np.full((9, 12, 3), level, np.uint8) for level in levels]
    said = predictor.predict(images)
    assert [one.label for one in said] == ["dark", "bright", "dark", "bright", "dark"]
    expected = [1 / (1 + np.exp(-3 * (level / 127.5 - 1))) for level in levels]
    np.testing.assert_allclose([one.probabilities["bright"] for one in said], expected, atol=1e-5)


def test_more_images_than_a_batch(predictor: Predictor) -> None:
    images = np.stack([np.full((48, 48, 3), level, np.uint8) for level in range(0, 255, 3)])
    scores = [one.probabilities["bright"] for one in predictor.predict(images)]
    assert len(scores) == 85
    assert scores == sorted(scores)


def test_a_bad_file_gets_an_error_and_the_others_their_labels(
    predictor: Predictor, drawn: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "page.jpg"
    bad.write_text("<html>no photograph</html>")
    good = str(next(drawn.glob("train/dogs/*.jpg")))
    said = predictor.predict([good, str(bad), str(tmp_path / "nothing.jpg"), good])
    assert [one.error for one in said] == [None, "it is an HTML page", "there is no such file", None]
    assert said[1].label is None and said[1].probabilities == {} and said[1].top(3) == []
    assert said[0].scores.tobytes() == said[3].scores.tobytes()
    assert predictor.predict(str(bad)).error == "it is an HTML page"


def test_nothing_gives_nothing(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_something_that_is_no_image_at_all(predictor: Predictor) -> None:
    with pytest.raises(TypeError, match="must be a path, bytes or an array. Received: int"):
        predictor.predict([3])


def test_the_probability_is_that_of_the_label(predictor: Predictor) -> None:
    said = predictor.predict(np.zeros((4, 4, 3), np.uint8))
    assert said.label == "dark"
    assert said.probability == pytest.approx(max(said.probabilities.values()))
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert said.top(1) == [("dark", said.probability)]


def test_softmax_by_hand() -> None:
    said = to_probabilities(np.log([[1.0, 2.0, 5.0]]), "softmax", 3)
    np.testing.assert_allclose(said, [[0.125, 0.25, 0.625]], atol=1e-7)


def test_large_logits_do_not_overflow() -> None:
    np.testing.assert_array_equal(to_probabilities([[1000.0], [-1000.0]], "sigmoid", 2), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(to_probabilities([[1000.0, 0.0, -1000.0]], "softmax", 3), [[1, 0, 0]])


def test_names_must_fit_the_outputs(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="Received: 3 names for 1 outputs"):
        Predictor(predictor.model, ["a", "b", "c"], ImageSpec((48, 48)), activation="sigmoid")


def test_an_unknown_activation(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="`activation` must be one of 'sigmoid', 'softmax', None. Received: 'tanh'"):
        tk.Predictor(predictor.model, ["a", "b"], ImageSpec((16, 16)), activation="tanh")
