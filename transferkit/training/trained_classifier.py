"""What can be done with a classifier while and after it is trained: evaluation, prediction and saving."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.process import without_retracing_warnings
from transferkit.data.dataset import Data
from transferkit.data.pipeline import split_of
from transferkit.errors import DataError
from transferkit.evaluation.report import Report
from transferkit.prediction import Prediction, Predictor, to_probabilities
from transferkit.saving import save_classifier
from transferkit.training.arguments import check_data, class_names_of
from transferkit.training.history import RunHistory
from transferkit.training.objective import objective_for
from transferkit.training.runner import Runner


class TrainedClassifier:
    """A model with the class names, image spec and history of its training; the base of `Trainer`."""

    model: keras.Model
    history: RunHistory
    seed: int
    engine: str
    _runner: Runner

    def evaluate(self, dataset: Data | tf.data.Dataset) -> Report:
        """Evaluate the classifier on labeled images.

        Args:
            dataset: a tf.data.Dataset of (images, labels), such as `data.test`; or `Data`, for its test split, or the
                validation split where there is none.

        Returns:
            A `Report`: `.accuracy`, `.loss`, `.confusion_matrix`, `.plot()`, `.to_dict()`.

        Raises:
            DataError: when class names or image spec differ from those of the training data.
            TypeError: when there is no dataset.
        """
        if isinstance(dataset, Data):
            check_data(dataset, self.model, self._runner.classes)
            dataset = dataset.test if dataset.test is not None else dataset.validation
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(
                f"`dataset` must be a tf.data.Dataset of (images, labels). Received: {type(dataset).__name__}. "
                "Give data.test, or build the data with test= or validation=."
            )
        split = split_of(dataset)
        runner = self._runner
        names = class_names_of(
            split_of(dataset, same_elements=False), runner.classes, runner.compilation.objective.units
        )
        with without_retracing_warnings():
            evaluated = runner.evaluate(dataset, split)
        labels, logits = evaluated.labels, evaluated.logits
        objective = objective_for(self.model, multi_label=labels.ndim == 2 and labels.shape[1] > 1)
        objective = dataclasses.replace(objective, **runner.settings.objective)
        probabilities = to_probabilities(logits, objective.activation, len(names))
        loss, paths = objective.loss_of(labels, logits) + evaluated.penalty, None if split is None else split.paths
        return Report(labels, probabilities, class_names=names, loss=loss, paths=paths)

    def predictor(self) -> Predictor:
        """Return a `Predictor` with the present model and the class names and image spec of the training data.

        Raises:
            DataError: before the first phase of training.
        """
        return self._make_predictor("predictor()")

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Predict the classes of images; see `Predictor.predict`. For many calls, keep `trainer.predictor()`."""
        return self._make_predictor("predict()").predict(images)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Save the classifier as a folder for `transferkit.load`.

        The folder, which appears when it is complete, has the model in Keras' format, without augmentation, and a JSON
        file with class names, image spec and the history of training.

        Args:
            folder: str or path. A new or empty folder, or a classifier saved before, which is replaced.

        Returns:
            The path of the folder.

        Raises:
            ArtifactError: when the folder has other contents.
            DataError: before the first phase of training.
        """
        return save_classifier(folder, self._make_predictor("save()"), self.history.to_dict(), seed=self.seed)

    def _make_predictor(self, caller: str) -> Predictor:
        classes = self._runner.classes
        if classes is None:
            raise DataError(f"{caller} needs the class names. Received: no training data yet. Call fit(data) first.")
        activation = self._runner.compilation.objective.activation
        return Predictor(self.model, classes.class_names, classes.image_spec, activation=activation, engine=self.engine)
