"""Figures: their contents, saving, and display in a notebook."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferkit.plots import (
    NotebookFigure,
    accuracy_against_time,
    evaluation_figure,
    image_grid,
    learning_curves,
    metric_intervals,
    save_figure,
)

IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
BINS = np.array([0.5]), np.array([1])


class Shell:
    """An IPython shell that records what is displayed."""

    def __init__(self) -> None:
        self.execution_count = 1
        self.published: list[dict[str, str]] = []
        self.display_pub = SimpleNamespace(publish=self.published.append)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    return shell


def test_learning_curves_mark_phase_boundary(tmp_path: Path) -> None:
    first = {"accuracy": [0.5, 0.6], "val_accuracy": [0.4, 0.5], "loss": [1, 0.9], "val_loss": [1, 1]}
    second = {"accuracy": [0.7], "val_accuracy": [0.6], "loss": [0.8], "val_loss": [0.9]}
    figure = learning_curves([first, second], path=tmp_path / "curves.png")
    accuracy, loss = figure.axes
    assert [list(line.get_ydata()) for line in accuracy.lines[1:]] == [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]]
    assert list(accuracy.lines[0].get_xdata()) == [2.5, 2.5]
    assert accuracy.lines[0].get_label() == "Fine-tuning starts"
    assert len(learning_curves([first]).axes[1].lines) == 2
    assert (tmp_path / "curves.png").is_file() and loss.get_ylabel() == "Loss"


def test_learning_curves_without_phases() -> None:
    assert [len(axes.lines) for axes in learning_curves([]).axes] == [0, 0]


def test_image_grid_marks_wrong_images(tmp_path: Path) -> None:
    wrong = [False, True, False, False]
    figure = image_grid(IMAGES, ["a", "$b$", "c", "d"], path=tmp_path / "grid.png", columns=3, wrong=wrong)
    assert [axes.get_title() for axes in figure.axes] == ["a", "$b$", "c", "d", "", ""]
    assert [axes.title.get_fontweight() == "bold" for axes in figure.axes[:4]] == wrong
    assert [axes.title.get_color() != "black" for axes in figure.axes[:4]] == wrong
    assert (tmp_path / "grid.png").stat().st_size > 1000


@pytest.mark.parametrize(("count", "panels"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 6), (9, 9)])
def test_image_grid_is_nearly_square(count: int, panels: int) -> None:
    assert len(image_grid([IMAGES[0]] * count, ["a"] * count).axes) == panels


def test_image_grid_clips_values() -> None:
    figure = image_grid([np.full((2, 2, 3), 300.7)], ["a"])
    assert figure.axes[0].images[0].get_array().max() == 255


def test_image_grid_invalid_columns_raises() -> None:
    with pytest.raises(ValueError, match="`columns` must be an integer of at least 1. Received: 0"):
        image_grid(IMAGES, ["a"], columns=0)


def test_evaluation_figure_labels() -> None:
    matrix, bins = np.array([[3, 1], [0, 5]]), (np.array([np.nan, 0.5, 1]), np.array([0, 2, 1_000]))
    figure = evaluation_figure(matrix, ["$cat", "dog$"], bins, title="9 images")
    confusion, calibration = figure.axes
    assert (confusion.get_xlabel(), confusion.get_ylabel()) == ("Predicted label", "True label")
    assert [label.get_text() for label in confusion.get_yticklabels()] == ["$cat", "dog$"]
    assert [text.get_text() for text in confusion.texts] == ["3", "1", "0", "5"]
    assert (calibration.get_xlabel(), calibration.get_ylabel()) == ("Confidence", "Accuracy")
    assert [bar.get_height() for bar in calibration.patches] == [0.5, 1]
    assert [text.get_text() for text in calibration.texts] == ["2", "1,000"]
    assert calibration.lines[0].get_label() == "Perfectly calibrated"
    assert figure.get_suptitle() == "9 images"


def test_evaluation_figure_multi_label() -> None:
    matrix = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[0, 0], [0, 1]]])
    figure = evaluation_figure(matrix, ["a", "b", "c"], BINS)
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "3", "2", "8", "7", "6", "1", "0", "0"]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["True positives", "False negatives", "False positives"]


def test_evaluation_figure_of_many_classes_has_no_names() -> None:
    names = [str(number) for number in range(100)]
    figure = evaluation_figure(np.eye(100, dtype=int), names, BINS)
    assert not figure.axes[0].texts and len(figure.axes[0].get_yticks()) < 20


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_evaluation_figure_panels_of_curves(count: int) -> None:
    curves = {("title", f"x{n}", "y"): [("$a", np.array([0, 1]), np.array([0, n]))] for n in range(count)}
    figure = evaluation_figure(np.eye(2, dtype=int), ["a", "b"], BINS, {**curves, ("empty", "x", "y"): []})
    shown = [axes for axes in figure.axes[2:] if axes.axison]
    assert [axes.get_xlabel() for axes in shown] == [f"x{n}" for n in range(count)]
    assert [axes.get_legend().get_texts()[0].get_text() for axes in shown] == ["$a"] * count
    assert [axes.lines[0].get_ydata().tolist() for axes in shown] == [[0, n] for n in range(count)]
    figure.canvas.draw()


def test_metric_intervals_contents(tmp_path: Path) -> None:
    rows = [("$a", 0.8, 0.7, 0.9), ("b", 0.5, 0.4, 0.55)]
    (axes,) = metric_intervals(rows, "Accuracy", tmp_path / "a.png").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["$a", "b"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.7, 0.9], [0.8], [0.4, 0.55], [0.5]]
    assert axes.yaxis_inverted() and axes.get_xlabel() == "Accuracy" and (tmp_path / "a.png").is_file()
    assert metric_intervals([], "Accuracy").axes[0].lines[:] == []


def test_accuracy_against_time_contents() -> None:
    figure = accuracy_against_time([("a", 1.0, 0.8, 0.01), ("b", 3.0, 0.7, 0.02)], [0])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert axes.get_legend_handles_labels()[1] == ["Pareto front"] and axes.get_xscale() == "log"
    assert accuracy_against_time([], []).axes[0].get_legend() is None


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")])
def test_save_figure_formats(tmp_path: Path, name: str, start: bytes) -> None:
    save_figure(image_grid(IMAGES, ["a"]), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_save_figure_failure_keeps_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("old")
    with pytest.raises(ValueError, match="xyz"):
        save_figure(NotebookFigure(), tmp_path / "a.xyz")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_figure_is_displayed_once_per_cell(shell: Shell) -> None:
    figures = [image_grid(IMAGES[:1], ["a"]) for _ in range(3)]
    assert len(shell.published) == 3
    figures[-1]._ipython_display_()
    assert len(shell.published) == 3
    shell.execution_count = 2
    figures[-1]._ipython_display_()
    assert len(shell.published) == 4
    assert Image.open(io.BytesIO(base64.b64decode(shell.published[0]["image/png"]))).size[0] > 100


def test_saved_figure_is_displayed_on_request(shell: Shell, tmp_path: Path) -> None:
    figure = image_grid(IMAGES[:1], ["a"], path=tmp_path / "a.png")
    assert shell.published == []
    figure._ipython_display_()
    assert len(shell.published) == 1


def test_figure_without_notebook_has_repr() -> None:
    with pytest.raises(NotImplementedError):
        image_grid(IMAGES[:1], ["a"])._ipython_display_()


def test_plots_do_not_import_pyplot() -> None:
    code = "import sys, transferkit.plots; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
