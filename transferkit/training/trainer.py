"""The trainer: a frozen phase, a fine-tuning phase, evaluation, saving."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.checks import check_choice, check_int, check_number
from transferkit._utils.gc import frozen_gc
from transferkit.classifier import find_backbone
from transferkit.data.examples import Data
from transferkit.data.pipeline import split_of
from transferkit.errors import DataError
from transferkit.evaluation.report import Report
from transferkit.features.half import FEATURE_DTYPES
from transferkit.modeling.freezing import unfreeze
from transferkit.modeling.keras_graph import all_layers
from transferkit.modeling.partition import ModelPartition, partition_model
from transferkit.prediction import Prediction, Predictor, to_probabilities
from transferkit.training.checkpoint import Checkpoint, CheckpointCallback
from transferkit.training.history import History, Phase, RunHistory
from transferkit.training.linear_solver import SOLVERS, solve_linear_head
from transferkit.training.logits import logits_of
from transferkit.training.loop import run_fit
from transferkit.training.objective import objective_for
from transferkit.training.phases import Extractor, Prepared, extract_features, jit_compile_mode, on_features, on_images
from transferkit.training.plan import Plan, make_plan
from transferkit.training.precision import check_precision, mixed_precision_training, scaled
from transferkit.training.precision_tuning import PrecisionChoice, select_precision
from transferkit.training.reseed import ReseedCallback


class Trainer:
    """Trains a classifier: first its head on the frozen backbone, then the upper layers of the backbone too.

    What is constant in a phase, the frozen part of the model, is run once for every image, on the fastest engine
    of the machine, and kept in a store on disk; only what changes is trained. `cache=False` means ordinary Keras
    training, batch by batch; the losses are the same either way.

    Args:
        model: keras.Model from RGB images in [0, 255] to logits, as `build_classifier` makes it.
        learning_rate: of Adam in the frozen phase, above 0.
        seed: integer of at least 0: order of the images, augmentation and dropout follow from it.
        cache: whether constant work may be done once and stored.
        checkpoint_dir: folder for the state after each epoch, or None. The same script, run again after an
            interruption, goes on from there and ends with the weights of the unbroken run; the state of callbacks
            (the patience of early stopping) starts anew.
        callbacks: Keras callbacks for every phase.
        engine: what runs the constant part: "auto" or a name that `transferkit.engines` knows.
        precision: "float32"; or "bfloat16", in which the constant part runs faster, with features that are off by
            1e-3 to 1e-2 of the largest in the mean, and the convolutions and dense layers of the trained part compute
            where a step was measured to be faster so. With a GPU, also "float16". Variables, optimizer, loss, logits
            and statistics stay float32, and so does the model that is saved.
        max_feature_bytes: largest size of stored features of a phase in bytes; None for the smaller of 10 GB and
            half the free disk.
        feature_dtype: "float32", or "float16" for stored features of half the size, rounded to three digits.

    Attributes:
        model: the keras.Model, compiled.
        history: all phases, a `RunHistory`.

    Raises:
        ValueError: when an argument is out of its range, or the model does not give logits.

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
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`model` must be a keras.Model. Received: {type(model).__name__}. Make one with build_classifier(...)."
            )
        self.model = model
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.seed = check_int("seed", seed, minimum=0)
        self.cache = bool(cache)
        self.checkpoint_dir = None if checkpoint_dir is None else Path(checkpoint_dir)
        self.callbacks = tuple(callbacks)
        self.engine = engine
        self.precision = check_precision(precision)
        self.max_feature_bytes = (
            None if max_feature_bytes is None else check_int("max_feature_bytes", max_feature_bytes, minimum=0)
        )
        self.feature_dtype = check_choice("feature_dtype", feature_dtype, FEATURE_DTYPES)
        self.history = RunHistory()
        self._objective = objective_for(model)
        self._data: Data | None = None
        self._known_cut: tuple[Any, ModelPartition] | None = None
        self._compile(self.learning_rate)

    def fit(
        self,
        data: Data,
        epochs: int = 10,
        *,
        views: int | str = "auto",
        solver: str = "adam",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: dict[int, float] | None = None,
        verbose: int | str = "auto",
    ) -> History:
        """Train what is trainable: the head alone, while the backbone is frozen.

        A second call goes on from the first, with the state of the optimizer.

        Args:
            data: what `DatasetBuilder.build()` gave.
            epochs: number of epochs.
            views: versions of each training image that are run through the frozen part once; epochs take them in turn.
                With two or more, the first is the image as it is and the others are augmented draws; with one, half
                of the images come as they are and half in a draw. "auto" is one, by what was measured
                (docs/speed.md). Without augmentation there is one, the image as it is.
            solver: "adam" steps through the epochs; "lbfgs" sets a linear head to its optimum at once, the strength of
                its regularisation chosen on the validation images, and counts as one epoch without callbacks.
            callbacks: Keras callbacks for this call, after the trainer's own.
            class_weight: class index to weight, or None.
            verbose: 0 silent, 1 progress bar, 2 a line an epoch, "auto".

        Returns:
            Keras' History: `.history` is a dict of lists.

        Raises:
            DataError: when the head does not fit the data.
            ValueError: when "lbfgs" is asked for and the head is not linear.
        """
        if check_choice("solver", solver, SOLVERS) == "lbfgs":
            return self._record_solution(data, views)
        options = {"callbacks": callbacks, "class_weight": class_weight, "verbose": verbose}
        return self._train("frozen", data, epochs, views, options)

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
        views: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: dict[int, float] | None = None,
        verbose: int | str = "auto",
    ) -> History:
        """Unfreeze the upper layers of the backbone and train on, at a lower learning rate.

        Batch normalisation stays in inference mode unless `batch_norm` says otherwise. Give one of
        `unfreeze_from`, `fraction` and `blocks`; with none of them the upper third of the layers is unfrozen.

        Args:
            data: what `DatasetBuilder.build()` gave.
            epochs: number of epochs.
            unfreeze_from: number or name of the backbone's first layer to train.
            fraction: share of the backbone's layers to train, from the top, in [0, 1].
            blocks: number of blocks to train, from the top.
            batch_norm: whether the batch normalisation of the unfrozen layers trains too, statistics included.
            learning_rate: above 0; by default a tenth of the trainer's.
            views, callbacks, class_weight, verbose: as in `fit`.

        Returns:
            Keras' History; its epochs are numbered on from those before.

        Raises:
            ValueError: when there is no such layer, or more than one way of choosing was given.
        """
        rate = (
            self.learning_rate / 10 if learning_rate is None else check_number("learning_rate", learning_rate, above=0)
        )
        if unfreeze_from is None and fraction is None and blocks is None:
            fraction = 1 / 3
        check_int("epochs", epochs)
        self._check_data(data)
        unfreeze(find_backbone(self.model), unfreeze_from, fraction=fraction, blocks=blocks, batch_norm=batch_norm)
        # A change of `trainable` takes effect only when the model is compiled again.
        self._compile(rate)
        options = {"callbacks": callbacks, "class_weight": class_weight, "verbose": verbose}
        return self._train("fine-tuning", data, epochs, views, options)

    def plan(self, data: Data, *, views: int | str = "auto") -> Plan:
        """Return which part of the model is constant now, what of it is stored and what the rest costs, and in which
        precision what is trained will compute; `print` it.

        Args:
            data: what `DatasetBuilder.build()` gave.
            views: as in `fit`.
        """
        plan = self._plan(data, views)
        if plan.trained_on == "features" and plan.cut is not None:
            plan = dataclasses.replace(plan, cost=self._extractor().cost(data, plan.cut, plan.views))
        return plan

    def evaluate(self, dataset: Data | tf.data.Dataset) -> Report:
        """Measure the classifier on held-out images.

        Args:
            dataset: `data.test` or another dataset of (images, labels); or `data`, for its test split, or its
                validation split where there is no test split.

        Returns:
            A `Report`: `.accuracy`, `.loss`, `.confusion_matrix`, `.plot()`, `.to_dict()`.
        """
        if isinstance(dataset, Data):
            self._check_data(dataset)
            self._data = dataset
            dataset = dataset.test if dataset.test is not None else dataset.validation
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(
                f"`dataset` must be a tf.data.Dataset of (images, labels). Received: {type(dataset).__name__}. "
                "Give data.test, or build the data with test= or validation=."
            )
        logits, labels = logits_of(
            self.model, dataset, cut=self._cut() if self.cache else None, extractor=self._extractor()
        )
        names, split = self._class_names(), split_of(dataset)
        return Report(
            labels,
            to_probabilities(logits, self._objective.activation, len(names)),
            class_names=names,
            loss=self._objective.loss_of(labels, logits),
            paths=None if split is None else split.paths,
        )

    def predictor(self) -> Predictor:
        """Return a `Predictor` with the model as it is now, the class names and the pixels of the training data."""
        data = self._known_data("predict")
        return Predictor(
            self.model,
            data.class_names,
            data.image_spec,
            activation=self._objective.activation,
            engine=self.engine,
        )

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Label images by path, bytes or pixels, as `Predictor.predict` does."""
        return self.predictor().predict(images)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Save the classifier as a folder that `transferkit.load` reads; return the folder.

        The folder holds the model in Keras' own format, without the augmentation, and a JSON file with the class
        names, how pixels are made, and the record of the training. It appears whole or not at all.
        """
        from transferkit.saving import save_classifier

        return save_classifier(folder, self.predictor(), self.history, seed=self.seed)

    def _plan(self, data: Data, views: int | str) -> Plan:
        self._check_data(data)
        plan = make_plan(
            self.model,
            data,
            cut=self._cut(),
            cache=self.cache,
            views=self._view_count(views),
            limit=self.max_feature_bytes,
            feature_dtype=self.feature_dtype,
        )
        return dataclasses.replace(plan, precision=self._choice(plan, data, measure=False))

    def _train(self, name: str, data: Data, epochs: int, views: int | str, options: dict[str, Any]) -> History:
        check_int("epochs", epochs)
        plan = self._plan(data, views)
        self._data = data
        first_epoch = sum(phase.epochs for phase in self.history)
        rate = float(self.model.optimizer.learning_rate)
        plan = dataclasses.replace(plan, precision=self._choice(plan, data, measure=True))
        checkpoint = self._checkpoint(plan, data, name, epochs, rate)
        done, finished = checkpoint.restore(self.model) if checkpoint is not None else ({}, False)
        started = time.perf_counter()
        if not finished:
            with frozen_gc():
                done = self._run(plan, data, first_epoch, epochs, done, checkpoint, options)
        seconds = time.perf_counter() - started
        self.history.append(Phase(name, done, first_epoch, seconds, rate, plan.trained_on, plan.precision.precision))
        return _as_history(self.model, done, first_epoch)

    def _run(
        self,
        plan: Plan,
        data: Data,
        first_epoch: int,
        epochs: int,
        done: dict[str, list[float]],
        checkpoint: Checkpoint | None,
        options: dict[str, Any],
    ) -> dict[str, list[float]]:
        resumed = len(done.get("loss", ()))
        span: dict[str, Any] = {"first_epoch": first_epoch + resumed, "epochs": epochs - resumed}
        callbacks = [ReseedCallback(self.model, self.seed), *self.callbacks, *options.pop("callbacks")]
        if checkpoint is not None:
            # The checkpoint comes last, so that it holds what the other callbacks did at the end of an epoch.
            callbacks.append(CheckpointCallback(checkpoint, self.model, done))
        with mixed_precision_training(_trained_part(self.model, plan), plan.precision.precision):
            history = run_fit(self._prepare(plan, data, **span), self.model, callbacks=callbacks, **span, **options)
        return {name: [*done.get(name, []), *map(float, values)] for name, values in history.history.items()}

    def _prepare(self, plan: Plan, data: Data, *, first_epoch: int, epochs: int) -> Prepared:
        span = {"first_epoch": first_epoch, "epochs": epochs}
        if plan.trained_on == "images" or plan.cut is None:
            return on_images(self.model, data, seed=self.seed, **span)
        features = extract_features(data, plan.cut, views=plan.views, extractor=self._extractor())
        return on_features(self.model, data, plan.cut, features, seed=self.seed, objective=self._objective, **span)

    def _solve(self, plan: Plan, data: Data) -> dict[str, list[float]]:
        if plan.trained_on == "images" or plan.cut is None:
            raise ValueError(
                f"`solver='lbfgs'` must be given stored features to solve on. Received: {plan.reason}. "
                "Use solver='adam'."
            )
        features = extract_features(data, plan.cut, views=plan.views, extractor=self._extractor())
        return solve_linear_head(
            plan.cut.upper,
            features.views,
            features.labels,
            features.held_out,
            objective=self._objective,
            num_classes=data.num_classes,
        )

    def _cut(self) -> ModelPartition:
        # Taking a model apart takes time, and its parts carry compiled functions; so it is kept while it holds.
        state = tuple((id(layer), layer.trainable) for layer in all_layers(self.model))
        if self._known_cut is None or self._known_cut[0] != state:
            self._known_cut = state, partition_model(self.model)
        return self._known_cut[1]

    def _extractor(self) -> Extractor:
        return Extractor(self.seed, self.engine, self.precision, self.feature_dtype)

    def _record_solution(self, data: Data, views: int | str) -> History:
        plan = self._plan(data, views)
        self._data = data
        first_epoch = sum(phase.epochs for phase in self.history)
        started = time.perf_counter()
        done = self._solve(plan, data)
        seconds = time.perf_counter() - started
        self.history.append(Phase("frozen", done, first_epoch, seconds, 0.0, plan.trained_on))
        return _as_history(self.model, done, first_epoch)

    def _choice(self, plan: Plan, data: Data, *, measure: bool) -> PrecisionChoice:
        part = _trained_part(self.model, plan)
        return select_precision(part, self.precision, batch_size=data.batch_size, measure=measure)

    def _checkpoint(self, plan: Plan, data: Data, name: str, epochs: int, rate: float) -> Checkpoint | None:
        if self.checkpoint_dir is None:
            return None
        identity = {
            "phase": name,
            "seed": self.seed,
            "learning_rate": rate,
            "batch_size": data.batch_size,
            "precision": self.precision,
            "mixed_precision_training": plan.precision.precision,
            "epochs": epochs,
            "classes": list(data.class_names),
            "images": {split: len(files) for split, files in data.files.items()},
            # Sums come out otherwise with another number of threads.
            "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
        }
        return Checkpoint(self.checkpoint_dir, len(self.history), identity)

    def _class_names(self) -> tuple[str, ...]:
        if self._data is not None:
            return tuple(self._data.class_names)
        return tuple(f"class {index}" for index in range(max(2, self._objective.units)))

    def _known_data(self, what: str) -> Data:
        if self._data is None:
            raise DataError(
                f"The trainer must have seen the data to {what}: they name the classes. Received: no data yet. "
                "Call fit(data) or evaluate(data) first."
            )
        return self._data

    def _check_data(self, data: Any) -> None:
        if not isinstance(data, Data):
            raise TypeError(
                f"`data` must be what DatasetBuilder(...).build() gives. Received: {type(data).__name__}. "
                "Wrap a dataset of your own with DatasetBuilder(dataset, ...).build()."
            )
        if data.multi_label and self._objective.kind != "multi_label":
            self._objective = objective_for(self.model, multi_label=True)
            self._compile(float(self.model.optimizer.learning_rate))
        self._objective.check_fits(data)
        expected = tuple(self.model.input_shape[1:3])
        if None not in expected and expected != tuple(data.image_size):
            raise DataError(
                f"The images must have the size that the model takes, {expected}. Received: {tuple(data.image_size)}. "
                f"Build the data with image_size={expected}."
            )

    def _view_count(self, views: int | str) -> int:
        return DEFAULT_NUM_VIEWS if views == "auto" else check_int("views", views)

    def _compile(self, learning_rate: float) -> None:
        self.model.compile(
            optimizer=scaled(keras.optimizers.Adam(learning_rate), self.precision),
            loss=self._objective.loss(),
            metrics=self._objective.metrics(),
            jit_compile=jit_compile_mode(),
        )
        # Built for the whole model, the optimizer lists its variables in one order, whichever part is trained.
        self.model.optimizer.build(self.model.trainable_variables)

    def __repr__(self) -> str:
        return f"Trainer({self.model.name!r}, learning_rate={self.learning_rate:g}, {self.history!r})"


# Measured on photographs of cats and dogs: docs/speed.md has the curve.
DEFAULT_NUM_VIEWS = 1


def _trained_part(model: keras.Model, plan: Plan) -> keras.Model:
    return plan.cut.upper if plan.trained_on == "features" and plan.cut is not None else model


def _as_history(model: keras.Model, history: dict[str, list[float]], first_epoch: int) -> History:
    record = History()
    record.set_model(model)
    record.history = history
    record.epoch = list(range(first_epoch, first_epoch + len(history.get("loss", ()))))
    model.history = record
    return record
