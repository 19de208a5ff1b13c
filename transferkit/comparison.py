"""Comparison of backbones: cross-validated accuracy of a linear probe, and time per image."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int, check_number
from transferkit._utils.files import atomic_write
from transferkit._utils.hashing import fingerprint
from transferkit._utils.progress import Progress
from transferkit._utils.tables import html_table, text_table
from transferkit.backbones.backbone import Backbone
from transferkit.backbones.factory import BackboneFactory
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.numbers import require_classes
from transferkit.data.splitting import k_fold
from transferkit.data.stored_features import require_images
from transferkit.engines.selection import ENGINES, compile_engine
from transferkit.engines.timings import seconds_per_image
from transferkit.errors import DataError
from transferkit.features.linear_probe import fit_linear_probe, probe_logits
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.plots import accuracy_against_time

_HEADER = ["backbone", "accuracy", "std", "ms/image", "parameters", "MB", "features", ""]
# Changes whenever the fields of a stored score or their meaning change.
_VERSION = 4
# Engines are compared for a service or a large folder.
_MANY = 10_000


@dataclasses.dataclass(frozen=True)
class BackboneScore:
    """The result of one backbone; NaN or 0 where there is an error.

    Attributes:
        name: str, the name of the backbone.
        accuracy: float in [0, 1], mean over the folds.
        accuracy_std: float, standard deviation over the folds.
        ms_per_image: float, milliseconds per image of the model on the engine for many images, once it is ready,
            without the decoding of files.
        parameters: int, number of parameters of the backbone.
        size_mb: float, size of the float32 weights in megabytes.
        features: int, length of the pooled features.
        error: str, the reason of a failure, or None.
    """

    name: str
    accuracy: float = math.nan
    accuracy_std: float = math.nan
    ms_per_image: float = math.nan
    parameters: int = 0
    size_mb: float = math.nan
    features: int = 0
    error: str | None = None


class Comparison(list[BackboneScore]):
    """A list of `BackboneScore`, the most accurate first; prints as a table and displays as HTML in a notebook.

    Example:

    >>> comparison = Comparison([BackboneScore("A", 0.9, ms_per_image=1.0), BackboneScore("B", 0.8, ms_per_image=2.0)])
    >>> [score.name for score in comparison.pareto]
    ['A']
    """

    @property
    def pareto(self) -> list[BackboneScore]:
        """The Pareto front: backbones that no other exceeds in both accuracy and speed, the fastest first."""
        front: list[BackboneScore] = []
        for score in sorted(self._succeeded(), key=lambda score: (score.ms_per_image, -score.accuracy)):
            if not front or score.accuracy > front[-1].accuracy:
                front.append(score)
        return front

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the scores as dicts of plain values, for JSON or a DataFrame."""
        return [dataclasses.asdict(score) for score in self]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot accuracy against time per image, with the Pareto front.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        scores = self._succeeded()
        rows = [(score.name, score.ms_per_image, score.accuracy, score.accuracy_std) for score in scores]
        return accuracy_against_time(rows, [scores.index(score) for score in self.pareto], path)

    def _succeeded(self) -> list[BackboneScore]:
        return [score for score in self if score.error is None]

    def _cells(self) -> list[list[str]]:
        front = self.pareto
        return [self._row(score, "Pareto front" if score in front else "") for score in self]

    @staticmethod
    def _row(score: BackboneScore, note: str) -> list[str]:
        if score.error is not None:
            return [score.name, *[""] * (len(_HEADER) - 2), f"failed: {score.error}"]
        accuracy = [f"{score.accuracy:.4f}", f"{score.accuracy_std:.4f}", f"{score.ms_per_image:.2f}"]
        size = [f"{score.parameters / 1e6:.1f}M", f"{score.size_mb:.0f}", str(score.features)]
        return [score.name, *accuracy, *size, note]

    def __str__(self) -> str:
        return text_table([_HEADER, *self._cells()], "<>>>>>><")

    def _repr_html_(self) -> str:
        return html_table(self._cells(), _HEADER)


@suggests_arguments
def compare_backbones(
    data: Data,
    backbones: str | Backbone | Sequence[str | Backbone],
    *,
    folds: int = 5,
    l2: float = 1e-2,
    results_file: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Rank backbones by the cross-validated accuracy of a linear probe on their frozen features.

    The folds contain only training images. A backbone that fails gets an error in its row; the others are compared.

    Args:
        data: `Data` of files or arrays. All images count the same, with sample weights too.
        backbones: names of the catalogue or registered names, created with ImageNet weights; or `Backbone` objects.
        folds: int >= 2. Number of folds. Defaults to 5.
        l2: float >= 0. L2 regularization of the linear probe. Defaults to 0.01.
        results_file: a JSON file of scores; scores in it of the same data and backbone are used again. Defaults to
            None.
        engine: "auto", "keras", "frozen_graph" or "openvino". Defaults to "auto", the fastest one.
        progress: bool, whether to show a progress bar on a terminal or in a notebook. Defaults to True.

    Returns:
        A `Comparison`, the most accurate backbone first.

    Raises:
        DataError: if the data are not files or arrays, or a class has fewer images than folds.
        ValueError: if an argument is out of its range.

    Example:

    >>> print(tk.compare_backbones(data, ["MobileNetV2", "EfficientNetLite0"]))  # doctest: +SKIP

    Reference: Kornblith et al., "Do Better ImageNet Models Transfer Better?", 2019, arXiv:1805.08974.
    """
    check_int("folds", folds, minimum=2)
    check_number("l2", l2, minimum=0)
    check_choice("engine", engine, ENGINES)
    backbones = [backbones] if isinstance(backbones, (str, Backbone)) else list(backbones)
    split = _training_split(data, folds)
    run = _CrossValidation(data, split, split.content_hashes(), folds, l2, engine)
    stored = _read_scores(results_file)
    scores = Comparison()
    with Progress("Comparing backbones", len(backbones), enabled=progress) as bar:
        for backbone in backbones:
            scores.append(_score(backbone, run, stored, results_file))
            bar.advance()
    scores.sort(key=lambda score: -1.0 if score.error else score.accuracy, reverse=True)
    return scores


@dataclasses.dataclass(frozen=True)
class _CrossValidation:
    """The data and settings that all backbones of a comparison share."""

    data: Data
    split: Split
    content_hashes: list[bytes]
    num_folds: int
    l2: float
    engine: str

    def fingerprint(self, backbone: Backbone) -> str:
        """Return the key of a stored score."""
        split, labels = self.split, self.split.labels.tolist()
        settings = (split.image_spec.cache_key(), self.num_folds, self.l2, self.data.seed, labels)
        contents = b"".join(self.content_hashes).hex()
        return fingerprint(_VERSION, model_fingerprint(backbone.model), *settings, contents)

    def score(self, backbone: Backbone) -> BackboneScore:
        features = backbone.features(self.split, engine=self.engine)
        accuracies = [self._accuracy(features, np.asarray(fold)) for fold in self._folds()]
        parameters = backbone.model.count_params()
        return BackboneScore(
            backbone.name,
            accuracy=float(np.mean(accuracies)),
            accuracy_std=float(np.std(accuracies)),
            ms_per_image=1000 * self._seconds_per_image(backbone),
            parameters=parameters,
            size_mb=parameters * 4 / 1e6,
            features=features.shape[1],
        )

    def _seconds_per_image(self, backbone: Backbone) -> float:
        # Not the time of the features above, with which few images would pay for the start of the engine, and cached
        # features would seem to take no time.
        model = backbone.feature_extractor()
        return seconds_per_image(compile_engine(model, engine=self.engine, count=_MANY), backbone.input_shape)

    def _folds(self) -> list[list[int]]:
        # Identical images are one group, so that no copy of a training image is in the validation fold.
        keys = [key.hex() for key in self.content_hashes]
        return k_fold(keys, self.split.labels.tolist(), self.num_folds, seed=self.data.seed, groups=keys)

    def _accuracy(self, features: np.ndarray, validation: np.ndarray) -> float:
        training = np.setdiff1d(np.arange(len(self.split)), validation)
        labels = self.split.labels
        probe = fit_linear_probe(features[training], labels[training], self.data.num_classes, l2=self.l2)
        logits, labels = probe_logits(probe, features[validation]), labels[validation]
        if labels.ndim == 2 or logits.shape[1] == 1:
            return float(np.mean((logits > 0) == (labels if labels.ndim == 2 else labels[:, None] == 1)))
        return float(np.mean(logits.argmax(axis=1) == labels))


def _score(
    backbone: str | Backbone, run: _CrossValidation, stored: dict[str, Any], results_file: str | os.PathLike[str] | None
) -> BackboneScore:
    name = backbone if isinstance(backbone, str) else backbone.name
    try:
        if isinstance(backbone, str):
            backbone = BackboneFactory.create(backbone, input_shape=(*run.data.image_size, 3))
        key = run.fingerprint(backbone)
        if key in stored:
            return BackboneScore(**{**stored[key], "name": name})
        score = dataclasses.replace(run.score(backbone), name=name)
    except Exception as error:
        # Missing weights, an unsupported image size or a mistyped name must not stop the other backbones.
        return BackboneScore(name, error=(str(error) or type(error).__name__).splitlines()[0])
    stored[key] = dataclasses.asdict(score)
    if results_file is not None:
        with atomic_write(results_file) as path:
            path.write_text(json.dumps(stored, indent=2))
    return score


def _training_split(data: Data, folds: int) -> Split:
    require_classes(data, "`compare_backbones`")
    split = data.splits.get("train")
    if split is None or split.dataset is not None:
        raise DataError("`data` must consist of files or arrays. Received: a tf.data.Dataset. Pass its images instead.")
    require_images(split, "`compare_backbones`")
    if split.labels.ndim == 1 and np.bincount(split.labels, minlength=data.num_classes).min() < folds:
        raise DataError(
            f"Every class must have an image in each of the {folds} folds. Received: "
            f"{dict(data.report.counts['train'])}. Use fewer `folds`."
        )
    return split


def _read_scores(results_file: str | os.PathLike[str] | None) -> dict[str, Any]:
    if results_file is None or not Path(results_file).is_file():
        return {}
    try:
        return dict(json.loads(Path(results_file).read_text()))
    except (ValueError, TypeError) as error:
        received = f"{os.fspath(results_file)!r} ({error})"
        raise DataError(
            f"`results_file` must be a JSON file of scores. Received: {received}. Choose another."
        ) from error
