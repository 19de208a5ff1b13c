"""Decides before a phase whether features are cached or images are trained on, and what that costs."""

from __future__ import annotations

import dataclasses
import math
import shutil
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.files import cache_home
from transferkit._utils.tables import html_lines
from transferkit.errors import DataError
from transferkit.features.store import FEATURE_DTYPES
from transferkit.modeling.partition import ModelPartition
from transferkit.training.precision_tuning import FLOAT32, PrecisionChoice

_MAX_DEFAULT_BYTES = 10 * 10**9
# By measurement, see docs/training.md: with 12 images per class the calibration error after 10 steps is above 0.3.
_FEW_STEPS = 100


@dataclasses.dataclass(frozen=True)
class ExtractionCost:
    """Cost of extracting features.

    Attributes:
        num_rows: number of views of images.
        num_missing: number of those that are not cached.
        seconds: estimated time for these, without decoding.
    """

    num_rows: int
    num_missing: int
    seconds: float

    def __str__(self) -> str:
        text = f"Cached: {self.num_rows - self.num_missing:,} of {self.num_rows:,}."
        return f"{text} Estimated extraction time: {self.seconds:,.1f} s plus decoding." if self.num_missing else text


@dataclasses.dataclass(frozen=True)
class CacheSettings:
    """Whether and how features are cached.

    Attributes:
        enabled: whether they may be cached at all.
        max_bytes: maximum size of the features of a phase; None for the smaller of 10 GB and half the free disk.
        dtype: "float32" or "float16".
    """

    enabled: bool
    max_bytes: int | None
    dtype: str

    def __post_init__(self) -> None:
        check_choice("feature_dtype", self.dtype, FEATURE_DTYPES)
        if self.max_bytes is not None:
            check_int("max_feature_bytes", self.max_bytes, minimum=0)

    def limit(self) -> int:
        """Return the maximum size in bytes."""
        if self.max_bytes is not None:
            return self.max_bytes
        folder = cache_home()
        while not folder.exists():
            folder = folder.parent
        return min(_MAX_DEFAULT_BYTES, shutil.disk_usage(folder).free // 2)


@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    """How a phase will be trained; `print` it.

    Attributes:
        trained_on: "features" (cached) or "images".
        reason: why.
        partition: `ModelPartition`. The frozen and the trainable part of the model.
        num_views: views of each training image; 1 without augmentation.
        num_images: number of training and validation images.
        bytes_per_image: size of the features of one image.
        total_bytes: size of all features of the phase.
        trainable_parameters: number of trainable parameters.
        precision: precision of the trained part, and why.
        cost: `ExtractionCost`; None where features are not cached.
        epochs: number of epochs.
        steps_per_epoch: number of training batches; None where it is unknown.

    Example:

    >>> plan = trainer.plan(data)  # doctest: +SKIP
    >>> plan.trained_on  # doctest: +SKIP
    'features'
    """

    trained_on: str
    reason: str
    partition: ModelPartition
    num_views: int
    num_images: int
    bytes_per_image: int
    total_bytes: int
    trainable_parameters: int
    precision: PrecisionChoice = FLOAT32
    cost: ExtractionCost | None = None
    epochs: int = 0
    steps_per_epoch: int | None = None

    @property
    def num_steps(self) -> int | None:
        """Number of training steps, or None where it is unknown."""
        return None if self.steps_per_epoch is None else self.epochs * self.steps_per_epoch

    def __str__(self) -> str:
        mode = "cached features" if self.trained_on == "features" else f"training on images ({self.reason})"
        lines = [f"Mode: {mode}", f"Trainable parameters: {self.trainable_parameters:,}", *self._steps()]
        if self.partition.frozen is not None:
            shapes = " and ".join(str(shape) for shape in self.partition.feature_shapes)
            lines.append(f"Feature shape: {shapes}, {self.bytes_per_image / 1e3:,.1f} kB per image")
        if self.trained_on == "features":
            lines.append(f"{self._views()}; {self.num_images:,} images, {self.total_bytes / 1e6:,.1f} MB")
        if self.trained_on == "features" and self.partition.limit is not None:
            lines.append(f"Not in the frozen part: {self.partition.limit}")
        if self.cost is not None:
            lines.append(str(self.cost))
        if self.precision != FLOAT32:
            lines.append(str(self.precision))
        return "\n".join(lines)

    def _steps(self) -> list[str]:
        if not self.num_steps:
            return []
        lines = [f"Steps: {self.num_steps:,} ({self.epochs:,} epochs of {self.steps_per_epoch:,})"]
        if self.num_steps < _FEW_STEPS:
            lines.append(
                f"Warning: fewer than {_FEW_STEPS} steps may leave all probabilities near those of random guessing; "
                'use epochs="auto".'
            )
        return lines

    def _views(self) -> str:
        if self.partition.augmentation is None:
            return "1 view per training image"
        if self.num_views == 1:
            return "1 view per training image (the original; num_views=2 adds an augmented one)"
        return f"{self.num_views} views per training image ({self.num_views - 1} augmented)"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_lines(str(self).splitlines())


def make_plan(
    model: keras.Model, data: Any, partition: ModelPartition, settings: CacheSettings, num_views: int
) -> Plan:
    """Decide between cached features and training on images.

    Raises:
        DataError: for stored features where images are to be trained on.
    """
    num_views = num_views if partition.augmentation is not None else 1
    training, validation = (len(data.splits[name]) if name in data.splits else 0 for name in ("train", "validation"))
    itemsize = np.dtype(settings.dtype).itemsize
    size = sum(itemsize * math.prod(side or 1 for side in shape) for shape in partition.feature_shapes)
    total, limit = size * (training * num_views + validation), settings.limit()
    is_stored = data.splits["train"].features is not None
    if not settings.enabled:
        trained_on, reason = "images", "cache=False"
    elif getattr(partition.augmentation, "mixes", False):
        trained_on, reason = "images", "MixUp and CutMix combine other images in every epoch"
    elif partition.frozen is None:
        trained_on, reason = "images", partition.limit or "no part of the model is frozen"
    elif not training:
        trained_on, reason = "images", "the images of a tf.data.Dataset are not known in advance"
    elif total > limit and not is_stored:
        trained_on, reason = "images", f"the features take {total / 1e9:.1f} GB, and the limit is {limit / 1e9:.1f} GB"
    else:
        trained_on, reason = "features", "the frozen part returns the same features in every epoch"
    if trained_on == "images" and is_stored:
        raise DataError(
            f"Training on images requires images. Received: stored features ({reason}). Train a head on the frozen "
            "backbone with them, or build the data from the images with DatasetBuilder."
        )
    parameters = int(sum(np.prod(variable.shape) for variable in model.trainable_variables))
    return Plan(trained_on, reason, partition, num_views, training + validation, size, total, parameters)
