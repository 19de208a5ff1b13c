"""The features of a data set that a phase trains on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit.data.dataset import Data
from transferkit.features.extraction import ExtractionJob, ExtractionOptions
from transferkit.features.views import ORIGINAL, training_views
from transferkit.training.feature_batches import ViewArrays
from transferkit.training.plan import Plan


@dataclasses.dataclass(frozen=True)
class CachedFeatures:
    """The features of the training and validation images.

    Attributes:
        views: of the training images, for each view one array per tensor at the freeze boundary.
        labels: of the training images.
        validation: features and labels of the validation images, or None.
    """

    views: list[ViewArrays]
    labels: np.ndarray
    validation: tuple[ViewArrays, np.ndarray] | None


def training_job(plan: Plan, data: Data, options: ExtractionOptions) -> ExtractionJob:
    """Return the extraction of all features of a phase; nothing is computed yet."""
    augmentation = plan.partition.augmentation
    requests: list[Any] = [(data.splits["train"], training_views(plan.num_views, augmentation))]
    if "validation" in data.splits:
        requests.insert(0, (data.splits["validation"], ORIGINAL))
    return ExtractionJob(plan.partition.frozen, requests, augmentation=augmentation, options=options)


def load_features(plan: Plan, data: Data, options: ExtractionOptions) -> CachedFeatures:
    """Return all features of a phase, computing those that are not cached."""
    *validation, views = training_job(plan, data, options).run()
    labeled = (validation[0][0], data.splits["validation"].labels) if validation else None
    return CachedFeatures(views, data.splits["train"].labels, labeled)
