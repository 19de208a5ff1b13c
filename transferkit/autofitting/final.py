"""Trains the chosen candidate on all images of the search, calibrates it, and evaluates it on the test images."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit.autofitting.candidates import Candidate
from transferkit.autofitting.development import Development
from transferkit.autofitting.ensembles import Member, build_ensemble
from transferkit.autofitting.heads import to_logits
from transferkit.autofitting.search import SearchResult
from transferkit.calibration import Calibration, CalibrationTargets, fit_calibration
from transferkit.evaluation.report import Report
from transferkit.prediction import Predictor, to_probabilities
from transferkit.saving import TrainingDescription
from transferkit.training import Trainer


class FinalClassifier:
    """The chosen candidate, trained on all images of the search.

    Args:
        candidate: the chosen one.
        found: the result of the search.
        development: the images.

    Attributes:
        calibration: fitted on predictions of images by classifiers that were trained without them.
    """

    def __init__(self, candidate: Candidate, found: SearchResult, development: Development) -> None:
        self._development, self._sample = development, found.sample
        labels, names = found.sample.split.labels, development.data.class_names
        if candidate.fine_tuned is not None:
            tuned = candidate.fine_tuned
            self._trainers = [(tuned.trainer, 1.0, 0)]
            logits, labels = tuned.logits * tuned.temperature, labels[tuned.images]
        else:
            chosen = [(found.trials[index], factor) for index, factor in candidate.members.items()]
            self._trainers = []
            for trial, factor in chosen:
                backbone = found.sources[trial.backbone].backbone
                trainer = trial.head.train(backbone, development, found.sample, development.seed)
                self._trainers.append((trainer, factor, trial.backbone))
            logits = np.sum([factor * trial.temperature * trial.logits for trial, factor in chosen], axis=0)
        is_multi_label = labels.ndim == 2
        labels = labels.astype(int) if is_multi_label else labels
        self.calibration: Calibration = fit_calibration(logits, labels, names, CalibrationTargets())
        self._activation = "sigmoid" if is_multi_label or len(names) == 2 else "softmax"

    def predictor(self) -> Predictor:
        """Return the classifier as one Keras model."""
        (trainer, factor, _), *others = self._trainers
        model = trainer.model
        if others or factor != 1.0:
            model = build_ensemble([Member(one.model, factor, key) for one, factor, key in self._trainers])
        data = self._development.data
        options: dict[str, Any] = {"activation": self._activation, "calibration": self.calibration}
        return Predictor(model, data.class_names, data.image_spec, **options)

    def report(self) -> Report:
        """Return the report on the test images, whose features are cached."""
        test, names = self._development.test, self._development.data.class_names
        logits = np.sum([factor * self._logits(trainer) for trainer, factor, _ in self._trainers], axis=0)
        scaled = self.calibration.scale(logits)
        probabilities = to_probabilities(scaled, self._activation, len(names))
        return Report(test.labels, probabilities, class_names=names, paths=test.paths)

    def description(self, report: Report) -> TrainingDescription:
        """Return how the classifier was trained."""
        phases = [phase for trainer, _, _ in self._trainers for phase in trainer.history.to_dict()]
        labels, names = self._sample.split.labels, self._development.data.class_names
        counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(names))
        images = {name: int(count) for name, count in zip(names, counts)}
        return TrainingDescription(self._development.seed, phases, images, report)

    def _logits(self, trainer: Trainer) -> np.ndarray:
        data = self._development.data_of(self._sample.split, self._development.test)
        return to_logits(trainer.evaluate(data).probabilities, data.multi_label)
