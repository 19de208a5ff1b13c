"""Several classifiers whose probabilities are averaged."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.hashing import fingerprint
from transferkit.data.numbers import require_classes
from transferkit.prediction.class_outputs import ClassOutputs
from transferkit.prediction.image_classifier import ImageClassifier
from transferkit.prediction.prediction import Prediction
from transferkit.prediction.predictor import Predictor


@suggests_arguments
class Ensemble(ImageClassifier):
    """Several classifiers of the same classes as one, whose probabilities are the means of theirs.

    Each member decodes images at its own size, so backbones and image sizes may differ. Predictions take the time
    of all members together. A calibration of the members scales their probabilities; its thresholds and label sets are
    those of a single member, and predictions of an ensemble have none.

    Args:
        members: sequence of at least two `Predictor`, with equal class names.

    Attributes:
        members: tuple of `Predictor`.
        class_names: tuple of str, in the order of the outputs.

    Raises:
        DataError: for members that predict numbers.
        TypeError: when a member is not a `Predictor`.
        ValueError: for fewer than two members, or members with other classes.

    Example:

    >>> ensemble = tk.Ensemble([tk.load("first"), tk.load("second")])  # doctest: +SKIP
    >>> ensemble.predict("image.jpg").label  # doctest: +SKIP
    'cats'

    Reference: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    2017, arXiv:1612.01474.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        self.members: tuple[Any, ...] = tuple(members)
        for member in self.members:
            if not isinstance(member, Predictor):
                raise TypeError(
                    f"`members` must be predictors. Received: {type(member).__name__}. Give tk.load(folder) or "
                    "trainer.predictor()."
                )
            require_classes(member, "An ensemble")
        if len(self.members) < 2:
            raise ValueError(f"`members` must be at least two predictors. Received: {len(self.members)}.")
        first = self.members[0]
        for member in self.members[1:]:
            if member.class_names != first.class_names or member.multi_label != first.multi_label:
                raise ValueError(
                    "`members` must have equal classes, in the same order. Received: "
                    f"{list(first.class_names[:5])!r} and {list(member.class_names[:5])!r}. Train them on data with "
                    "the same class names."
                )
        self.class_names: tuple[str, ...] = first.class_names
        self.batch_size: int = first.batch_size
        # Thresholds of single members do not apply to the means.
        self.outputs: ClassOutputs = dataclasses.replace(first.outputs, calibration=None)

    @property
    def rows_per_batch(self) -> int:
        """The number of images that are run together."""
        return self.members[0].rows_per_batch

    def fingerprint(self) -> str:
        """Return digits that differ whenever the predictions could."""
        return fingerprint(*(member.fingerprint() for member in self.members))

    def engines_for(self, count: int) -> list[str]:
        """Return the names of the engines for `count` images, one per member."""
        return [name for member in self.members for name in member.engines_for(count)]

    def with_engines(self, names: list[str]) -> Ensemble:
        """Return an ensemble with the engines of these `names`, one per member."""
        return Ensemble([member.with_engines([name]) for member, name in zip(self.members, names)])

    def _predict_single(self, source: Any) -> Prediction:
        return self._combine([member._predict_single(source) for member in self.members])

    def _iter_sources(self, sources: Iterable[Any], count: int, streamed: bool) -> Iterator[Prediction]:
        iterator = iter(sources)
        engines = [member._engines.for_count(count) for member in self.members]
        # Batch after batch, because members that read a whole list by themselves would not stay together.
        for batch in iter(lambda: list(itertools.islice(iterator, self.rows_per_batch)), []):
            columns = [member._iter_with(run, batch, streamed) for member, run in zip(self.members, engines)]
            yield from (self._combine(row) for row in zip(*columns))

    def _combine(self, row: Sequence[Prediction]) -> Prediction:
        failed = next((one for one in row if one.error is not None), None)
        if failed is not None:
            return Prediction(failed.path, failed.error, self.class_names, None)
        probabilities = np.array([one.probability_array for one in row], np.float64)
        return Prediction(row[0].path, None, self.class_names, probabilities.mean(axis=0).astype(np.float32))

    def __repr__(self) -> str:
        return f"Ensemble({len(self.members)} members, {len(self.class_names)} classes)"
