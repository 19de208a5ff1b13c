"""What can be done with a classifier while and after it is trained: evaluation, prediction and saving."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.checks import check_choice
from transferkit._utils.process import without_retracing_warnings
from transferkit.calibration import Calibration, CalibrationTargets, fit_calibration, fit_interval
from transferkit.calibration.conformal import fewest_images
from transferkit.calibration.distribution import distance_threshold, neighbor_distances, reference_features
from transferkit.calibration.fitting import DEFAULT_COVERAGE
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.pipeline import evaluation_dataset, split_of
from transferkit.errors import DataError
from transferkit.evaluation.regression_report import RegressionReport
from transferkit.evaluation.report import Report
from transferkit.exporting import export
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.head import label_unit, unit_layer
from transferkit.modeling.embedding import embedding_model
from transferkit.prediction import NumberPrediction, Prediction, Predictions, Predictor, to_probabilities
from transferkit.runtimes.loading import NAMES, RUNTIMES
from transferkit.saving import TrainingDescription, save_classifier
from transferkit.training.arguments import TrainedClasses, check_data, class_names_of
from transferkit.training.history import RunHistory
from transferkit.training.objective import objective_for
from transferkit.training.runner import Runner

_DISTANCE_TOLERANCE = 1e-5


class TrainedClassifier:
    """A model with the class names, image spec and history of its training; the base of `Trainer`."""

    model: keras.Model
    history: RunHistory
    seed: int
    engine: str
    _runner: Runner

    def evaluate(self, dataset: Data | tf.data.Dataset) -> Any:
        """Evaluate the classifier on labeled images.

        Args:
            dataset: a tf.data.Dataset of (images, labels), such as `data.test`; or `Data`, for its test split, or the
                validation split where there is none.

        Returns:
            A `Report`: `.accuracy`, `.loss`, `.confusion_matrix`, `.plot()`, `.to_dict()`; for numbers as labels a
            `RegressionReport`: `.mean_absolute_error`, `.r2`, `.plot()`, `.to_dict()`.

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
        if self._predicts_numbers:
            objective = dataclasses.replace(objective_for(self.model), **runner.settings.objective)
            mean = objective.loss_of(labels, logits) + evaluated.penalty
            files = None if split is None else split.paths
            return RegressionReport(labels.reshape(-1), logits.reshape(-1), loss=mean, paths=files)
        thresholds = None
        if runner.calibration is not None:
            logits, thresholds = runner.calibration.scale(logits), runner.calibration.thresholds
        objective = objective_for(self.model, multi_label=labels.ndim == 2 and labels.shape[1] > 1)
        objective = dataclasses.replace(objective, **runner.settings.objective)
        probabilities = to_probabilities(logits, objective.activation, len(names))
        loss, paths = objective.loss_of(labels, logits) + evaluated.penalty, None if split is None else split.paths
        return Report(labels, probabilities, class_names=names, loss=loss, paths=paths, thresholds=thresholds)

    def calibrate(
        self,
        data: Data,
        *,
        precision: float | None = None,
        recall: float | None = None,
        accuracy: float | None = None,
        coverage: float | None = None,
        in_distribution: float | None = None,
    ) -> Calibration:
        """Calibrate the probabilities on the validation images.

        Logits are divided by the temperature with the smallest cross-entropy, shrunk toward 1 where few images speak
        for it; this changes no prediction. Further options add thresholds. Evaluation, prediction and saved classifiers
        use the calibration until the classifier is trained further.

        For numbers as labels, the calibration is the width of the interval from `low` to `high` of a prediction, which
        contains the true number with the probability `coverage`. Without a call, it is that of 0.9 on the validation
        images of the last phase of training.

        Args:
            data: `Data` with a validation split, none of whose images was trained on.
            precision: float in (0, 1]. Precision of the second of two classes, or of each independent label, for which
                the smallest threshold is set; `label_set` has the independent labels that reach theirs. Defaults to
                None, thresholds of 0.5.
            recall: float in (0, 1]. Recall likewise, for which the largest threshold is set. Defaults to None.
            accuracy: float in (0, 1]. Accuracy of the predictions whose `is_certain` is True. Defaults to None.
            coverage: float in (0, 1). Probability with which the `label_set` of a prediction contains the true label
                of an image from the same source; for numbers, with which the interval contains it. Defaults to None:
                no label sets, and 0.9 for numbers.
            in_distribution: float in (0, 1]. Fraction of the validation images whose `in_distribution` is True, because
                their features are as close to those of training images. The features of up to 5,000 training images
                are saved with the classifier. Defaults to None.

        Returns:
            The `Calibration`: `.temperature`, `.thresholds`, `.min_confidence`, `.set_threshold`, `.max_distance`,
            `.half_width`.

        Raises:
            DataError: when there are no validation images, or they do not match the classifier.
            ValueError: when an argument is out of range, or cannot be reached on the validation images.

        Example:

        >>> trainer.calibrate(data, accuracy=0.99, coverage=0.95)  # doctest: +SKIP
        >>> prediction = trainer.predict("photo.jpg")  # doctest: +SKIP
        >>> prediction.label if prediction.is_certain else prediction.label_set  # doctest: +SKIP

        References: Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599; Angelopoulos and
        Bates, "A Gentle Introduction to Conformal Prediction", 2021, arXiv:2107.07511.
        """
        targets = CalibrationTargets(precision, recall, accuracy, coverage, in_distribution)
        check_data(data, self.model, self._runner.classes)
        classes, split = self._trained_classes("calibrate()"), data.splits.get("validation")
        if split is None:
            raise DataError(
                "`data` must have validation images, on which the classifier was not trained. Received: data without. "
                "Build the data with validation=0.2."
            )
        _check_not_trained_on(split, self._runner.training_splits)
        with without_retracing_warnings():
            evaluated = self._runner.evaluate(data.validation, None if split.dataset is not None else split)
        labels = evaluated.labels
        if self._predicts_numbers:
            calibration = fit_interval(evaluated.logits[:, 0], labels, targets)
        else:
            labels = labels.astype(int) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1).astype(int)
            calibration = fit_calibration(evaluated.logits, labels, classes.class_names, targets)
        if in_distribution is not None:
            calibration = self._with_training_features(calibration, split, in_distribution)
        self._runner.calibration = calibration
        return calibration

    def _with_training_features(self, calibration: Calibration, split: Split, fraction: float) -> Calibration:
        model, training_split = embedding_model(self.model), self._runner.training_splits[-1]
        reference = reference_features(self._features(training_split, model), self.seed)
        distances = neighbor_distances(self._features(split, model), reference)
        # Engines differ by less than this; the image that the threshold was taken from must not exceed it on any.
        threshold = distance_threshold(distances, fraction) + _DISTANCE_TOLERANCE
        return dataclasses.replace(calibration, max_distance=threshold, training_features=reference)

    def _features(self, split: Split, model: keras.Model) -> Any:
        """Return the features of the images of a split, those of files and arrays from the feature store."""
        if split.dataset is not None:
            return self._make_predictor("calibrate()").embed(split)
        options = ExtractionOptions(engine=self.engine)
        return extract_features(split, model, options)[0]

    def predictor(self) -> Predictor:
        """Return a `Predictor` with the present model and the class names and image spec of the training data.

        Raises:
            DataError: before the first phase of training.
        """
        return self._make_predictor("predictor()")

    def predict(self, images: Any) -> Prediction | NumberPrediction | Predictions:
        """Predict classes or numbers of `images` as `Predictor.predict`; for many calls, keep `trainer.predictor()`."""
        return self._make_predictor("predict()").predict(images)

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        report: Report | RegressionReport | None = None,
        formats: Sequence[str] = (),
    ) -> Path:
        """Save the classifier, or the model of numbers, as a folder for `transferkit.load`.

        The folder, which appears when it is complete, has the model in Keras' format, without augmentation; a JSON file
        with class names, image spec, calibration and the history of training; and a model card, README.md, in the
        format of the Hugging Face Hub. A card that you have changed is kept.

        Args:
            folder: str or path. A new or empty folder, or a classifier saved before, which is replaced.
            report: `Report`, or `RegressionReport`, on images that were not trained on, whose metrics, intervals and
                plot the model card shows. Defaults to None, a card without them.
            formats: sequence of "openvino", "onnx" and "litert". Exported models that are added to the folder, with
                which `tk.load` runs the classifier without TensorFlow. Defaults to (), none.

        Returns:
            The path of the folder.

        Raises:
            ArtifactError: when the folder has other contents.
            DataError: before the first phase of training.
            ExportError: when an exported model differs from the Keras model; the folder has the Keras model.
            MissingExtraError: when a package of a format is not installed.
            ValueError: when the report has other classes, or for an unknown format.

        Example:

        >>> trainer.save("cats_dogs", report=trainer.evaluate(data.test))  # doctest: +SKIP
        """
        for name in formats:
            check_choice("formats", name, RUNTIMES)
        predictor, phases = self._make_predictor("save()"), self.history.to_dict()
        described = {
            "labels" if self._predicts_numbers else "images": _describe_labels(
                self._runner.training_splits[-1], predictor.class_names
            )
        }
        if self._predicts_numbers and described["labels"] is not None:
            described["labels"]["name"] = self._runner.label_name
        saved = save_classifier(folder, predictor, TrainingDescription(self.seed, phases, **described, report=report))
        for name in formats:
            export(predictor, saved / NAMES[name], format=name, features=True)
        return saved

    def _make_predictor(self, caller: str) -> Predictor:
        classes, activation = self._trained_classes(caller), self._runner.compilation.objective.activation
        options: dict[str, Any] = {"engine": self.engine, "calibration": self._calibration()}
        return Predictor(self.model, classes.class_names, classes.image_spec, activation=activation, **options)

    @property
    def _predicts_numbers(self) -> bool:
        return unit_layer(self.model) is not None

    def _calibration(self) -> Calibration | None:
        """Return the calibration; of numbers, after a phase with enough validation images, there always is one."""
        runner, split = self._runner, self._runner.validation_split
        if runner.calibration is None and self._predicts_numbers and split is not None:
            is_enough = len(split) >= fewest_images(DEFAULT_COVERAGE)
            if is_enough and not _count_trained_on(split, runner.training_splits):
                evaluated = runner.evaluate(evaluation_dataset(split, batch_size=32), split)
                runner.calibration = fit_interval(evaluated.logits[:, 0], evaluated.labels, CalibrationTargets())
        return runner.calibration

    def _trained_classes(self, caller: str) -> TrainedClasses:
        if self._runner.classes is None:
            raise DataError(f"{caller} needs the class names. Received: no training data yet. Call fit(data) first.")
        return self._runner.classes


def _describe_labels(split: Split, class_names: Sequence[str]) -> dict[str, Any] | None:
    """Return the number of images of each class, or the distribution of numbers; None for a tf.data.Dataset."""
    labels = split.labels
    if split.dataset is not None:
        return None
    if split.target == "class":
        counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(class_names))
        return {name: int(count) for name, count in zip(class_names, counts)}
    mean, deviation = label_unit(labels, split.weights)
    ends = {"minimum": float(labels.min()), "maximum": float(labels.max())}
    return {"images": len(labels), "mean": mean, "standard_deviation": deviation, **ends}


def _check_not_trained_on(split: Split, training_splits: Sequence[Split]) -> None:
    """Raise a DataError when images of `split` were trained on: their probabilities are too high."""
    count = _count_trained_on(split, training_splits)
    if count:
        raise DataError(
            f"The validation images must not be training images. Received: {count} of {len(split)} on which the "
            "classifier was trained. Calibrate on the data that it was trained with, or on new images."
        )


def _count_trained_on(split: Split, training_splits: Sequence[Split]) -> int:
    """Return the number of images of `split` that were trained on; 0 for a tf.data.Dataset."""
    known = [one for one in training_splits if one.dataset is None]
    trained = {key for one in known for key in one.content_hashes()} if split.dataset is None else set()
    return sum(key in trained for key in split.content_hashes()) if trained else 0
