"""What one phase of training trains, on which batches: ordinary images, or features that were run beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit.data.examples import Data, Split
from transferkit.data.pipeline import epochs_dataset
from transferkit.engines import estimate_seconds
from transferkit.features.extraction import HALF, LazyEngine, extract_views, missing_rows
from transferkit.features.extraction import View as Drawn
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.modeling.partition import ModelPartition
from transferkit.modeling.precision import has_gpu
from transferkit.training.feature_batches import View, evaluation_batches, training_batches
from transferkit.training.feature_model import steps_per_call, take_many_steps
from transferkit.training.objective import Objective
from transferkit.training.plan import ExtractionCost

# Steps on images in one call on a GPU: enough to hide the way through Python, few enough to show progress.
_MOST_STEPS = 16


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A phase, ready for `run_fit`.

    Attributes:
        trained: the compiled model to train: the whole, or its upper part.
        batches: training batches, one epoch after another where `steps` is given.
        steps: batches an epoch, or None when the dataset itself is one epoch.
        validation: validation batches, or None.
        validation_steps: batches of one validation, where they come again and again; else None.
    """

    trained: keras.Model
    batches: tf.data.Dataset
    steps: int | None
    validation: tf.data.Dataset | None
    validation_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class Extractor:
    """How the constant part of a model is run.

    Attributes:
        seed: of the augmented draws.
        engine: "auto" or a name that `transferkit.engines` knows.
        precision: "float32" or "bfloat16".
        feature_dtype: what stored features are kept as, "float32" or "float16".
    """

    seed: int
    engine: str
    precision: str
    feature_dtype: str = "float32"

    def features(
        self,
        split: Split,
        cut: ModelPartition,
        views: Sequence[Drawn] = (None,),
        *,
        identity: str | None = None,
        shared: LazyEngine | None = None,
    ) -> list[View]:
        """Return what crosses the cut for every image of `split`, for each of the views that `extract_views` takes.

        `identity` is that of the lower part, and `shared` an engine of it, where they are there already.
        """
        return extract_views(
            split,
            cut.lower,
            views=views,
            augmentation=cut.augmentation,
            seed=self.seed,
            identity=identity,
            engine=shared or self.engine,
            precision=self.precision,
            feature_dtype=self.feature_dtype,
        )

    def cost(self, data: Data, cut: ModelPartition, views: int) -> ExtractionCost:
        """Return what `extract_features` would have to do now."""
        identity = model_fingerprint(cut.lower)
        rows, missing = self.work(data, cut, views, identity)
        seconds = estimate_seconds(cut.lower, missing, precision=self.precision, identity=identity)
        return ExtractionCost(rows, missing, seconds)

    def work(self, data: Data, cut: ModelPartition, views: int, identity: str) -> tuple[int, int]:
        """Return how many rows `extract_features` takes in all, and how many of them are not in the store."""
        options: dict[str, Any] = {"precision": self.precision, "feature_dtype": self.feature_dtype}
        rows = missing = 0
        for name, chosen in (("train", _views(cut, views)), ("validation", _views(cut, 0))):
            if name in data.splits:
                split = data.splits[name]
                rows += len(split) * len(chosen)
                missing += missing_rows(
                    split, identity, views=chosen, augmentation=cut.augmentation, seed=self.seed, **options
                )
        return rows, missing


def on_images(model: keras.Model, data: Data, *, seed: int, first_epoch: int, epochs: int) -> Prepared:
    """Prepare ordinary training of the whole model, batch by batch."""
    split = data.splits.get("train")
    if split is None or split.stream is not None:
        return Prepared(model, data.train, None, data.validation)
    batches = epochs_dataset(split, batch_size=data.batch_size, seed=seed, first_epoch=first_epoch, epochs=epochs)
    steps = _steps(split, data)
    if has_gpu():
        _take_several_steps(model, steps)
    return Prepared(model, batches, steps, data.validation)


def _take_several_steps(model: keras.Model, steps: int) -> None:
    """Take several steps in one call, where the way through Python takes as long as a step.

    Their number divides an epoch's steps, for Keras would go on into the next epoch's batches otherwise. On a
    processor it was measured not to help, and progress would be seen less often.
    """
    several = max(count for count in range(1, _MOST_STEPS + 1) if steps % count == 0)
    if several != model.steps_per_execution:
        model.steps_per_execution = several
        model.train_function = model.test_function = None


@dataclasses.dataclass(frozen=True)
class Features:
    """What crosses the cut.

    Attributes:
        views: of the training images, one tuple of arrays for each version of them.
        labels: of the training images.
        held_out: of the validation images, with their labels; or None.
    """

    views: list[View]
    labels: np.ndarray
    held_out: tuple[View, np.ndarray] | None


def extract_features(data: Data, cut: ModelPartition, *, views: int, extractor: Extractor) -> Features:
    """Run the constant part once for every training and validation image, or read what was stored.

    Args:
        data: the images.
        cut: the constant part.
        views: versions of each training image.
        extractor: how the constant part is run.
    """
    split, identity = data.splits["train"], model_fingerprint(cut.lower)
    shared = LazyEngine(
        cut.lower,
        extractor.engine,
        extractor.precision,
        count=lambda: extractor.work(data, cut, views, identity)[1],
        identity=identity,
    )
    held_out = None
    if "validation" in data.splits:
        validation = data.splits["validation"]
        (rows,) = extractor.features(validation, cut, identity=identity, shared=shared)
        held_out = rows, validation.labels
    rows_of_views = extractor.features(split, cut, _views(cut, views), identity=identity, shared=shared)
    return Features(rows_of_views, split.labels, held_out)


def _views(cut: ModelPartition, count: int) -> tuple[Drawn, ...]:
    """Return which versions of an image `count` of them are: itself and draws; of one, each for half of the images."""
    if cut.augmentation is None or not count:
        return (None,)
    return (HALF,) if count == 1 else (None, *range(count - 1))


def on_features(
    model: keras.Model,
    data: Data,
    cut: ModelPartition,
    features: Features,
    *,
    seed: int,
    objective: Objective,
    first_epoch: int,
    epochs: int,
) -> Prepared:
    """Prepare the training of what stands above the cut."""
    batches = training_batches(
        features.views,
        features.labels,
        batch_size=data.batch_size,
        seed=seed,
        first_epoch=first_epoch,
        epochs=epochs,
    )
    validation, validation_steps = None, None
    if features.held_out is not None:
        validation = evaluation_batches(*features.held_out)
        # Told how many batches a validation has, Keras makes one iterator for it; else another one after its end.
        validation, validation_steps = validation.repeat(), int(validation.cardinality())
    steps = _steps(data.splits["train"], data)
    # The same optimizer and layers as the whole model's, so that training one trains the other.
    cut.upper.compile(
        optimizer=model.optimizer,
        loss=objective.loss(),
        metrics=objective.metrics(),
        jit_compile=jit_compile_mode(),
        steps_per_execution=steps_per_call(steps),
    )
    take_many_steps(cut.upper, steps=steps, validation_steps=validation_steps or 0)
    return Prepared(cut.upper, batches, steps, validation, validation_steps)


def jit_compile_mode() -> bool | str:
    """Return Keras' `jit_compile` for this machine: XLA makes convolution nets ten times slower on a CPU."""
    return "auto" if has_gpu() else False


def _steps(split: Split, data: Data) -> int:
    return -(-len(split) // data.batch_size)
