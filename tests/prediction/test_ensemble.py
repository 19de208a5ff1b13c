"""Means of the probabilities of several classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit.images import ImageSpec
from transferkit.prediction import Predictor

from .conftest import brightness_model

NAMES = ["dark", "bright"]


@pytest.fixture
def members() -> list[Predictor]:
    """A classifier by brightness and its opposite, three times as steep."""
    slopes = (1.0, -3.0)
    return [
        Predictor(brightness_model(slope), NAMES, ImageSpec((48, 48)), activation="sigmoid", batch_size=batch_size)
        for slope, batch_size in zip(slopes, (32, 8))
    ]


def test_ensemble_averages_probabilities(members: list[Predictor], gray_files: list[str]) -> None:
    predictions = tk.Ensemble(members).predict(gray_files)
    columns = [member.predict(gray_files) for member in members]
    assert [one.path for one in predictions] == gray_files
    assert predictions[10].error == "it is an HTML page" and predictions[10].label is None
    for one, first, second in zip(predictions, *columns):
        if one.error is None:
            mean = (first.probability_array + second.probability_array) / 2
            np.testing.assert_allclose(one.probability_array, mean, atol=1e-6)


def test_ensemble_of_single_image_and_iterator(members: list[Predictor]) -> None:
    ensemble = tk.Ensemble(members)
    images = [np.full((9, 9, 3), level, np.uint8) for level in range(0, 250, 5)]
    expected = [ensemble.predict(image).probability_array for image in images]
    streamed = [one.probability_array for one in ensemble.iter_predict(iter(images))]
    np.testing.assert_allclose(streamed, expected, atol=1e-6)


def test_ensemble_predict_to(members: list[Predictor], gray_files: list[str], tmp_path: Path) -> None:
    ensemble = tk.Ensemble(members)
    assert ensemble.predict_to(gray_files, tmp_path / "out.csv").images == 70
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 71
    assert tk.Ensemble(members[::-1]).fingerprint() != ensemble.fingerprint()


def test_ensemble_invalid_members_raise(members: list[Predictor]) -> None:
    with pytest.raises(ValueError, match="`members` must be at least two predictors. Received: 1"):
        tk.Ensemble(members[:1])
    with pytest.raises(TypeError, match="`members` must be predictors. Received: str"):
        tk.Ensemble([members[0], "saved"])
    other = Predictor(brightness_model(), ["cat", "dog"], ImageSpec((48, 48)), activation="sigmoid")
    with pytest.raises(ValueError, match="`members` must have equal classes, in the same order"):
        tk.Ensemble([members[0], other])
