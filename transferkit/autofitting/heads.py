"""Heads that a search tries, with their predictions of images that were left out in turn."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from transferkit.autofitting.development import Development, Sample
from transferkit.backbones.backbone import Backbone
from transferkit.classifier import build_classifier
from transferkit.features.few_shot import fit_prototypes, unit_rows
from transferkit.features.linear_probe import LinearProbe, fit_linear_probe, log_loss, probe_logits
from transferkit.head import ClassifierHead
from transferkit.training import Trainer

KINDS = ("linear", "prototype", "knn", "mlp")
_L2_GRID = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# More training images than that make neighbors slow.
_MAX_NEIGHBOR_IMAGES = 2000
_MIN_PROBABILITY = 1e-7
# Returns whether there is time for as many seconds.
Allows = Callable[[float], bool]


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """A head and how it is trained.

    Attributes:
        kind: as of a `ClassifierHead`.
        l2: regularization of a linear head, or None.
    """

    kind: str
    l2: float | None = None

    def train(self, backbone: Backbone, development: Development, sample: Sample, seed: int) -> Trainer:
        """Return a trainer whose head was trained on all images of a sample."""
        return train_head(self, backbone, development.data_of(sample.split), seed)

    def __str__(self) -> str:
        return self.kind if self.l2 is None else f"{self.kind}, l2={self.l2:g}"


def kinds_for(development: Development) -> list[str]:
    """Return the kinds of heads that suit the data, the most useful first."""
    if development.data.multi_label:
        return ["linear", "mlp"]
    return [kind for kind in KINDS if kind != "knn" or len(development) <= _MAX_NEIGHBOR_IMAGES]


def train_head(choice: HeadChoice, backbone: Backbone, data: Any, seed: int) -> Trainer:
    """Return a trainer after its frozen phase on the training images of `data`."""
    options: dict[str, Any] = {"max_images": len(data.splits["train"])} if choice.kind == "knn" else {}
    if choice.kind == "knn":
        options["neighbors"] = min(5, options["max_images"])
    head = ClassifierHead(data.num_classes, kind=choice.kind, multi_label=data.multi_label, seed=seed, **options)
    trainer = Trainer(build_classifier(backbone, head), seed=seed)
    fit: dict[str, Any] = {} if choice.kind != "linear" else {"solver": "lbfgs", "l2": choice.l2}
    trainer.fit(data, verbose=0, **fit)
    return trainer


def left_out_logits(
    kind: str, features: np.ndarray, sample: Sample, context: tuple[Backbone, Development, int], allows: Allows
) -> tuple[HeadChoice, np.ndarray] | None:
    """Return a head and logits (n, units) of each image by a head that was trained without its fold.

    Args:
        kind: of the head.
        features: (n, size), of the images of the sample.
        sample: `Sample`.
        context: the backbone, the development images and the seed.
        allows: whether there is time for as many seconds.

    Returns:
        None where the time is not enough for all folds.
    """
    num_classes = context[1].data.num_classes
    if kind == "linear":
        return _linear(features, sample, num_classes, allows)
    if kind == "prototype":
        units = unit_rows(features)
        fits = (fit_prototypes(units[rows], sample.split.labels[rows], num_classes) for rows in _trained(sample))
        parts = [probe_logits(fit, units[fold]) for fit, fold in zip(fits, sample.folds)]
        return HeadChoice(kind), _combined(parts, sample)
    return _by_trainer(kind, sample, context, allows)


def _linear(
    features: np.ndarray, sample: Sample, num_classes: int, allows: Allows
) -> tuple[HeadChoice, np.ndarray] | None:
    """Return the regularization with the smallest loss, and its logits."""
    labels = sample.split.labels
    logits: dict[float, list[np.ndarray]] = {l2: [] for l2 in _L2_GRID}
    pace = _Pace(len(sample.folds), allows)
    for rows, fold in zip(_trained(sample), sample.folds):
        if not pace.allows_next():
            return None
        start: LinearProbe | None = None
        for l2 in _L2_GRID:
            start = fit_linear_probe(features[rows], labels[rows], num_classes, l2=l2, start=start)
            logits[l2].append(probe_logits(start, features[fold]))
    combined = {l2: _combined(parts, sample) for l2, parts in logits.items()}
    best = min(combined, key=lambda l2: log_loss(combined[l2], labels, num_classes))
    return HeadChoice("linear", best), combined[best]


def _by_trainer(
    kind: str, sample: Sample, context: tuple[Backbone, Development, int], allows: Allows
) -> tuple[HeadChoice, np.ndarray] | None:
    backbone, development, seed = context
    parts: list[np.ndarray] = []
    pace = _Pace(len(sample.folds), allows)
    for rows, fold in zip(_trained(sample), sample.folds):
        if not pace.allows_next():
            return None
        data = development.data_of(sample.split.take(rows), sample.split.take(fold))
        trainer = train_head(HeadChoice(kind), backbone, data, seed)
        parts.append(to_logits(trainer.evaluate(data).probabilities, data.multi_label))
    return HeadChoice(kind), _combined(parts, sample)


class _Pace:
    """Whether the folds that are left fit into the time, at the pace of those before."""

    def __init__(self, folds: int, allows: Allows) -> None:
        self._left, self._done, self._allows = folds, 0, allows
        self._started = time.perf_counter()

    def allows_next(self) -> bool:
        """Return whether there is time for all folds that are left, and count the next one."""
        per_fold = (time.perf_counter() - self._started) / max(1, self._done)
        if not self._allows(per_fold * self._left):
            return False
        self._left, self._done = self._left - 1, self._done + 1
        return True


def to_logits(probabilities: np.ndarray, multi_label: bool) -> np.ndarray:
    """Return logits with these probabilities: one column for two classes."""
    clipped = np.clip(probabilities, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    if multi_label:
        return np.log(clipped) - np.log1p(-clipped)
    logits = np.log(clipped)
    return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits


def _trained(sample: Sample) -> Iterator[np.ndarray]:
    return (sample.outside(fold) for fold in sample.folds)


def _combined(parts: list[np.ndarray], sample: Sample) -> np.ndarray:
    logits = np.zeros((len(sample), parts[0].shape[1]))
    for fold, part in zip(sample.folds, parts):
        logits[fold] = part
    return logits
