"""Loss and metrics of a classifier, for logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from transferkit.errors import DataError
from transferkit.head import unit_layer, unit_scale
from transferkit.modeling.keras_graph import graph_nodes, is_functional
from transferkit.training.losses import make_loss
from transferkit.training.metrics import make_metrics

# Layers and operations of Keras that return probabilities.
_PROBABILITIES = ("Sigmoid", "HardSigmoid", "SparseSigmoid", "Softmax", "Sparsemax")


@dataclasses.dataclass(frozen=True)
class Objective:
    """Loss and metrics of one kind of classification.

    Attributes:
        kind: "binary" (one logit), "multi_class" (one logit per class), "multi_label" (independent logits) or "number"
            (one number in the unit of the labels, not a logit).
        units: number of logits.
        loss_name: name or instance of a loss; None for cross-entropy.
        label_smoothing: in [0, 1).
        metric_names: names and instances of metrics, in addition to accuracy.
        soft_labels: whether training labels are fractions, as MixUp makes them.
        scale: standard deviation of numbers as labels.
    """

    kind: str
    units: int
    loss_name: Any = None
    label_smoothing: float = 0.0
    metric_names: tuple[Any, ...] = ()
    soft_labels: bool = False
    scale: float = 1.0

    @property
    def activation(self) -> str:
        """The function from logits to probabilities; "linear" for numbers."""
        if self.kind == "number":
            return "linear"
        return "softmax" if self.kind == "multi_class" else "sigmoid"

    def loss(self) -> Any:
        """Return the loss for logits."""
        options: dict[str, Any] = {"label_smoothing": self.label_smoothing, "soft_labels": self.soft_labels}
        return make_loss(self.kind, self.units, self.loss_name, **options, scale=self.scale)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return new metrics for logits, the first of which is named "accuracy", or those of numbers."""
        return make_metrics(self.kind, self.units, self.metric_names, soft_labels=self.soft_labels)

    def loss_of(self, labels: np.ndarray, logits: np.ndarray) -> float:
        """Return the mean loss of logits (n, units) and labels (n,) or (n, units)."""
        labels = labels[:, None] if self.kind == "binary" and labels.ndim == 1 else labels
        return float(np.mean(self.loss()(labels, logits)))

    def values_of(self, labels: np.ndarray, logits: np.ndarray) -> dict[str, list[float]]:
        """Return the loss and the metrics of logits (n, units), as those of one epoch."""
        values = {"loss": [self.loss_of(labels, logits)]}
        for metric in self.metrics():
            metric.update_state(labels[:, None] if self.kind == "binary" else labels, logits)
            values[metric.name] = [float(metric.result())]
        return values

    def losses_of(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return the loss of each image, (n,)."""
        loss = self.loss()
        # A loss of Keras returns the mean of the batch, but its `call` one value per image.
        function = loss.call if isinstance(loss, keras.losses.Loss) else loss
        labels = labels[:, None] if self.kind == "binary" and labels.ndim == 1 else labels
        values = function(*(keras.ops.convert_to_tensor(array, "float32") for array in (labels, logits)))
        return np.asarray(values).reshape(len(logits), -1).mean(axis=1)

    def check_fits(self, data: Any) -> None:
        """Raise a DataError when the logits do not match the classes of `data`."""
        if (self.kind == "number") != (data.target == "number"):
            head, labels = ("RegressionHead", "classes") if self.kind == "number" else ("ClassifierHead", "numbers")
            mend = "ClassifierHead(data.num_classes, ...)" if labels == "classes" else "RegressionHead(...)"
            raise DataError(
                f"The head must match the data. Received: a {head} for data with {labels} as labels. Build it with "
                f"{mend}."
            )
        if self.kind == "number":
            return
        expected = len(data.class_names)
        if not data.multi_label and expected == 2:
            expected = 1
        if self.units != expected or (self.kind == "multi_label") != data.multi_label:
            raise DataError(
                f"The head must match the data. Received: a head of {self.units} logit{'s' * (self.units > 1)} "
                f"({self.kind}) for {len(data.class_names)} classes {list(data.class_names)[:5]}. Build it with "
                f"ClassifierHead(data.num_classes{', multi_label=True' if data.multi_label else ''}, ...)."
            )


def objective_for(model: keras.Model, *, multi_label: bool = False) -> Objective:
    """Return the objective for the outputs of `model`, which must be logits (batch, units).

    Raises:
        ValueError: when the model has several outputs, or outputs other than logits.
    """
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            f"The model's output must be logits of shape (batch, units). Received: output shape {shape}. "
            "End the model with a ClassifierHead."
        )
    # A Sequential model that has not been called has no `output`.
    outputs = getattr(model, "output", None)
    if isinstance(outputs, Mapping):
        key = next(iter(outputs))
        raise ValueError(
            f"The model's output must be a tensor of logits. Received: a dict with the key {key!r}. "
            f"Write keras.Model(model.input, model.output[{key!r}])."
        )
    activation = _final_activation(model)
    if activation is not None:
        raise ValueError(
            "The model must end in logits, from which the loss is computed. Received: a model that ends in the "
            f"activation {activation!r}. Remove the activation: probabilities are computed from logits where needed."
        )
    units = int(shape[-1])
    if unit_layer(model) is not None:
        return Objective("number", units, scale=unit_scale(model))
    kind = "multi_label" if multi_label else "binary" if units == 1 else "multi_class"
    return Objective(kind, units)


def _final_activation(model: keras.Model) -> str | None:
    """Return the activation between the last layer with weights and the output, or None."""
    if not is_functional(model):
        return None
    producers = {id(tensor): node for node in graph_nodes(model) for tensor in node.outputs}
    node = producers.get(id(model.outputs[0]))
    while node is not None:
        found = _final_activation(node.layer) if is_functional(node.layer) else _activation_of(node.layer)
        if found or getattr(node.layer, "weights", None) or len(node.inputs) != 1:
            return found
        node = producers.get(id(node.inputs[0]))
    return None


def _activation_of(layer: Any) -> str | None:
    activation = getattr(layer, "activation", None)
    if activation is not None and activation is not keras.activations.linear:
        return getattr(activation, "__name__", type(activation).__name__)
    kind = type(layer).__name__
    return kind.lower() if kind in _PROBABILITIES else None
