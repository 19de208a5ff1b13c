"""Learning curves, image grids, confusion matrices and comparisons as matplotlib figures, from plain arrays.

Figures are created without pyplot, so they need no display and no `matplotlib.use`. In a notebook, a figure that is
not saved to a file appears under the cell that created it, once, in a loop too and without a magic command.
"""

from __future__ import annotations

import base64
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

PathLike = str | os.PathLike[str]
_BLUE, _ORANGE, _RED = "#1f77b4", "#ff7f0e", "#c62828"
_NUM_BINS = 10
# More numbers or names than these are illegible, and their layout takes minutes.
_MAX_CELLS, _MAX_TICKS = 400, 60


class NotebookFigure(Figure):
    """A matplotlib figure that a Jupyter notebook shows once in the cell that created it.

    `show_once` shows it at once. As the last expression of the same cell it is then not shown again; in a later cell
    it is. Outside a notebook it is an ordinary figure.
    """

    _shown_in_cell: int | None = None

    def show_once(self) -> None:
        """Show the figure now if a notebook runs."""
        shell = _notebook_shell()
        if shell is not None:
            self._publish(shell)
            self._shown_in_cell = shell.execution_count

    def _ipython_display_(self) -> None:
        shell = _notebook_shell()
        if shell is None:
            # IPython then prints the repr.
            raise NotImplementedError
        if shell.execution_count != self._shown_in_cell:
            self._publish(shell)

    def _publish(self, shell: Any) -> None:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        image = base64.b64encode(buffer.getvalue()).decode()
        shell.display_pub.publish({"image/png": image, "text/plain": repr(self)})


def save_figure(figure: Figure, path: PathLike) -> None:
    """Save a figure atomically; the extension of `path` selects the format. Defaults to PNG without an extension."""
    with atomic_write(path, suffix=os.path.splitext(os.fspath(path))[1] or ".png") as temporary:
        figure.savefig(temporary, dpi=100)


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
    confidence: np.ndarray,
    correct: np.ndarray,
    *,
    title: str = "",
    path: PathLike | None = None,
) -> Figure:
    """Plot a confusion matrix next to a calibration curve.

    Args:
        confusion_matrix: int (classes, classes), rows are true and columns predicted labels; or (classes, 2, 2) for
            multi-label classification.
        class_names: one per class.
        confidence: float (n,), predicted probabilities in [0, 1].
        correct: bool (n,), whether each prediction was correct.
        title: the title of the figure. Defaults to "".
        path: where to save the figure. Defaults to None, which saves nothing.
    """
    figure = NotebookFigure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_confusion(left, confusion_matrix, class_names)
    _plot_calibration(right, confidence, correct)
    figure.suptitle(title)
    return _finish(figure, path)


def accuracy_against_time(
    names: Sequence[str],
    milliseconds: Sequence[float],
    accuracies: Sequence[float],
    *,
    errors: Sequence[float],
    front: Sequence[int],
    path: PathLike | None = None,
) -> Figure:
    """Plot the accuracy of models against their time per image.

    Args:
        names: one per model.
        milliseconds: time per image.
        accuracies: in [0, 1].
        errors: standard deviations of the accuracies.
        front: indices of the models on the Pareto front, the fastest first.
        path: where to save the figure. Defaults to None, which saves nothing.
    """
    figure = NotebookFigure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, x, y, error in zip(names, milliseconds, accuracies, errors):
        axes.errorbar(x, y, yerr=error, fmt="o", color=_BLUE, capsize=3)
        axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", parse_math=False)
    if front:
        points = [(milliseconds[index], accuracies[index]) for index in front]
        axes.plot(*zip(*points), "--", color="gray", label="Pareto front")
        axes.legend()
    axes.set(xlabel="Time per image (ms)", ylabel="Cross-validated accuracy of a linear probe", xscale="log")
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


def _plot_calibration(axes: Any, confidence: np.ndarray, correct: np.ndarray) -> None:
    bins = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
    present = np.unique(bins)
    accuracies = [float(np.mean(correct[bins == index])) for index in present]
    axes.bar((present + 0.5) / _NUM_BINS, accuracies, width=0.9 / _NUM_BINS, color=_BLUE, label="Model")
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", label="Perfectly calibrated")
    axes.set(xlabel="Confidence", ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1.02), title="Calibration")
    axes.legend(loc="upper left")


def _finish(figure: NotebookFigure, path: PathLike | None) -> Figure:
    if path is None:
        figure.show_once()
    else:
        save_figure(figure, path)
    return figure


def _notebook_shell() -> Any:
    """Return the IPython shell of a notebook, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and "ipykernel" in sys.modules else None
