"""Where in the image the positions of a feature map are.

Layers without padding, as in Inception, leave out a margin: their maps are those of the inner part of the image, and a
heat map that is stretched to the whole image is up to half a position off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from transferkit.modeling.keras_graph import GraphNode, all_nodes

Steps = tuple[float, float]


class Positions(NamedTuple):
    """The pixels of positions 0, 1, 2 ... along one side of a map.

    Attributes:
        start: float, the pixel of position 0.
        step: float, pixels between neighboring positions.
    """

    start: float
    step: float


def centered_positions(pixels: int, count: int, step: float | None = None) -> Positions:
    """Return the positions of a map in the middle of the image; without a step, it covers the whole image.

    >>> centered_positions(8, 2), centered_positions(8, 2, 2.0)
    (Positions(start=1.5, step=4.0), Positions(start=2.5, step=2.0))
    """
    step = pixels / count if step is None else step
    return Positions((pixels - 1) / 2 - step * (count - 1) / 2, step)


def map_steps(model: keras.Model, tensor: Any) -> Steps | None:
    """Return the pixels between positions of a feature map along height and width, the products of all strides.

    None where a layer on the way changes the size in another way.
    """
    known: dict[int, Steps | None] = {}
    for node in all_nodes(model):
        # The inputs of the model, and of models inside of it, are images.
        before = known.get(id(node.inputs[0]), (1.0, 1.0))
        for output in node.outputs:
            known[id(output)] = None if before is None else _steps_after(node, before)
            if output is tensor:
                return known[id(output)]
    return None


def interpolation_matrix(positions: Positions, pixels: int, count: int) -> np.ndarray:
    """Return float32 (pixels, count), which interpolates `count` values linearly; the margins have the outer values."""
    places = np.clip((np.arange(pixels) - positions.start) / positions.step, 0, count - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(count)), 0).astype(np.float32)


def _steps_after(node: GraphNode, before: Steps) -> Steps | None:
    layer = node.layer
    if isinstance(layer, (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)):
        return before
    strides = getattr(layer, "strides", None)
    if isinstance(strides, tuple) and len(strides) == 2:
        return before[0] * strides[0], before[1] * strides[1]
    # Layers that keep the size, such as activations and sums, keep the steps.
    return before if node.inputs[0].shape[1:3] == node.outputs[0].shape[1:3] else None
