"""Learning curves, image grids, confusion matrices and comparisons as matplotlib figures, from plain arrays.

Figures are created without pyplot, so they need no display and no `matplotlib.use`. In a notebook, a figure that is
not saved to a file appears under the cell that created it, once, in a loop too and without a magic command.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_write

# A file, or a buffer for the PNG of a page.
PathLike = str | os.PathLike[str] | io.BytesIO
# (name, x, y)
Curve = tuple[str, np.ndarray, np.ndarray]
_BLUE, _ORANGE, _RED = "#1f77b4", "#ff7f0e", "#c62828"
# More numbers or names than these are illegible, and their layout takes minutes.
_MAX_CELLS, _MAX_TICKS = 400, 60


class NotebookFigure(Figure):
    """A figure that a Jupyter notebook displays once in the cell that created it, and on request in later cells."""

    _displayed_in: int | None = None

    def _ipython_display_(self) -> None:
        # IPython calls this method for the last expression of a cell and for display(figure).
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None and "ipykernel" in sys.modules else None
        if shell is None:
            # Not in a notebook: IPython prints the repr instead.
            raise NotImplementedError
        if shell.execution_count != self._displayed_in:
            self._displayed_in = shell.execution_count
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            image = base64.b64encode(buffer.getvalue()).decode()
            shell.display_pub.publish({"image/png": image, "text/plain": repr(self)})


def save_figure(figure: Figure, path: PathLike) -> None:
    """Save a figure atomically; the extension of `path` selects the format, PNG without one."""
    if isinstance(path, io.BytesIO):
        figure.savefig(path, dpi=80, format="png")
        return
    # Matplotlib hides the error of a full disk behind others.
    contents = io.BytesIO()
    figure.savefig(contents, dpi=100, format=os.path.splitext(os.fspath(path))[1][1:] or "png")
    with atomic_write(path) as temporary:
        temporary.write_bytes(contents.getvalue())


def learning_curves(histories: Iterable[Mapping[str, Sequence[float]]], path: PathLike | None = None) -> Figure:
    """Plot accuracy and loss over the epochs of one or more training phases.

    Args:
        histories: one dict per phase, from the name of a metric to its value in each epoch, as in the `history` of a
            Keras `History`.
        path: where to save the figure. Defaults to None, which saves nothing.

    Returns:
        The matplotlib figure, with one panel for the accuracy and one for the loss.

    Example:

    >>> figure = learning_curves([{"accuracy": [0.5, 0.9], "loss": [0.7, 0.4]}])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['Accuracy', 'Loss']
    """
    histories = list(histories)
    figure = NotebookFigure(figsize=(11, 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        _phase_boundaries(axes, [len(history.get(metric, ())) for history in histories])
        for name, label, color in ((metric, "Training", _BLUE), (f"val_{metric}", "Validation", _ORANGE)):
            values = [value for history in histories for value in history.get(name, ())]
            if values:
                axes.plot(range(1, len(values) + 1), values, label=label, color=color, marker="o", markersize=3)
        axes.set(xlabel="Epoch", ylabel=metric.capitalize())
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return _finish(figure, path)


def image_grid(
    images: Any,
    titles: Sequence[str],
    *,
    path: PathLike | None = None,
    columns: int | None = None,
    wrong: Sequence[bool] | None = None,
) -> Figure:
    """Plot images in a grid, each with a title.

    Args:
        images: array (n, height, width, 3) or a list of arrays (height, width, 3), RGB in [0, 255].
        titles: one per image.
        path: where to save the figure. Defaults to None, which saves nothing.
        columns: int >= 1, images per row. Defaults to None, which makes the grid as square as possible.
        wrong: one bool per image, whether its title is red and bold. Defaults to None, which marks no image.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if `columns` is not a positive integer.

    Example:

    >>> figure = image_grid(np.zeros((4, 8, 8, 3)), ["cat", "cat", "dog", "cat"], wrong=[False, False, True, False])
    >>> len(figure.axes)
    4
    """
    count = min(len(images), len(titles))
    columns = check_int("columns", math.ceil(math.sqrt(max(count, 1))) if columns is None else columns)
    rows = max(1, -(-count // columns))
    figure = NotebookFigure(figsize=(2.8 * columns, 3 * rows), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for index, axes in enumerate(all_axes[:count]):
        axes.imshow(np.clip(np.asarray(images[index]), 0, 255).astype(np.uint8))
        style = {"color": _RED, "fontweight": "bold"} if wrong is not None and wrong[index] else {}
        # A class name may contain a dollar sign.
        axes.set_title(titles[index], parse_math=False, **style)
    return _finish(figure, path)


def evaluation_figure(
    confusion_matrix: np.ndarray,
    class_names: Sequence[str],
    reliability: tuple[np.ndarray, np.ndarray],
    curves: Mapping[tuple[str, str, str], Sequence[Curve]] | None = None,
    *,
    title: str = "",
    path: PathLike | None = None,
) -> Figure:
    """Plot a confusion matrix (classes, classes), or (classes, 2, 2) for multi-label data, calibration and curves.

    `reliability` contains the accuracy (NaN without predictions) and the number of predictions of each bin of
    confidence, `curves` the curves of each panel by its title and the labels of its axes.
    """
    panels = {labels: lines for labels, lines in (curves or {}).items() if lines}
    rows = 1 + -(-len(panels) // 2)
    figure = NotebookFigure(figsize=(11, 4.6 * rows), layout="constrained")
    all_axes = figure.subplots(rows, 2).ravel()
    _plot_confusion(all_axes[0], confusion_matrix, class_names)
    _plot_calibration(all_axes[1], *reliability)
    for axes, (labels, lines) in zip(all_axes[2:], panels.items()):
        _plot_curves(axes, labels, lines)
    for axes in all_axes[2 + len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title)
    return _finish(figure, path)


def regression_figure(
    labels: np.ndarray, predictions: np.ndarray, *, title: str = "", path: PathLike | None = None
) -> Figure:
    """Plot predicted against true numbers, and a histogram of the residuals."""
    figure = NotebookFigure(figsize=(10, 4.5), layout="constrained")
    scatter, histogram = figure.subplots(1, 2)
    scatter.scatter(labels, predictions, s=8, alpha=0.5, color=_BLUE)
    ends = [min(labels.min(), predictions.min()), max(labels.max(), predictions.max())]
    scatter.plot(ends, ends, color="gray", linewidth=1)
    scatter.set(xlabel="true", ylabel="predicted")
    histogram.hist(predictions - labels, bins=min(50, max(5, len(labels) // 5)), color=_BLUE)
    histogram.axvline(0, color="gray", linewidth=1)
    histogram.set(xlabel="predicted minus true", ylabel="images")
    figure.suptitle(title)
    return _finish(figure, path)


def selective_accuracy_curve(fraction: np.ndarray, accuracy: np.ndarray, path: PathLike | None = None) -> Figure:
    """Plot the accuracy of the most confident predictions over their fraction of all."""
    figure = NotebookFigure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(fraction, accuracy, color=_BLUE)
    axes.set(xlabel="Fraction of the images, the most confident first", ylabel="Accuracy", xlim=(0, 1.02))
    axes.grid(alpha=0.3)
    return _finish(figure, path)


def metric_intervals(
    rows: Sequence[tuple[str, float, float, float]], label: str, path: PathLike | None = None
) -> Figure:
    """Plot values given as (name, value, low, high), one below the other, each with its interval."""
    figure = NotebookFigure(figsize=(8, 1.2 + 0.35 * max(len(rows), 2)), layout="constrained")
    axes = figure.subplots()
    for position, (_, value, low, high) in enumerate(rows):
        axes.plot([low, high], [position, position], color=_BLUE)
        axes.plot(value, position, "o", color=_BLUE)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], parse_math=False)
    axes.set(xlabel=label, ylim=(max(len(rows), 1) - 0.5, -0.5))
    axes.grid(alpha=0.3, axis="x")
    return _finish(figure, path)


def accuracy_against_time(
    models: Sequence[tuple[str, float, float, float]], front: Sequence[int], path: PathLike | None = None
) -> Figure:
    """Plot models given as (name, milliseconds, accuracy, standard deviation); `front` lists the Pareto front."""
    figure = NotebookFigure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, x, y, error in models:
        axes.errorbar(x, y, yerr=error, fmt="o", color=_BLUE, capsize=3)
        axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", parse_math=False)
    if front:
        axes.plot(*zip(*(models[index][1:3] for index in front)), "--", color="gray", label="Pareto front")
        axes.legend()
    axes.set(xlabel="Time per image (ms)", ylabel="Cross-validated accuracy of a linear probe", xscale="log")
    axes.grid(alpha=0.3)
    return _finish(figure, path)


def learning_rate_curve(
    rates: np.ndarray, losses: np.ndarray, suggestion: float, path: PathLike | None = None
) -> Figure:
    """Plot smoothed losses over learning rates, with the suggested one marked."""
    figure = NotebookFigure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=_BLUE)
    axes.axvline(suggestion, color=_ORANGE, linestyle="--", label=f"Suggestion: {suggestion:.2g}")
    axes.set(xscale="log", xlabel="Learning rate", ylabel="Smoothed loss")
    axes.legend()
    axes.grid(alpha=0.3)
    return _finish(figure, path)


def _phase_boundaries(axes: Any, epochs: Sequence[int]) -> None:
    for number, boundary in enumerate(np.cumsum(epochs)[:-1]):
        label = None if number else "Fine-tuning starts"
        axes.axvline(boundary + 0.5, color="gray", linestyle="--", linewidth=1, label=label)


def _plot_confusion(axes: Any, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    columns: Sequence[str] = class_names
    if matrix.ndim == 3:
        matrix = np.stack([matrix[:, 1, 1], matrix[:, 1, 0], matrix[:, 0, 1]], axis=1)
        columns = ("True positives", "False negatives", "False positives")
    axes.imshow(matrix, cmap="Blues", aspect="auto" if matrix.shape[0] != matrix.shape[1] else "equal")
    if len(class_names) <= _MAX_TICKS:
        axes.set_xticks(range(len(columns)), columns, rotation=45 if len(columns) > 4 else 0, parse_math=False)
        axes.set_yticks(range(len(class_names)), class_names, parse_math=False)
    axes.set(xlabel="Predicted label" if columns is class_names else "", ylabel="True label")
    if matrix.size <= _MAX_CELLS:
        for (row, column), value in np.ndenumerate(matrix):
            color = "white" if value > matrix.max() / 2 else "black"
            axes.text(column, row, f"{value:,}", ha="center", va="center", color=color)


def _plot_calibration(axes: Any, accuracy: np.ndarray, counts: np.ndarray) -> None:
    width = 1 / len(counts)
    for index in np.flatnonzero(counts):
        center = (index + 0.5) * width
        axes.bar(center, accuracy[index], width=0.9 * width, color=_BLUE, label=None if axes.patches else "Model")
        # How many predictions a bar has: that of three predictions means little.
        axes.text(center, accuracy[index] + 0.01, f"{counts[index]:,}", ha="center", fontsize="x-small")
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", label="Perfectly calibrated")
    axes.set(xlabel="Confidence", ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1.2), title="Calibration")
    axes.legend(loc="upper left", ncols=2)


def _plot_curves(axes: Any, labels: tuple[str, str, str], curves: Sequence[Curve]) -> None:
    for name, x, y in curves:
        axes.plot(x, y, label=name, linewidth=1.2)
    axes.set(title=labels[0], xlabel=labels[1], ylabel=labels[2], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    for text in axes.legend(fontsize="small").get_texts():
        text.set_parse_math(False)


def _finish(figure: NotebookFigure, path: PathLike | None) -> Figure:
    if path is not None:
        save_figure(figure, path)
    else:
        with contextlib.suppress(NotImplementedError):
            figure._ipython_display_()
    return figure
