"""The trainer: a frozen phase, a fine-tuning phase, evaluation, saving."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._checks import check_choice, check_int, check_number
from transferkit.backbones.freezing import hold_batch_norm, unfreeze
from transferkit.classifier import find_backbone
from transferkit.data.pipeline import split_of, training_stream
from transferkit.data.records import Data, Split
from transferkit.errors import DataError
from transferkit.evaluation.report import Report
from transferkit.features.cut import constant_part
from transferkit.features.extract import feature_arrays
from transferkit.prediction import Prediction, Predictor, probabilities_of
from transferkit.training.batches import View, evaluation_batches, training_batches
from transferkit.training.history import History, Phase, RunHistory
from transferkit.training.loop import run_fit
from transferkit.training.objective import objective_for
from transferkit.training.plan import Plan, make_plan
from transferkit.training.seeding import SeedEveryEpoch

if TYPE_CHECKING:
    from transferkit.features.cut import Cut

__all__ = ["Trainer"]


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
        callbacks: Keras callbacks for every phase.
        engine: what runs the constant part: "auto" or a name that `transferkit.features.engines` knows.
        precision: "float32", or "bfloat16" for a constant part that runs faster and gives features that are off
            by 1e-4 to 1e-2 of the largest.
        feature_limit: largest size of stored features of a phase in bytes; None for the smaller of 10 GB and
            half the free disk.

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
        callbacks: Sequence[keras.callbacks.Callback] = (),
        engine: str = "auto",
        precision: str = "float32",
        feature_limit: int | None = None,
    ) -> None:
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`model` must be a keras.Model. Received: {type(model).__name__}. Make one with build_classifier(...)."
            )
        self.model = model
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)
        self.seed = check_int("seed", seed, minimum=0)
        self.cache = bool(cache)
        self.callbacks = tuple(callbacks)
        self.engine = engine
        self.precision = check_choice("precision", precision, ("float32", "bfloat16"))
        self.feature_limit = None if feature_limit is None else check_int("feature_limit", feature_limit, minimum=0)
        self.history = RunHistory()
        self._objective = objective_for(model)
        self._data: Data | None = None
        hold_batch_norm(find_backbone(model))
        self._compile(self.learning_rate)

    # -- training ---------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Data,
        epochs: int = 10,
        *,
        views: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: dict[int, float] | None = None,
        verbose: int | str = "auto",
    ) -> History:
        """Train what is trainable: the head alone, while the backbone is frozen.

        A second call goes on from the first, with the state of the optimizer.

        Args:
            data: what `DatasetBuilder.build()` gave.
            epochs: number of epochs.
            views: augmented draws of each image that are run through the frozen part once and then taken in turn;
                "auto" chooses by what was measured (docs/speed.md). Without augmentation there is one.
            callbacks: Keras callbacks for this call, after the trainer's own.
            class_weight: class index to weight, or None.
            verbose: 0 silent, 1 progress bar, 2 a line an epoch, "auto".

        Returns:
            Keras' History: `.history` is a dict of lists.

        Raises:
            DataError: when the head does not fit the data.
        """
        return self._train("frozen", data, epochs, views, callbacks, class_weight, verbose)

    def fine_tune(
        self,
        data: Data,
        epochs: int = 10,
        *,
        unfreeze_from: int | str | None = None,
        fraction: float | None = None,
        blocks: int | None = None,
        learning_rate: float | None = None,
        views: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: dict[int, float] | None = None,
        verbose: int | str = "auto",
    ) -> History:
        """Unfreeze the upper layers of the backbone and train on, at a lower learning rate.

        Batch normalisation stays in inference mode. Give one of `unfreeze_from`, `fraction` and `blocks`; with
        none of them the upper third of the layers is unfrozen.

        Args:
            data: what `DatasetBuilder.build()` gave.
            epochs: number of epochs.
            unfreeze_from: number or name of the backbone's first layer to train.
            fraction: share of the backbone's layers to train, from the top, in [0, 1].
            blocks: number of blocks to train, from the top.
            learning_rate: above 0; by default a tenth of the trainer's.
            views, callbacks, class_weight, verbose: as in `fit`.

        Returns:
            Keras' History; its epochs are numbered on from those before.

        Raises:
            ValueError: when there is no such layer, or more than one way of choosing was given.
        """
        rate = self.learning_rate / 10 if learning_rate is None else check_number("learning_rate", learning_rate, above=0)
        if unfreeze_from is None and fraction is None and blocks is None:
            fraction = 1 / 3
        check_int("epochs", epochs)
        self._check_data(data)
        unfreeze(find_backbone(self.model), unfreeze_from, fraction=fraction, blocks=blocks)
        # A change of `trainable` takes effect only when the model is compiled again.
        self._compile(rate)
        return self._train("fine-tuning", data, epochs, views, callbacks, class_weight, verbose)

    def plan(self, data: Data, *, views: int | str = "auto") -> Plan:
        """Return which part of the model is constant now, and what storing its results costs; `print` it.

        Args:
            data: what `DatasetBuilder.build()` gave.
            views: as in `fit`.
        """
        self._check_data(data)
        return make_plan(
            self.model,
            data,
            cut=constant_part(self.model),
            cache=self.cache,
            views=self._view_count(views),
            limit=self.feature_limit,
        )

    # -- evaluation, prediction, saving -----------------------------------------------------------------------

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
        split = split_of(dataset)
        logits, labels = self._logits_of_split(split) if split is not None else self._logits_of_batches(dataset)
        names = self._class_names(split)
        return Report(
            labels,
            probabilities_of(logits, self._objective.activation, len(names)),
            class_names=names,
            loss=self._objective.loss_of(labels, logits),
            paths=None if split is None else split.paths,
        )

    def predictor(self) -> Predictor:
        """Return a `Predictor` with the model as it is now, the class names and the pixels of the training data."""
        data = self._known_data("predict")
        return Predictor(
            self.model, data.class_names, data.pixels, activation=self._objective.activation, engine=self.engine
        )

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Label images by path, bytes or pixels, as `Predictor.predict` does."""
        return self.predictor().predict(images)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Save the classifier as a folder that `transferkit.load` reads; return the folder.

        The folder holds the model in Keras' own format, without the augmentation, and a JSON file with the class
        names, how pixels are made, and the record of the training. It appears whole or not at all.
        """
        from transferkit.artifact import save_artifact

        return save_artifact(folder, self.predictor(), self.history, seed=self.seed)

    # -- inside -----------------------------------------------------------------------------------------------

    def _train(
        self,
        name: str,
        data: Data,
        epochs: int,
        views: int | str,
        callbacks: Sequence[keras.callbacks.Callback],
        class_weight: dict[int, float] | None,
        verbose: int | str,
    ) -> History:
        check_int("epochs", epochs)
        plan = self.plan(data, views=views)
        self._data = data
        first_epoch = sum(phase.epochs for phase in self.history)
        rate = float(self.model.optimizer.learning_rate)
        started = time.perf_counter()
        trained, batches, steps, validation = (
            self._stored_features(data, plan, first_epoch, epochs)
            if plan.trained_on == "features"
            else self._images(data, first_epoch, epochs)
        )
        history = run_fit(
            trained,
            self.model,
            batches,
            steps=steps,
            validation=validation,
            first_epoch=first_epoch,
            epochs=epochs,
            callbacks=[SeedEveryEpoch(self.model, self.seed), *self.callbacks, *callbacks],
            verbose=verbose,
            class_weight=class_weight,
        )
        seconds = time.perf_counter() - started
        self.history.append(Phase(name, dict(history.history), first_epoch, seconds, rate, plan.trained_on))
        return history

    def _images(
        self, data: Data, first_epoch: int, epochs: int
    ) -> tuple[keras.Model, tf.data.Dataset, int | None, tf.data.Dataset | None]:
        split = data.splits.get("train")
        if split is None or split.stream is not None:
            return self.model, data.train, None, data.validation
        batches = training_stream(
            split, batch_size=data.batch_size, seed=self.seed, first_epoch=first_epoch, epochs=epochs
        )
        return self.model, batches, _steps(len(split), data.batch_size), data.validation

    def _stored_features(
        self, data: Data, plan: Plan, first_epoch: int, epochs: int
    ) -> tuple[keras.Model, tf.data.Dataset, int | None, tf.data.Dataset | None]:
        cut, split = plan.cut, data.splits["train"]
        assert cut is not None
        draws = range(min(plan.views, epochs)) if cut.augmentation is not None else [None]
        views = [self._features(split, cut, view) for view in draws]
        batches = training_batches(
            views,
            split.labels,
            batch_size=data.batch_size,
            seed=self.seed,
            first_epoch=first_epoch,
            epochs=epochs,
        )
        validation = None
        if "validation" in data.splits:
            held_out = data.splits["validation"]
            validation = evaluation_batches(
                self._features(held_out, cut), held_out.labels, batch_size=data.batch_size
            )
        steps = _steps(len(split), data.batch_size)
        # The same optimizer and layers as the whole model's, so that training one trains the other.
        cut.upper.compile(
            optimizer=self.model.optimizer,
            loss=self._objective.loss(),
            metrics=self._objective.metrics(),
            jit_compile=_jit(),
            # A step on features takes less time than the way into it through Python.
            steps_per_execution=min(steps, 64),
        )
        return cut.upper, batches, steps, validation

    def _features(self, split: Split, cut: Cut, view: int | None = None) -> View:
        return feature_arrays(
            split,
            cut.lower,
            augmentation=cut.augmentation if view is not None else None,
            seed=self.seed,
            view=view,
            engine=self.engine,
            precision=self.precision,
        )

    def _logits_of_split(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        cut = constant_part(self.model)
        if not self.cache or cut.lower is None or split.stream is not None:
            return self._logits_of_batches(self._batches_of(split))
        batches = evaluation_batches(self._features(split, cut), split.labels, batch_size=256)
        return _collect(cut.upper, batches)

    def _batches_of(self, split: Split) -> tf.data.Dataset:
        from transferkit.data.pipeline import evaluation_dataset

        return evaluation_dataset(split, batch_size=32)

    def _logits_of_batches(self, dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return _collect(self.model, dataset)

    def _class_names(self, split: Split | None) -> tuple[str, ...]:
        if self._data is not None:
            return tuple(self._data.class_names)
        if split is not None:
            return tuple(split.class_names)
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
        return DEFAULT_VIEWS if views == "auto" else check_int("views", views)

    def _compile(self, learning_rate: float) -> None:
        self.model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss=self._objective.loss(),
            metrics=self._objective.metrics(),
            jit_compile=_jit(),
        )

    def __repr__(self) -> str:
        return f"Trainer({self.model.name!r}, learning_rate={self.learning_rate:g}, {self.history!r})"


# Measured on photographs of cats and dogs: docs/speed.md has the curve.
DEFAULT_VIEWS = 2


def _jit() -> bool | str:
    # XLA on a CPU makes convolution nets ten times slower.
    return "auto" if tf.config.list_physical_devices("GPU") else False


def _steps(count: int, batch_size: int) -> int:
    return -(-count // batch_size)


def _collect(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    # Labels are taken along with the images in one pass, for a dataset that shuffles gives another order in the next.
    forward = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
    pairs = [(forward(batch[0]).numpy(), np.asarray(batch[1])) for batch in batches]
    if not pairs:
        raise DataError("The dataset must hold at least one batch. Received: none. Look at data.report.")
    logits, labels = zip(*pairs)
    return np.concatenate(logits), np.concatenate(labels)
