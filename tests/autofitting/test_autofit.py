"""Searches on small images: choices, report, repetition, resuming, goals and refused arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.autofitting.conftest import small_backbone
from transferkit.autofitting import search

SEARCH: dict[str, Any] = {"time_limit": None, "max_trials": 3}


@pytest.fixture(scope="module")
def result(data: tk.Data, tmp_path_factory: pytest.TempPathFactory) -> tk.AutoFit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        return tk.autofit(data, backbones=[small_backbone(), "MobileNetV9"], **SEARCH)


def values(found: tk.AutoFit) -> list[tuple[Any, ...]]:
    return [(row.name, row.value, row.low, row.high, row.is_best) for row in found.leaderboard if row.error is None]


def test_leaderboard_has_all_candidates_best_first(result: tk.AutoFit) -> None:
    rows = [row for row in result.leaderboard if row.error is None]
    assert {row.name.partition(",")[0] for row in rows} == {"small"}
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)
    assert sum(row.is_best for row in rows) == 1 and rows[0].value == next(row.value for row in rows if row.is_best)
    assert all(row.low < row.value <= row.high or row.value == 0 for row in rows)
    assert all(row.num_images == 40 and row.ms_per_image > 0 and row.size_mb > 0 for row in rows)
    assert "Did you mean 'MobileNetV2'" in str(result.leaderboard[-1].error)
    assert set(map(id, result.pareto())) <= set(map(id, result.leaderboard))


def test_report_is_that_of_the_chosen_classifier_on_images_it_never_saw(result: tk.AutoFit, data: tk.Data) -> None:
    assert result.test_name == "validation" and len(result.report.labels) == 20
    again = result.best.evaluate(data.splits["validation"])
    np.testing.assert_allclose(again.probabilities, result.report.probabilities, atol=1e-3)
    assert result.interval.low < result.value <= result.interval.high
    assert f"accuracy {result.value:.4f} on 20 validation images that no choice used" in str(result)
    assert result.to_dict()["test"]["value"] == result.report.accuracy
    assert result.best.calibration is not None and result.best.calibration.num_images == 40


def test_saved_classifier_predicts_the_same(result: tk.AutoFit, data: tk.Data, tmp_path: Path) -> None:
    loaded = tk.load(result.save(tmp_path / "saved"), engine="keras")
    for one, two in zip(loaded.predict(data.splits["validation"]), result.best.predict(data.splits["validation"])):
        np.testing.assert_allclose(one.probability_array, two.probability_array, atol=1e-4)
    assert "20 images" in (tmp_path / "saved" / "README.md").read_text()


def test_search_with_a_number_of_trials_is_repeated_exactly(result: tk.AutoFit, data: tk.Data) -> None:
    again = tk.autofit(data, backbones=small_backbone(), **SEARCH)
    assert values(again) == values(result)
    np.testing.assert_allclose(again.report.probabilities, result.report.probabilities, atol=1e-6)


def test_interrupted_search_continues_from_its_trials(data: tk.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = search.left_out_logits
    kinds: list[str] = []

    def interrupted(kind: str, *arguments: Any) -> Any:
        kinds.append(kind)
        if kind == "prototype" and kinds.count(kind) == 1:
            raise KeyboardInterrupt
        return compute(kind, *arguments)

    monkeypatch.setattr(search, "left_out_logits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tk.autofit(data, backbones=small_backbone(), **SEARCH)
    resumed = tk.autofit(data, backbones=small_backbone(), **SEARCH)
    assert kinds == ["linear", "prototype", "prototype", "knn"]
    assert len([row for row in resumed.leaderboard if "+" not in row.name]) == 3


def test_damaged_trial_is_computed_again(data: tk.Data, own_home: Path) -> None:
    first = tk.autofit(data, backbones=small_backbone(), time_limit=None, max_trials=1)
    (file,) = (own_home / "trials").glob("*.npz")
    for content in (b"", file.read_bytes()[:100]):
        file.write_bytes(content)
        again = tk.autofit(data, backbones=small_backbone(), time_limit=None, max_trials=1)
        assert values(again) == values(first)


@pytest.mark.slow
def test_fine_tuning_is_a_candidate_without_a_number_of_trials(data: tk.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "kinds_for", lambda development: ["linear"])
    found = tk.autofit(data, backbones=small_backbone(), time_limit=None)
    assert [row.num_images for row in found.leaderboard if row.name.endswith("fine-tuned")] == [8]
    again = found.best.evaluate(data.splits["validation"])
    np.testing.assert_allclose(again.probabilities, found.report.probabilities, atol=1e-3)


def test_independent_labels(data: tk.Data) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 32, 32, 3), np.uint8)
    images[::2] //= 2
    labels = np.stack([np.arange(60) % 2 == 0, np.arange(60) % 3 == 0], axis=1).astype("float32")
    several = tk.DatasetBuilder((images, labels), image_size=32, class_names=["dark", "third"]).build()
    found = tk.autofit(several, backbones=small_backbone(), time_limit=None, max_trials=1, metric="macro_f1")
    assert found.best.multi_label and len(found.report.labels) == 12
    assert found.report.accuracy > 0.6


def test_one_head_is_trained_in_any_case(data: tk.Data) -> None:
    found = tk.autofit(data, backbones=small_backbone(), time_limit=0.001)
    assert len(found.leaderboard) == 1 and found.leaderboard[0].is_best


def test_no_usable_backbone_raises(data: tk.Data) -> None:
    with pytest.raises(tk.TrainingError, match="At least one of `backbones` must be usable. Received: MobileNetV9: "):
        tk.autofit(data, backbones=["MobileNetV9"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metric": "acuracy"}, "`metric` must be one of 'accuracy', .* Received: 'acuracy'. Did you mean 'accuracy'"),
        ({"metric": "brier_score"}, "`metric` must be one of"),
        ({"goal": "speed"}, "`goal` must be one of 'accuracy', 'latency', 'size'. Received: 'speed'"),
        ({"max_trials": 0}, "`max_trials` must be an integer of at least 1. Received: 0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1"),
        ({"time_limit": "soon"}, "`time_limit` must be a finite number above 0. Received: 'soon'"),
    ],
)
def test_wrong_argument_raises(data: tk.Data, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tk.autofit(data, backbones=small_backbone(), **options)
