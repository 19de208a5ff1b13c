"""The history of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training import PhaseRecord, RunHistory
from transferkit.training.history import make_history


@pytest.fixture
def run() -> RunHistory:
    history = RunHistory()
    history.append(PhaseRecord("frozen", {"loss": [0.7, 0.6], "accuracy": [0.5, 0.6]}, 0, 1.5, 1e-4, "features"))
    history.append(PhaseRecord("fine-tuning", {"loss": [0.5], "accuracy": [0.8]}, 2, 2.5, 1e-5, "images", "bfloat16"))
    return history


def test_run_history_joins_phases(run: RunHistory) -> None:
    assert run.history == {"loss": [0.7, 0.6, 0.5], "accuracy": [0.5, 0.6, 0.8]}
    assert (len(run), run.epochs, [phase.epochs for phase in run]) == (2, 3, [2, 1])
    assert repr(run) == "RunHistory(frozen: 2 epochs, fine-tuning: 1 epochs)"
    assert RunHistory().history == {} and RunHistory().epochs == 0


def test_run_history_to_dict_is_json(run: RunHistory) -> None:
    first, second = json.loads(json.dumps(run.to_dict()))
    assert first == {
        "name": "frozen",
        "history": {"loss": [0.7, 0.6], "accuracy": [0.5, 0.6]},
        "first_epoch": 0,
        "seconds": 1.5,
        "learning_rate": 1e-4,
        "trained_on": "features",
        "precision": "float32",
    }
    assert (second["first_epoch"], second["precision"]) == (2, "bfloat16")


def test_run_history_plot_saves_figure(run: RunHistory, tmp_path: Path) -> None:
    figure = run.plot(tmp_path / "curves.png")
    assert len(figure.axes) == 2 and (tmp_path / "curves.png").stat().st_size > 5000


def test_make_history_sets_history_of_model() -> None:
    model = small_classifier()
    history = make_history(model, {"loss": [0.5, 0.25]}, 3)
    assert model.history is history and history.model is model
    assert (history.epoch, repr(history)) == ([3, 4], "History: 2 epochs, loss 0.2500")
    assert repr(make_history(model, {}, 0)) == "History: no epochs"


def test_fit_sets_history_of_model(data: Data) -> None:
    trainer = tk.Trainer(small_classifier())
    history = trainer.fit(data, epochs=1, verbose=0)
    assert trainer.model.history is history
    assert history.history == trainer.history.phases[0].history
