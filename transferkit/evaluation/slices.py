"""Metrics of groups of images with equal values: categories, or intervals of a number."""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.checks import check_choice, did_you_mean
from transferkit._utils.lazy import LazyModule
from transferkit._utils.tables import html_table, text_table
from transferkit._utils.text import shorten
from transferkit.evaluation.classification import average_metrics, class_counts
from transferkit.evaluation.image_properties import image_property
from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.report_text import short_name
from transferkit.evaluation.resampling import ConfidenceInterval, wilson_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transferkit import plots
else:
    # Evaluation works where matplotlib is not installed.
    plots = LazyModule("transferkit.plots")

MISSING = "(missing)"
PROPERTIES = ("size", "brightness", "source")
_HEADER = ["", "images", "accuracy", "95 % interval", "balanced accuracy", "macro F1"]


@dataclasses.dataclass(frozen=True)
class Slice:
    """The metrics of the images with one value.

    Attributes:
        value: str, the category or the interval of the number; "(missing)" for images without a value.
        images: int, number of images.
        accuracy: float in [0, 1].
        interval: Wilson's interval of the accuracy at level 0.95, for the number of images.
        balanced_accuracy: float in [0, 1].
        macro_f1: float in [0, 1].
    """

    value: str
    images: int
    accuracy: float
    interval: ConfidenceInterval
    balanced_accuracy: float
    macro_f1: float


class Slices(list[Slice]):
    """A list of `Slice`; prints as a table and displays as HTML in a notebook."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the slices as dicts of plain values, for JSON or a DataFrame."""
        return [{**dataclasses.asdict(item), "interval": list(item.interval)} for item in self]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot the accuracy of each slice with its interval.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        rows = [(f"{item.value} ({item.images:,})", item.accuracy, *item.interval) for item in self]
        return plots.metric_intervals(rows, "Accuracy", path)

    def _cells(self) -> list[list[str]]:
        rows = []
        for item in self:
            metrics = [f"{item.accuracy:.4f}", str(item.interval), f"{item.balanced_accuracy:.4f}"]
            rows.append([short_name(item.value), f"{item.images:,}", *metrics, f"{item.macro_f1:.4f}"])
        return rows

    def __repr__(self) -> str:
        return shorten(text_table([_HEADER, *self._cells()], "<>>>>>"))

    def _repr_html_(self) -> str:
        return html_table(self._cells(), _HEADER)


def make_slices(outcomes: Outcomes, values: Sequence[Any], bins: int) -> Slices:
    """Return the metrics of the images with each value, or with values in each of `bins` intervals."""
    groups = group_indices(values, bins)
    return Slices(_slice(name, outcomes.take(indices)) for name, indices in groups.items())


def _slice(name: str, outcomes: Outcomes) -> Slice:
    averages, accuracy = average_metrics(class_counts(outcomes)), float(np.mean(outcomes.correct))
    metrics = float(averages["balanced"]["recall"]), float(averages["macro"]["f1"])
    # Several labels of an image are not independent: the number of images gives an interval that is wide enough.
    return Slice(name, len(outcomes), accuracy, wilson_interval(accuracy, len(outcomes)), *metrics)


def slice_values(by: Any, paths: Sequence[str] | None, class_names: Sequence[str], num_images: int) -> list[Any]:
    """Return one value per image: of a property of the files, a sequence, or a mapping of paths to values.

    Raises:
        ValueError: when an image has none.
    """
    if isinstance(by, str):
        check_choice("by", by, PROPERTIES)
        if paths is None:
            raise ValueError(f"`by` must be one value per image for a report without paths. Received: {by!r}.")
        return image_property(by, paths, class_names)
    if isinstance(by, Mapping):
        return _values_of_paths({os.fspath(path): value for path, value in by.items()}, paths)
    values = list(by)
    if len(values) != num_images:
        raise ValueError(
            f"`by` must contain one value per image. Received: {len(values)} values for {num_images} images. Give a "
            "dict from path to value, which need not be in the order of the images."
        )
    return values


def _values_of_paths(values: dict[str, Any], paths: Sequence[str] | None) -> list[Any]:
    if paths is None:
        raise ValueError(
            "`by` must be a list with one value per image for a report without paths. Received: a dict. Give "
            "Report(..., paths=...), or a list."
        )
    absent = [path for path in paths if path not in values]
    if absent:
        hint = did_you_mean(absent[0], values) or "The paths must be written as in `report.paths`."
        received = f"no value for {len(absent):,} of {len(paths):,} images, such as {absent[0]!r}"
        raise ValueError(f"`by` must have a value for the path of each image. Received: {received}. {hint}")
    return [values[path] for path in paths]


def group_indices(values: Sequence[Any], bins: int) -> dict[str, np.ndarray]:
    """Return the images of each group by its name.

    More than `bins` different numbers become `bins` intervals with about equally many images, in their order; other
    values are groups by themselves, in the order of the numbers or of the texts. Images without a value come last.
    """
    missing = np.array([_is_missing(value) for value in values])
    known = [value for value, is_missing in zip(values, missing) if not is_missing]
    names = np.full(len(values), MISSING, object)
    names[~missing], order = _group_names(known, bins)
    return {name: np.flatnonzero(names == name) for name in [*order, *([MISSING] if missing.any() else [])]}


def _group_names(values: list[Any], bins: int) -> tuple[list[str], list[str]]:
    """Return the name of the group of each value, and the groups in order."""
    numeric = all(isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)) for value in values)
    if numeric and len(set(values)) > bins:
        return _interval_names(np.array(values, float), bins)
    different = sorted(set(values), key=float) if numeric else sorted(set(map(str, values)))
    return [str(value) for value in values], list(dict.fromkeys(str(value) for value in different))


def _interval_names(values: np.ndarray, bins: int) -> tuple[list[str], list[str]]:
    # Values that occur, so that intervals of whole numbers have whole edges.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="nearest"))
    texts = [f"{edge:.0f}" if edge == round(edge) else f"{edge:.4g}" for edge in edges]
    names = [f"[{low}, {high})" for low, high in itertools.pairwise(texts)]
    names[-1] = f"{names[-1][:-1]}]"
    which = np.searchsorted(edges[1:-1], values, side="right")
    return [names[index] for index in which], list(dict.fromkeys(names[index] for index in np.unique(which)))


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, numbers.Real) and not math.isfinite(value))
        or str(value) in ("", "<NA>", "NaT")
    )
