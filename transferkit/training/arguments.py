"""Checks of what a trainer is given: data that match the classifier, callbacks, verbosity."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import keras

from transferkit._utils.checks import check_int
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.errors import DataError
from transferkit.images.spec import ImageSpec
from transferkit.training.objective import Objective, objective_for

# By measurement, see docs/training.md: augmented views did not raise the accuracy of heads on five data sets.
DEFAULT_NUM_VIEWS = 1

Callbacks = tuple[keras.callbacks.Callback, ...]


@dataclasses.dataclass(frozen=True)
class TrainedClasses:
    """What the first phase of training fixes: class names and image spec of the classifier."""

    class_names: tuple[str, ...]
    image_spec: ImageSpec

    def check(self, class_names: Sequence[str], image_spec: ImageSpec) -> None:
        """Raise a DataError when further data have other classes or another image spec."""
        if tuple(class_names) != self.class_names:
            raise DataError(
                f"The data must have the class names of the training data, {list(self.class_names)[:10]}. Received: "
                f"{list(class_names)[:10]}. Build the data with class_names=... or rename its classes."
            )
        if image_spec != self.image_spec:
            raise DataError(
                f"The data must have the image spec of the training data, {self.image_spec}. Received: {image_spec}. "
                "Build the data with the same image_size, resize or image_spec."
            )


def check_num_views(num_views: int | str) -> int:
    """Return the number of views of each training image."""
    return DEFAULT_NUM_VIEWS if num_views == "auto" else check_int("num_views", num_views)


def check_data(data: Any, model: keras.Model, trained: TrainedClasses | None) -> Objective:
    """Return the objective for `data`.

    Raises:
        TypeError: when `data` is not a `Data`.
        DataError: when the data do not match the head, the input size or the classes of the classifier.
    """
    if not isinstance(data, Data):
        raise TypeError(
            f"`data` must be the result of DatasetBuilder(...).build(). Received: {type(data).__name__}. "
            "Wrap a tf.data.Dataset with DatasetBuilder(dataset, ...).build()."
        )
    # The data decide whether several logits are classes or independent labels.
    objective = objective_for(model, multi_label=data.multi_label)
    objective.check_fits(data)
    expected, size = tuple(model.input_shape[1:3]), tuple(data.image_spec.image_size)
    if None not in expected and expected != size:
        raise DataError(
            f"The images must have the input size of the model, {expected}. Received: {size}. "
            f"Build the data with image_size={expected}."
        )
    if trained is not None:
        trained.check(data.class_names, data.image_spec)
    return objective


def class_names_of(split: Split | None, trained: TrainedClasses | None, units: int) -> tuple[str, ...]:
    """Return the class names of the classifier or, before training, those of the evaluated data.

    Raises:
        DataError: when the data have other classes or another image spec than the training data.
    """
    if trained is not None:
        if split is not None:
            trained.check(split.class_names, split.image_spec)
        return trained.class_names
    if split is not None and split.class_names:
        return split.class_names
    return tuple(f"class {index}" for index in range(max(2, units)))


def choose_verbosity(verbose: int | str) -> int | str:
    """Return Keras' `verbose`: "auto" is a progress bar on a terminal only, whose control characters fill log files."""
    return verbose if verbose != "auto" else 1 if sys.stdout is not None and sys.stdout.isatty() else 2


def check_trainable(model: keras.Model) -> None:
    """Raise a ValueError when there is nothing to train."""
    if not model.trainable_variables:
        raise ValueError(
            f"At least one layer of the model must be trainable. Received: {model.name!r}, all of whose layers are "
            "frozen. Set model.trainable = True and freeze the backbone alone, with backbone.freeze()."
        )


def check_monitors(callbacks: Callbacks, data: Data) -> Callbacks:
    """Return callbacks, or raise a ValueError when one needs a metric of validation images and there are none.

    Keras only warns of it after each epoch: training would not be stopped, and no best model would be written.
    """
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        is_used = getattr(callback, "save_best_only", True)
        if "validation" not in data.splits and is_used and isinstance(monitor, str) and monitor.startswith("val_"):
            name = type(callback).__name__
            raise ValueError(
                "`callbacks` must monitor a metric of the training images when there are no validation images. "
                f"Received: {name}(monitor={monitor!r}). Build the data with validation=0.2, or write "
                f"{name}(monitor={monitor.removeprefix('val_')!r})."
            )
    return callbacks


def check_callbacks(callbacks: Any) -> Callbacks:
    """Return callbacks as a tuple, or raise a ValueError."""
    listed = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in listed:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"`callbacks` must be a list of keras.callbacks.Callback. Received: {callback!r}. Give, for example, "
                "callbacks=[keras.callbacks.EarlyStopping()]."
            )
    return tuple(listed)
