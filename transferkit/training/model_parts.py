"""The parts of a classifier that a trainer runs and fits, kept while they are valid."""

from __future__ import annotations

from typing import Any

import keras

from transferkit.modeling.keras_graph import all_layers
from transferkit.modeling.partition import partition_model
from transferkit.training.feature_model import FeatureModel


class ModelParts:
    """The partition of a classifier and the models to fit.

    Partitioning takes time, and the models have compiled functions, so they are kept until `trainable` changes.

    Args:
        model: the classifier.

    Attributes:
        partition: the `ModelPartition`.
    """

    def __init__(self, model: keras.Model) -> None:
        self.partition = partition_model(model)
        self._model = model
        self._state = _trainable_state(model)
        self._fitted: dict[tuple[str, str], FeatureModel] = {}

    def is_valid(self) -> bool:
        """Return whether the model is frozen as it was when the parts were made."""
        return self._state == _trainable_state(self._model)

    def for_features(self, precision: str) -> FeatureModel:
        """Return the model to fit on cached features."""
        return self._feature_model("features", self.partition.trainable, precision)

    def for_images(self, precision: str) -> keras.Model:
        """Return the model to fit on images: the classifier, or one that shares its layers, in reduced precision.

        Raises:
            ValueError: for reduced precision and a model with its own train_step.
        """
        if precision == "float32":
            return self._model
        if type(self._model).train_step is not keras.Model.train_step:
            raise ValueError(
                f"`precision` must be 'float32' for a model that overrides train_step. Received: {precision!r}."
            )
        return self._feature_model("images", self._model, precision)

    def _feature_model(self, kind: str, source: keras.Model, precision: str) -> FeatureModel:
        if (kind, precision) not in self._fitted:
            model = FeatureModel(source.inputs, source.outputs, precision=precision, name=source.name)
            self._fitted[kind, precision] = model
        return self._fitted[kind, precision]


def _trainable_state(model: keras.Model) -> tuple[Any, ...]:
    return tuple((id(layer), layer.trainable) for layer in all_layers(model))
