"""Heat maps of predicted numbers."""

from __future__ import annotations

import numpy as np
import pytest

import transferkit as tk
from tests.prediction.test_numbers import SIZE, make_data, make_trainer
from transferkit.errors import DataError


@pytest.fixture(scope="module")
def data() -> tk.Data:
    return make_data(300)


@pytest.fixture(scope="module")
def trainer(data: tk.Data) -> tk.Trainer:
    trainer = make_trainer()
    trainer.fit(data, epochs=15, verbose=0)
    return trainer


def bright_corner() -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    image[: SIZE // 4, : SIZE // 4] = 250
    return image


def test_map_marks_what_raises_the_number(trainer: tk.Trainer) -> None:
    explanation = tk.explain(trainer, bright_corner(), "occlusion")
    row, column = explanation.peak
    assert row < SIZE / 4 and column < SIZE / 4
    # Where the image is darker than its mean, a patch of the mean raises the brightness.
    assert explanation.values[-1, -1] < 0 < explanation.values[4, 4]


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "integrated_gradients", "occlusion"])
def test_each_method_explains_the_value(method: str, trainer: tk.Trainer) -> None:
    image = bright_corner()
    explanation = trainer.predictor().explain(image, method=method)
    assert explanation.value == pytest.approx(trainer.predict(image).value, rel=1e-4)
    assert explanation.class_name is None and explanation.probability is None
    assert explanation.heatmap.shape == (SIZE, SIZE) and explanation.title == f"{explanation.value:.4g}"
    assert repr(explanation).startswith(f"Explanation(value={explanation.value:.5g}, method=")


def test_integrated_gradients_add_up_to_the_number(trainer: tk.Trainer) -> None:
    method = tk.explanation.IntegratedGradients(steps=64)
    image = bright_corner()
    explanation = tk.explain(trainer, image, method)
    black = trainer.predict(np.zeros_like(image)).value
    # In the unit of the labels.
    assert explanation.values.sum() == pytest.approx(explanation.value - black, rel=0.05)


def test_neighbors_have_numbers(trainer: tk.Trainer, data: tk.Data) -> None:
    explanation = tk.explain(trainer, bright_corner(), data=data, neighbors=2)
    labels = data.splits["train"].labels
    assert [one.label for one in explanation.neighbors] == [f"{labels[one.index]:g}" for one in explanation.neighbors]


def test_what_needs_classes_is_refused(trainer: tk.Trainer) -> None:
    with pytest.raises(DataError, match="`class_name` requires class labels"):
        tk.explain(trainer, bright_corner(), class_name="a")
    explanations = tk.explanation.Explanations([tk.explain(trainer, bright_corner())])
    with pytest.raises(DataError, match="`faithfulness` requires class labels"):
        tk.explanation.faithfulness(trainer, explanations)
