"""Lists of predictions as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas

from transferkit.calibration import Calibration
from transferkit.images import ImageSpec
from transferkit.prediction import Predictions, Predictor

from .conftest import brightness_model


def test_to_csv_equals_predict_to(predictor: Predictor, gray_files: list[str], tmp_path: Path) -> None:
    predictor.predict(gray_files).to_csv(tmp_path / "a.csv")
    predictor.predict_to(gray_files, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_to_dataframe_has_one_row_per_image(predictor: Predictor, gray_files: list[str]) -> None:
    predictions = predictor.predict(gray_files)
    frame = predictions.to_dataframe()
    assert list(frame["path"]) == gray_files and frame.loc[10, "error"] == "it is an HTML page"
    assert frame.loc[69, "label"] == "bright" and pandas.isna(frame.loc[10, "label"])
    np.testing.assert_allclose(frame.loc[69, "p(bright)"], predictions[69].probabilities["bright"], atol=1e-7)


def test_to_dataframe_of_calibrated_predictions(gray_files: list[str]) -> None:
    calibration = Calibration(min_confidence=0.9, coverage=0.9, set_threshold=0.3)
    arguments = brightness_model(), ["dark", "bright"], ImageSpec((48, 48))
    predictor = Predictor(*arguments, activation="sigmoid", calibration=calibration)
    frame = predictor.predict(gray_files[:2]).to_dataframe()
    assert frame["is_certain"].tolist() == [True, True] and frame["label_set"].tolist() == [["dark"], ["dark"]]


def test_predictions_of_nothing(tmp_path: Path) -> None:
    assert repr(Predictions()) == "[]"
    Predictions().to_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "path,label,probability,error\n"


def test_predictions_print_as_table(predictor: Predictor, gray_files: list[str]) -> None:
    lines = repr(predictor.predict([gray_files[0], gray_files[10]])).splitlines()
    assert lines[0].split() == ["image", "label", "probability"] and lines[1].split()[1:] == ["dark", "0.9526"]
    assert "error: it is an HTML page" in lines[2]
    html = predictor.predict(np.zeros((1, 9, 9, 3), np.uint8))._repr_html_()
    assert "<td>image 0</td>" in html
