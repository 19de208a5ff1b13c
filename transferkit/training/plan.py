"""Working out, before a phase, which part of the computation is constant and what storing it will cost."""

from __future__ import annotations

import dataclasses
import math
import shutil
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from transferkit._utils.files import cache_home
from transferkit.training.precision_tuning import REQUESTED_FLOAT32, PrecisionChoice

if TYPE_CHECKING:
    from transferkit.modeling.partition import ModelPartition


@dataclasses.dataclass(frozen=True)
class ExtractionCost:
    """What running the constant part beforehand costs; `str(cost)` says it in words.

    Attributes:
        rows: images and augmented draws in all.
        missing: those that are not in the store.
        seconds: about how long these will take, beside decoding.
    """

    rows: int
    missing: int
    seconds: float

    def __str__(self) -> str:
        if not self.missing:
            return f"All {self.rows:,} are in the store."
        stored = f"{self.rows - self.missing:,} of {self.rows:,} are in the store. " if self.missing < self.rows else ""
        return f"{stored}{self.missing:,} have yet to be run, which takes about {self.seconds:,.1f} s beside decoding."


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a phase will be trained; `print(plan)` says it in words.

    Attributes:
        trained_on: "features" when the constant part is run beforehand, "images" for ordinary training.
        reason: why it is so.
        cut: the two parts of the model, or None.
        views: versions of each training image that are run once; 1 without augmentation.
        images: training and validation images.
        bytes_per_image: size of what crosses the cut, for one image.
        total_bytes: size of all stored features of the phase.
        trainable: numbers that are trained.
        precision: in which precision the trained part computes, and why.
        cost: of running the constant part; None where it was not worked out.
    """

    trained_on: str
    reason: str
    cut: ModelPartition | None
    views: int
    images: int
    bytes_per_image: int
    total_bytes: int
    trainable: int
    precision: PrecisionChoice = REQUESTED_FLOAT32
    cost: ExtractionCost | None = None

    def __str__(self) -> str:
        lines = [f"Trained on {self.trained_on}: {self.reason}.", f"{self.trainable:,} numbers are trained."]
        if self.cut is not None and self.cut.lower is not None:
            shapes = ", ".join("x".join(map(str, shape[1:])) for shape in _crossing(self.cut))
            lines.append(f"The constant part ends at {shapes}: {self.bytes_per_image / 1e3:,.1f} kB an image.")
            if self.trained_on == "features":
                lines.append(
                    f"{self.images:,} images are run once{self._versions()}: {self.total_bytes / 1e6:,.1f} MB."
                )
        if self.cost is not None:
            lines.append(str(self.cost))
        if self.precision != REQUESTED_FLOAT32:
            lines.append(str(self.precision))
        return "\n".join(lines)

    def _versions(self) -> str:
        if self.cut is None or self.cut.augmentation is None:
            return ""
        if self.views == 1:
            return ", half of those to train on in an augmented draw"
        return f", those to train on also in {self.views - 1} augmented draw{'s' * (self.views > 2)}"


def make_plan(
    model: keras.Model,
    data: Any,
    *,
    cut: ModelPartition,
    cache: bool,
    views: int,
    limit: int | None,
    feature_dtype: str = "float32",
) -> Plan:
    """Decide between stored features and ordinary training.

    Args:
        model: the classifier.
        data: what DatasetBuilder.build() gave.
        cut: the constant and the trained part of `model`.
        cache: whether the user allows stored features at all.
        views: versions of each training image.
        limit: largest size of the features in bytes; None for the smaller of 10 GB and half the free disk.
        feature_dtype: what features are stored as.
    """
    views = views if cut.augmentation is not None else 1
    training = len(data.splits["train"]) if "train" in data.splits else 0
    held_out = len(data.splits["validation"]) if "validation" in data.splits else 0
    itemsize = np.dtype(feature_dtype).itemsize
    size = sum(itemsize * math.prod(side or 1 for side in shape[1:]) for shape in _crossing(cut))
    total = size * (training * views + held_out)
    limit = _default_limit() if limit is None else limit
    if not cache:
        kind, reason = "images", "stored features are turned off (cache=False)"
    elif cut.lower is None:
        kind, reason = "images", "no part of the model is constant"
    elif not training:
        kind, reason = "images", "the data set says neither files nor arrays"
    elif total > limit:
        kind, reason = (
            "images",
            f"the features would take {total / 1e9:.1f} GB, and the limit is {limit / 1e9:.1f} GB",
        )
    else:
        kind, reason = "features", "the frozen part gives the same in every epoch, so it is run once"
    trainable = int(sum(np.prod(variable.shape) for variable in model.trainable_variables))
    return Plan(kind, reason, cut, views, training + held_out, size, total, trainable)


def _crossing(cut: ModelPartition) -> list[tuple[int | None, ...]]:
    return [tuple(tensor.shape) for tensor in cut.lower.outputs] if cut.lower is not None else []


def _default_limit() -> int:
    folder = cache_home()
    while not folder.exists():
        folder = folder.parent
    return min(10 * 10**9, shutil.disk_usage(folder).free // 2)
