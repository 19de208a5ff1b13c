"""The trainer: frozen phase, fine-tuning, evaluation, prediction and saving."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int, check_number
from transferkit._utils.process import frozen_gc, without_retracing_warnings
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.pipeline import evaluation_dataset, split_of
from transferkit.engines.selection import ENGINES
from transferkit.errors import DataError
from transferkit.evaluation.report import Report
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.modeling.freezing import unfreeze
from transferkit.modeling.image_model import check_image_model
from transferkit.modeling.keras_graph import find_backbone
from transferkit.modeling.precision import check_precision
from transferkit.modeling.sharing import warn_if_shared
from transferkit.prediction import Prediction, Predictor, to_probabilities
from transferkit.saving import save_classifier
from transferkit.training.arguments import (
    TrainedClasses,
    check_callbacks,
    check_data,
    check_monitors,
    check_num_views,
    check_solver,
    choose_verbosity,
    class_names_of,
)
from transferkit.training.checkpoint import Checkpoint, CheckpointCallback
from transferkit.training.class_weight import ClassWeight, resolve_class_weight
from transferkit.training.compilation import Compilation, check_not_compiled
from transferkit.training.evaluation import Evaluated, evaluate_batches
from transferkit.training.feature_data import evaluation_batches, extraction_cost, load_features
from transferkit.training.feature_model import ModelParts
from transferkit.training.history import History, Phase, RunHistory, make_history
from transferkit.training.linear_solver import solve_linear_head
from transferkit.training.objective import objective_for
from transferkit.training.phases import (
    FitOptions,
    PhaseRun,
    ReseedCallback,
    train_on_features,
    train_on_images,
)
from transferkit.training.plan import CacheSettings, Plan, make_plan
from transferkit.training.precision_tuning import select_precision
from transferkit.training.run_identity import run_identity

Metrics = dict[str, list[float]]


@suggests_arguments
class Trainer:
    """Trains a classifier: first its head on the frozen backbone, then the upper layers of the backbone too.

    The frozen part of the model is run once per image, on the fastest engine of the machine, and its features are
    cached on disk; only the rest is trained. With cache=False the whole model is trained on images by Keras' `fit`,
    with the same losses.

    Args:
        model: keras.Model from RGB images in [0, 255] to logits, for example from `build_classifier`.
        learning_rate: float > 0. Adam's learning rate in the frozen phase. Defaults to 1e-4.
        seed: int >= 0. Seed of the order of the images, of augmentation and of dropout. Defaults to 0.
        cache: bool. Whether features may be cached. Defaults to True.
        checkpoint_dir: str or path. Folder for the state after each epoch. The same script, run again after an
            interruption, continues from there and ends with the weights of the unbroken run; only the state of
            callbacks (such as the patience of early stopping) starts again. Defaults to None.
        callbacks: sequence of keras.callbacks.Callback, for every phase. Defaults to ().
        engine: "auto", "keras", "frozen_graph" or "openvino" (extra `fast`). The engine of the frozen part. Defaults to
            "auto", the fastest.
        precision: "float32"; "bfloat16", in which the frozen part is about twice as fast, with features off by 1e-3 to
            1e-2 of the largest on average, and in which convolutions and dense layers of the trained part compute where
            that was measured to be faster; or "float16", on GPUs. Variables, optimizer, loss, logits and the saved
            model stay float32. Defaults to "float32".
        max_feature_bytes: int >= 0. Maximum size of the cached features of a phase, in bytes. Defaults to the smaller
            of 10 GB and half the free disk.
        feature_dtype: "float32", or "float16" for cached features of half the size, rounded to three digits. Defaults
            to "float32".

    Attributes:
        model: the keras.Model, compiled.
        history: `RunHistory` of all phases.

    Raises:
        TypeError: when the model is not a keras.Model.
        ValueError: when an argument is out of range, or the model does not end in logits.

    Example:

    >>> trainer = Trainer(model, learning_rate=1e-4)  # doctest: +SKIP
    >>> trainer.fit(data, epochs=10).history["val_accuracy"]  # doctest: +SKIP
    >>> trainer.fine_tune(data, epochs=10, unfreeze_from=100)  # doctest: +SKIP

    Reference: https://keras.io/guides/transfer_learning/
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        learning_rate: float = 1e-4,
        seed: int = 0,
        cache: bool = True,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        engine: str = "auto",
        precision: str = "float32",
        max_feature_bytes: int | None = None,
        feature_dtype: str = "float32",
    ) -> None:
        check_image_model(model)
        check_not_compiled(model)
        self.model = model
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.seed = check_int("seed", seed, minimum=0)
        self.checkpoint_dir = None if checkpoint_dir is None else Path(checkpoint_dir)
        self.callbacks = check_callbacks(callbacks)
        self.engine = check_choice("engine", engine, ENGINES)
        self.precision = check_precision(precision)
        self.cache = CacheSettings(bool(cache), max_feature_bytes, feature_dtype)
        self.history = RunHistory()
        self._extraction = ExtractionOptions(seed, engine, precision, feature_dtype=feature_dtype)
        self._compilation = Compilation(model, precision, objective_for(model), learning_rate)
        self._classes: TrainedClasses | None = None
        self._parts: ModelParts | None = None

    def fit(
        self,
        data: Data,
        epochs: int = 10,
        *,
        num_views: int | str = "auto",
        solver: str = "adam",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: ClassWeight = None,
        verbose: int | str = "auto",
    ) -> History:
        """Train the trainable layers: the head alone, while the backbone is frozen.

        A second call continues with the state of the optimizer.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            epochs: int >= 1. Defaults to 10.
            num_views: int >= 1 or "auto". Views of each training image whose features are cached; epochs use them in
                turn. With 2 or more, the first is the original image and the others are augmented; with 1, half of the
                images are augmented. Without augmentation there is 1, the original. Defaults to "auto", which is 1.
            solver: "adam", or "lbfgs" to set a linear head to its optimum, with the regularization chosen on the
                validation images; this counts as one epoch, without callbacks. Defaults to "adam".
            callbacks: sequence of keras.callbacks.Callback for this call, after the trainer's. Defaults to ().
            class_weight: dict of class name or index to weight, a number of at least 0; classes that are not given have
                the weight 1. "balanced" gives each class the same total weight. Defaults to None.
            verbose: 0 (silent), 1 (progress bar), 2 (one line per epoch) or "auto": 1 on a terminal, else 2. Defaults
                to "auto".

        Returns:
            Keras' History; `.history` is a dict of lists.

        Raises:
            DataError: when the head does not match the data, or the data not that of an earlier phase.
            ValueError: when an argument is out of range, or "lbfgs" is used without a linear head.
        """
        check_solver(solver, callbacks, class_weight)
        options = self._fit_options(data, callbacks, class_weight, verbose)
        return self._run_phase("frozen", data, check_int("epochs", epochs), num_views, options, solver)

    def fine_tune(
        self,
        data: Data,
        epochs: int = 10,
        *,
        unfreeze_from: int | str | None = None,
        fraction: float | None = None,
        blocks: int | None = None,
        batch_norm: bool = False,
        learning_rate: float | None = None,
        num_views: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: ClassWeight = None,
        verbose: int | str = "auto",
    ) -> History:
        """Unfreeze the upper layers of the backbone and continue training at a lower learning rate.

        Give at most one of `unfreeze_from`, `fraction` and `blocks`; without any, the upper third of the layers is
        unfrozen. Batch normalization stays in inference mode unless `batch_norm` is True.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            epochs: int >= 1. Defaults to 10.
            unfreeze_from: int or str. Index or name of the first trainable layer of the backbone. Defaults to None.
            fraction: float in [0, 1]. Fraction of the backbone's layers, from the top. Defaults to None.
            blocks: int >= 1. Number of blocks, from the top. Defaults to None.
            batch_norm: bool. Whether batch normalization above the boundary is trained, statistics included. Defaults
                to False.
            learning_rate: float > 0. Defaults to a tenth of the trainer's.
            num_views, callbacks, class_weight, verbose: as in `fit`.

        Returns:
            Keras' History; its epochs continue the numbering of earlier phases.

        Raises:
            DataError: as in `fit`.
            ValueError: when there is no such layer, or more than one way to choose it is given.
        """
        default_rate = self.learning_rate / 10
        rate = default_rate if learning_rate is None else check_number("learning_rate", learning_rate, above=0)
        if unfreeze_from is None and fraction is None and blocks is None:
            fraction = 1 / 3
        check_int("epochs", epochs)
        num_views = check_num_views(num_views)
        options = self._fit_options(data, callbacks, class_weight, verbose)
        choice: dict[str, Any] = {"fraction": fraction, "blocks": blocks, "batch_norm": batch_norm}
        backbone = find_backbone(self.model)
        warn_if_shared(backbone, self.model)
        unfreeze(backbone, unfreeze_from, **choice, argument="unfreeze_from")
        self._compilation.renew(self._compilation.objective, rate)
        return self._run_phase("fine-tuning", data, epochs, num_views, options)

    def plan(self, data: Data, *, num_views: int | str = "auto") -> Plan:
        """Return how `fit` would train now: what is frozen, what is cached, and what the rest costs; `print` it.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            num_views: as in `fit`. Defaults to "auto".

        Returns:
            A `Plan`. Nothing is changed.
        """
        check_data(data, self.model, self._classes)
        plan = self._plan(data, num_views, measure=False)
        if plan.trained_on == "features":
            plan = dataclasses.replace(plan, cost=extraction_cost(plan, data, self._extraction))
        return plan

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
            check_data(dataset, self.model, self._classes)
            dataset = dataset.test if dataset.test is not None else dataset.validation
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(
                f"`dataset` must be a tf.data.Dataset of (images, labels). Received: {type(dataset).__name__}. "
                "Give data.test, or build the data with test= or validation=."
            )
        split = split_of(dataset)
        names = class_names_of(split_of(dataset, same_elements=False), self._classes, self._compilation.objective.units)
        with without_retracing_warnings():
            evaluated = self._evaluate(dataset, split)
        labels, logits = evaluated.labels, evaluated.logits
        objective = objective_for(self.model, multi_label=labels.ndim == 2 and labels.shape[1] > 1)
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

    def _fit_options(self, data: Data, callbacks: Any, class_weight: Any, verbose: int | str) -> FitOptions:
        check_data(data, self.model, self._classes)
        used = check_monitors((*self.callbacks, *check_callbacks(callbacks)), data)
        return FitOptions(used, resolve_class_weight(class_weight, data), choose_verbosity(verbose))

    def _run_phase(
        self, name: str, data: Data, epochs: int, num_views: int | str, options: FitOptions, solver: str = "adam"
    ) -> History:
        self._compilation.prepare(check_data(data, self.model, self._classes))
        plan = self._plan(data, num_views, measure=solver == "adam")
        rate, precision = self._compilation.learning_rate, plan.precision.precision
        first_epoch, started = self.history.epochs, time.perf_counter()
        with frozen_gc(), without_retracing_warnings():
            if solver == "adam":
                metrics = self._train(plan, data, epochs, options, self._checkpoint(name, plan, data, epochs, options))
            else:
                metrics, rate, precision = self._solve(plan, data), 0.0, "float32"
                self._classes = TrainedClasses(tuple(data.class_names), data.image_spec)
        seconds = time.perf_counter() - started
        self.history.append(Phase(name, metrics, first_epoch, seconds, rate, plan.trained_on, precision))
        return make_history(self.model, metrics, first_epoch)

    def _checkpoint(self, name: str, plan: Plan, data: Data, epochs: int, options: FitOptions) -> Checkpoint | None:
        if self.checkpoint_dir is None:
            return None
        identity = {
            **{"phase": name, "epochs": epochs, "seed": self.seed, "learning_rate": self._compilation.learning_rate},
            **{"engine": self.engine, "precision": self.precision, "feature_dtype": self.cache.dtype},
            **{"trained_in": plan.precision.precision, "trained_on": plan.trained_on, "num_views": plan.num_views},
            "class_weight": options.class_weight and sorted(options.class_weight.items()),
        }
        return Checkpoint(self.checkpoint_dir, len(self.history), run_identity(self.model, data, identity))

    def _train(
        self, plan: Plan, data: Data, epochs: int, options: FitOptions, checkpoint: Checkpoint | None
    ) -> Metrics:
        metrics, finished = checkpoint.restore(self.model) if checkpoint is not None else ({}, False)
        # Before training: an interruption keeps the weights trained so far.
        self._classes = TrainedClasses(tuple(data.class_names), data.image_spec)
        if finished:
            return metrics
        callbacks = [ReseedCallback(self.model, self.seed), *options.callbacks]
        if checkpoint is not None:
            # Last, so that it has what the other callbacks did at the end of an epoch.
            callbacks.append(CheckpointCallback(checkpoint, self.model, metrics))
        first_epoch, last_epoch = self.history.epochs + len(metrics.get("loss", ())), self.history.epochs + epochs
        options = dataclasses.replace(options, callbacks=tuple(callbacks))
        run = PhaseRun(self.model, self._compilation.objective, self.seed, range(first_epoch, last_epoch), options)
        trained = self._model_parts().to_fit(plan.trained_on, plan.precision.precision)
        if plan.trained_on == "images":
            new = train_on_images(run, trained, data)
        else:
            new = train_on_features(run, trained, load_features(plan, data, self._extraction), data.batch_size)
        return {key: [*metrics.get(key, []), *map(float, values)] for key, values in new.items()}

    def _solve(self, plan: Plan, data: Data) -> Metrics:
        if plan.trained_on == "images":
            raise ValueError(f"`solver='lbfgs'` requires cached features. Received: {plan.reason}. Use solver='adam'.")
        features = load_features(plan, data, self._extraction)
        return solve_linear_head(plan.partition.trainable, features, self._compilation.objective, data.num_classes)

    def _plan(self, data: Data, num_views: int | str, *, measure: bool) -> Plan:
        plan = make_plan(self.model, data, self._model_parts().partition, self.cache, check_num_views(num_views))
        if self.precision == "float32":
            return plan
        part = plan.partition.trainable if plan.trained_on == "features" else self.model
        choice = select_precision(part, self.precision, batch_size=data.batch_size, measure=measure)
        return dataclasses.replace(plan, precision=choice)

    def _evaluate(self, dataset: tf.data.Dataset, split: Split | None) -> Evaluated:
        parts = self._model_parts()
        if split is None or split.dataset is not None:
            return evaluate_batches(parts.evaluation_step("images"), dataset)
        if not self.cache.enabled or parts.partition.frozen is None:
            # In the order of the split even where the dataset shuffles, so that the paths of the report are right.
            return evaluate_batches(parts.evaluation_step("images"), evaluation_dataset(split, batch_size=32))
        features = extract_features(split, parts.partition.frozen, self._extraction)
        return evaluate_batches(parts.evaluation_step("features"), evaluation_batches(features, split.labels))

    def _model_parts(self) -> ModelParts:
        self._parts = ModelParts.of(self.model, self._parts)
        return self._parts

    def _make_predictor(self, caller: str) -> Predictor:
        if self._classes is None:
            raise DataError(f"{caller} needs the class names. Received: no training data yet. Call fit(data) first.")
        names, spec = self._classes.class_names, self._classes.image_spec
        return Predictor(self.model, names, spec, activation=self._compilation.objective.activation, engine=self.engine)

    def __repr__(self) -> str:
        return f"Trainer({self.model.name!r}, learning_rate={self.learning_rate:g}, {self.history!r})"
