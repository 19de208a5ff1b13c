"""Pictures: learning curves, grids of images, the confusion matrix. Figures are returned and saved, never popped up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_write

if TYPE_CHECKING:
    from transferkit.evaluation.report import Report

Path = str | os.PathLike[str] | None
_TRAINING, _VALIDATION, _WRONG = "#1f77b4", "#ff7f0e", "#c62828"


def learning_curves(histories: Sequence[Mapping[str, Sequence[float]]], *, path: Path = None) -> Figure:
    """Draw accuracy and loss over the epochs, in two panels; between phases stands a marked line.

    Args:
        histories: one dict a phase, metric name to its value in each epoch, as Keras' `History.history`.
        path: where to save the picture, or None.

    Returns:
        The matplotlib figure.

    Example:

    >>> figure = learning_curves([{"accuracy": [0.5, 0.9], "loss": [0.7, 0.4]}])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['accuracy', 'loss']
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        boundary = 0
        for number, history in enumerate(histories):
            if number:
                label = "fine-tuning begins" if number == 1 else None
                axes.axvline(boundary + 0.5, color="grey", linestyle="--", linewidth=1, label=label)
            boundary += len(history.get(metric, ()))
        _curve(axes, histories, metric, "training", _TRAINING)
        _curve(axes, histories, f"val_{metric}", "validation", _VALIDATION)
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return _saved(figure, path)


def image_grid(
    images: Any,
    titles: Sequence[str],
    *,
    path: Path = None,
    columns: int = 3,
    wrong: Sequence[bool] | None = None,
) -> Figure:
    """Draw images in a grid, each under its title.

    Args:
        images: (n, height, width, 3), or a list of images, RGB in [0, 255].
        titles: one an image.
        path: where to save the picture, or None.
        columns: images in a row, at least 1.
        wrong: which images are marked in red, or None.

    Returns:
        The matplotlib figure.
    """
    check_int("columns", columns)
    count = min(len(images), len(titles))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(2.6 * columns, 2.8 * rows), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.axis("off")
        if number >= count:
            continue
        axes.imshow(np.clip(np.asarray(images[number]), 0, 255).astype(np.uint8))
        marked = wrong is not None and bool(wrong[number])
        axes.set_title(f"{titles[number]} (wrong)" if marked else titles[number], color=_WRONG if marked else "black")
    return _saved(figure, path)


def evaluation_figure(report: Report, *, path: Path = None) -> Figure:
    """Draw a report: the confusion matrix, and the accuracy at each confidence."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _confusion(left, report)
    _reliability(right, report)
    figure.suptitle(f"{len(report.labels):,} images, accuracy {report.accuracy:.1%}")
    return _saved(figure, path)


def _curve(axes: Any, histories: Sequence[Mapping[str, Sequence[float]]], metric: str, label: str, colour: str) -> None:
    values = [value for history in histories for value in history.get(metric, ())]
    if values:
        axes.plot(range(1, len(values) + 1), values, label=label, color=colour, marker="o", markersize=3)


def _confusion(axes: Any, report: Report) -> None:
    matrix = report.confusion_matrix
    if report.multi_label:
        # One row a class: how often it was rightly and wrongly said to be there, and missed.
        matrix = np.stack([matrix[:, 1, 1], matrix[:, 1, 0], matrix[:, 0, 1]], axis=1)
        columns: Sequence[str] = ("found", "missed", "false alarm")
    else:
        columns = report.class_names
    axes.imshow(matrix, cmap="Blues")
    axes.set_xticks(range(len(columns)), columns, rotation=45 if len(columns) > 4 else 0)
    axes.set_yticks(range(len(report.class_names)), report.class_names)
    axes.set(xlabel="said", ylabel="truth")
    if matrix.size <= 400:
        for (row, column), value in np.ndenumerate(matrix):
            axes.text(column, row, f"{value:,}", ha="center", color="white" if value > matrix.max() / 2 else "black")


def _reliability(axes: Any, report: Report) -> None:
    if report.multi_label:
        confidence, right = report.probabilities.ravel(), report.labels.ravel()
    else:
        confidence, right = report.probabilities.max(axis=1), report.predictions == report.labels
    edges = np.linspace(0, 1, 11)
    bins = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
    present = sorted(set(bins))
    means = [float(np.mean(right[bins == b])) for b in present]
    axes.bar([edges[b] + 0.05 for b in present], means, width=0.09, color=_TRAINING, label="share right")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="as it should be")
    axes.set(xlabel="probability said", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"calibration error {report.calibration_error:.3f}")
    axes.legend(loc="upper left")


def _saved(figure: Figure, path: Path) -> Figure:
    if path is not None:
        suffix = os.path.splitext(os.fspath(path))[1] or ".png"
        with atomic_write(path, suffix=suffix) as temporary:
            figure.savefig(temporary, dpi=100)
    return figure
