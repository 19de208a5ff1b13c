"""Pictures of a data set: a grid of its images with their labels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from transferkit.data.examples import Data, Split

_WRONG, _RIGHT = "#c0392b", "#222222"


def draw_grid(
    data: Data,
    path: str | os.PathLike[str] | None,
    *,
    split: str,
    predicted: Sequence[Any] | None,
    first: int,
    count: int,
) -> Figure:
    """Draw images of a split with their labels; see `Data.show`."""
    if split not in data.splits:
        raise ValueError(f"`split` must be one of {sorted(data.splits)}. Received: {split!r}.")
    images, labels, numbers = _chosen(data, split, first, count)
    side = max(1, math.isqrt(max(0, len(images) - 1)) + 1)
    rows = max(1, -(-len(images) // side))
    # No pyplot: a figure of its own needs no screen, and is not kept alive by a list of all figures.
    figure = Figure(figsize=(3 * side, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, side, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, label, number in zip(axes, images, labels, numbers):
        axis.imshow(np.clip(image, 0, 255).astype(np.uint8))
        title, wrong = _title(data, label, None if predicted is None else predicted[number])
        axis.set_title(
            title, color=_WRONG if wrong else _RIGHT, fontweight="bold" if wrong else "normal", parse_math=False
        )
    if path is not None:
        figure.savefig(path, dpi=100)
    return figure


def _chosen(data: Data, name: str, first: int, count: int) -> tuple[Any, Any, list[int]]:
    split = data.splits[name]
    if split.stream is not None:
        images, labels = next(iter(split.stream.unbatch().skip(first).batch(count)))
        return images.numpy(), labels.numpy(), list(range(first, first + len(images)))
    numbers = _order(split, data.seed)[first : first + count]
    return [_image(split, number) for number in numbers], split.labels[numbers], numbers


def _order(split: Split, seed: int) -> list[int]:
    from transferkit.data.pipeline import epoch_order

    # Files lie class by class; nine of one class would say little.
    return epoch_order(len(split), seed, 0).tolist()


def _image(split: Split, number: int) -> np.ndarray:
    from transferkit.images.loading import load_image

    if split.images is not None:
        return split.images[number]
    assert split.paths is not None
    return load_image(split.paths[number], split.image_spec)


def _title(data: Data, label: Any, said: Any) -> tuple[str, bool]:
    truth = _names(data, label)
    if said is None:
        return truth, False
    said = getattr(said, "label", said)
    name = said if isinstance(said, str) else _names(data, said)
    return (truth, False) if name == truth else (f"{name}, not {truth}", True)


def _names(data: Data, label: Any) -> str:
    if data.multi_label:
        return ", ".join(data.class_names[index] for index in np.flatnonzero(np.asarray(label) > 0.5)) or "none"
    return data.class_names[int(np.ravel(label)[0])]
