"""Class activation maps: Grad-CAM, Grad-CAM++, HiResCAM and LayerCAM."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit._utils.checks import check_choice
from transferkit.explanation.attribution import Attribution, to_heatmaps
from transferkit.explanation.explained_model import ExplainedModel
from transferkit.explanation.map_positions import map_steps
from transferkit.explanation.target_layer import find_feature_map

VARIANTS = ("grad_cam", "grad_cam++", "hires_cam", "layer_cam")


@dataclasses.dataclass(frozen=True)
class ClassActivation:
    """A sum of the channels of a feature map, weighted by the gradients of the score of a class.

    Negative sums count as 0. A heat map without positive sums is 0 everywhere.

    Args:
        name: "grad_cam" (weights are means of gradients), "grad_cam++" (weighted means, for several objects in an
            image), "hires_cam" (gradients of each position) or "layer_cam" (positive gradients of each position, also
            for lower layers). Defaults to "grad_cam".
        layer: str. Name of the layer of the model, or of its nested backbone, with the feature map. Defaults to None,
            the last one before pooling.

    Raises:
        ValueError: for an unknown name.

    Example:

    >>> ClassActivation("layer_cam", layer="block_13_expand_relu").name
    'layer_cam'

    References: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    2017, arXiv:1610.02391. Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional
    Networks", 2018, arXiv:1710.11063. Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks", 2020, arXiv:2011.08891. Jiang et al., "LayerCAM: Exploring Hierarchical Class
    Activation Maps for Localization", 2021, IEEE Transactions on Image Processing 30.
    """

    name: str = "grad_cam"
    _: dataclasses.KW_ONLY
    layer: str | None = None

    def __post_init__(self) -> None:
        check_choice("name", self.name, VARIANTS)

    def attribute(self, model: ExplainedModel, images: np.ndarray, classes: np.ndarray) -> Attribution:
        """Return the maps of one class per image, at the resolution of the feature map.

        Args:
            model: `ExplainedModel`, a model with the score of each class.
            images: float32 (n, height, width, 3), RGB in [0, 255].
            classes: int (n,), the explained class of each image.
        """
        feature_map = find_feature_map(model.model, self.layer)
        maps, gradients, outputs = model.map_gradients(images, classes, feature_map)
        maps, gradients = feature_map.to_maps(maps), feature_map.to_maps(gradients)
        values = class_activation_map(self.name, maps, gradients)
        steps = map_steps(model.model, feature_map.tensor) if feature_map.grid is None else None
        return Attribution(values, to_heatmaps(values, model.input_size, steps=steps), outputs)


def class_activation_map(name: str, maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the signed sums (n, height, width) of maps and gradients (n, height, width, channels).

    >>> maps, gradients = np.array([[[[1.0], [2.0]]]]), np.array([[[[3.0], [-1.0]]]])
    >>> class_activation_map("grad_cam", maps, gradients).tolist()
    [[[1.0, 2.0]]]
    >>> class_activation_map("hires_cam", maps, gradients).tolist()
    [[[3.0, -2.0]]]
    """
    if name == "grad_cam":
        weights = gradients.mean(axis=(1, 2), keepdims=True)
    elif name == "grad_cam++":
        weights = _weights_of_grad_cam_plus_plus(maps, gradients)
    else:
        weights = gradients if name == "hires_cam" else np.maximum(gradients, 0.0)
    return (weights * maps).sum(axis=-1)


def _weights_of_grad_cam_plus_plus(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return weights (n, 1, 1, channels) for the exponential of the score, whose derivatives are powers of gradients.

    The positive factor exp(score), which all channels have, is left out: heat maps are scaled anyway.
    """
    squared = gradients**2
    denominator = 2 * squared + squared * gradients * maps.sum(axis=(1, 2), keepdims=True)
    coefficients = np.divide(squared, denominator, out=np.zeros_like(squared), where=denominator != 0)
    return (coefficients * np.maximum(gradients, 0.0)).sum(axis=(1, 2), keepdims=True)
