"""The classifier to explain: the model, class names and image spec of a predictor or of a trainer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit._utils.checks import check_choice
from transferkit.data.numbers import require_classes
from transferkit.explanation.explained_model import PREDICTED, ExplainedModel, explained_model
from transferkit.images.spec import ImageSpec
from transferkit.prediction.outputs import Outputs, outputs_of

_ATTRIBUTES = ("model", "class_names", "image_spec", "activation")


@dataclasses.dataclass(frozen=True)
class ClassifierSource:
    """A trained classifier, or a model of numbers.

    Attributes:
        model: the model with its traced functions.
        class_names: in the order of the outputs.
        image_spec: how files become images.
        outputs: what the outputs of the model mean.
    """

    model: ExplainedModel
    class_names: tuple[str, ...]
    image_spec: ImageSpec
    outputs: Outputs

    @property
    def target(self) -> str:
        """Whether classes are predicted, "class", or numbers, "number"."""
        return self.outputs.target

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (n, classes) for images float32 (n, height, width, 3)."""
        return self.to_probabilities(self.model.outputs(images))

    def to_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (n, classes), or numbers (n, 1), of the model's outputs (n, units)."""
        return self.outputs.values(outputs)

    def predicted_class(self, probabilities: np.ndarray) -> int:
        """Return the index of the class that a `Predictor` predicts; 0 for a number."""
        return self.outputs.predicted_class(probabilities)

    def class_index(self, class_name: str | None) -> int:
        """Return the index of a class name, or `PREDICTED` for None."""
        if class_name is None:
            return PREDICTED
        require_classes(self, "`class_name`")
        return self.class_names.index(check_choice("class_name", class_name, self.class_names))


def classifier_source(predictor: Any) -> ClassifierSource:
    """Return the classifier of a `Predictor`, or of a `Trainer` after its first phase.

    Raises:
        DataError: for a trainer before its first phase.
        TypeError: for anything else.
    """
    make = getattr(predictor, "predictor", None)
    source = make() if callable(make) else predictor
    if not all(hasattr(source, name) for name in _ATTRIBUTES):
        raise TypeError(
            f"`predictor` must be a Predictor or a Trainer. Received: {type(predictor).__name__}. Give a trainer, "
            "tk.load(folder), or tk.Predictor(model, class_names, image_spec, activation=...)."
        )
    names = tuple(source.class_names)
    model = explained_model(source.model, source.activation, len(names))
    calibration = getattr(source, "calibration", None)
    outputs = outputs_of(names, source.activation, calibration, source.model.output_shape[-1])
    return ClassifierSource(model, names, source.image_spec, outputs)
