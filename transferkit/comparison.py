"""Which backbone suits one's own data: the accuracy of a linear head on each one's features, beside what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_write
from transferkit.backbones.backbone import Backbone
from transferkit.backbones.factory import BackboneFactory
from transferkit.data.examples import Data, Split
from transferkit.data.splitting import k_fold
from transferkit.errors import DataError
from transferkit.features.linear_probe import fit_linear_probe, logits_of
from transferkit.modeling.fingerprint import model_fingerprint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("backbone", "accuracy", "+-", "ms/image", "parameters", "MB", "features", "")


@dataclasses.dataclass(frozen=True)
class BackboneScore:
    """How one backbone did.

    Attributes:
        name: as it was given.
        accuracy: mean over the folds, in [0, 1]; this and the other figures are NaN or 0 where there is an error.
        spread: standard deviation over the folds.
        milliseconds: for one image, decoding and the choice of an engine included.
        parameters: numbers in the backbone.
        size_mb: of its weights in float32, in megabytes.
        features: width of its pooled features.
        error: None, or why it could not be tried.
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
    """The scores, the best first; prints as a table, shows as HTML in a notebook, and draws accuracy against time."""

    @property
    def pareto(self) -> list[BackboneScore]:
        """The backbones that no other one beats in both accuracy and time, the fastest first."""
        front: list[BackboneScore] = []
        for score in sorted(self._known(), key=lambda score: (score.ms_per_image, -score.accuracy)):
            if not front or score.accuracy > front[-1].accuracy:
                front.append(score)
        return front

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the scores as plain dicts, ready for JSON or a DataFrame."""
        return [dataclasses.asdict(score) for score in self]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw accuracy against time for an image, with the Pareto front.

        Args:
            path: where to save the picture, or None.

        Returns:
            The matplotlib figure.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for score in self._known():
            axes.errorbar(
                score.ms_per_image, score.accuracy, yerr=score.accuracy_std, fmt="o", color="#1f77b4", capsize=3
            )
            axes.annotate(score.name, (score.ms_per_image, score.accuracy), xytext=(6, 4), textcoords="offset points")
        front = self.pareto
        axes.plot(
            [s.ms_per_image for s in front], [s.accuracy for s in front], "--", color="grey", label="Pareto front"
        )
        axes.set(xlabel="milliseconds an image", ylabel="accuracy of a linear head, cross-validated", xscale="log")
        axes.grid(alpha=0.3)
        if front:
            axes.legend()
        if path is not None:
            with atomic_write(path, suffix=os.path.splitext(os.fspath(path))[1] or ".png") as temporary:
                figure.savefig(temporary, dpi=100)
        return figure

    def _known(self) -> list[BackboneScore]:
        return [score for score in self if score.error is None]

    def _cells(self) -> list[list[str]]:
        rows = [list(_COLUMNS)]
        for score in self:
            if score.error is not None:
                rows.append([score.name, *[""] * 6, f"not tried: {score.error}"])
                continue
            front = "on the Pareto front" if score in self.pareto else ""
            rows.append(
                [
                    score.name,
                    f"{score.accuracy:.4f}",
                    f"{score.accuracy_std:.4f}",
                    f"{score.ms_per_image:.2f}",
                    f"{score.parameters / 1e6:.1f}M",
                    f"{score.size_mb:.0f}",
                    str(score.features),
                    front,
                ]
            )
        return rows

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS) - 1)]
        lines = []
        for row in cells:
            figures = [f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:])]
            lines.append("  ".join([f"{row[0]:<{widths[0]}}", *figures, row[-1]]).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def compare_backbones(
    data: Data,
    backbones: Sequence[str | Backbone],
    *,
    folds: int = 5,
    l2: float = 1e-2,
    results_file: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Rank backbones by the cross-validated accuracy of a linear head on their frozen features of one's own data.

    The folds are drawn over the training images; test images are not touched. A backbone that cannot be made or run
    gets an error in its row and stops nobody.

    Args:
        data: what `DatasetBuilder.build()` gave, of files or arrays.
        backbones: names of the catalogue or registered ones, made with ImageNet weights; or backbones made already.
        folds: number of folds, at least 2.
        l2: regularisation of the linear head, as in `transferkit.features.linear_probe.fit_linear_probe`.
        resume: a JSON file for the scores; those in it that belong to the same data and backbone are not worked out
            again.
        engine: "auto" or a name that `transferkit.engines` knows.
        progress: whether a line on standard error says how far it is.

    Returns:
        A `Comparison`, the most accurate first.

    Raises:
        DataError: when the data have no files or arrays, or fewer images of a class than folds.

    Example:

    >>> print(tk.compare_backbones(data, ["MobileNetV2", "EfficientNetLite0"]))  # doctest: +SKIP
    """
    check_int("folds", folds, minimum=2)
    split = _training_split(data, folds)
    keys = split.keys()
    parts = k_fold(
        [key.hex() for key in keys], split.labels.tolist(), folds, seed=data.seed, groups=[key.hex() for key in keys]
    )
    known = _read(results_file)
    scores = Comparison()
    for number, wanted in enumerate(backbones, 1):
        name = wanted if isinstance(wanted, str) else wanted.name
        if progress:
            print(
                f"\rComparing backbones: {number} of {len(backbones)}, {name:<30}", end="", file=sys.stderr, flush=True
            )
        scores.append(_score(wanted, name, data, split, keys, parts, l2, engine, known, results_file))
    if progress:
        print(f"\rComparing backbones: done{' ' * 40}", file=sys.stderr)
    scores.sort(key=lambda score: -1.0 if score.error else score.accuracy, reverse=True)
    return scores


def _score(
    wanted: str | Backbone,
    name: str,
    data: Data,
    split: Split,
    keys: list[bytes],
    parts: list[list[int]],
    l2: float,
    engine: str,
    known: dict[str, Any],
    results_file: Any,
) -> BackboneScore:
    try:
        backbone = (
            BackboneFactory.create(wanted, input_shape=(*data.image_size, 3)) if isinstance(wanted, str) else wanted
        )
        identity = _identity(backbone, split, keys, len(parts), l2, data.seed)
        if identity in known:
            return BackboneScore(**{**known[identity], "name": name})
        score = _cross_validate(backbone, name, split, parts, data.num_classes, l2, engine)
    except Exception as error:
        # Whatever is wrong with one backbone (no weights, an image size that it does not take), the others are tried.
        return BackboneScore(name, error=(str(error) or type(error).__name__).splitlines()[0])
    known[identity] = dataclasses.asdict(score)
    if results_file is not None:
        with atomic_write(results_file) as path:
            path.write_text(json.dumps(known, indent=2))
    return score


def _cross_validate(
    backbone: Backbone, name: str, split: Split, parts: list[list[int]], num_classes: int, l2: float, engine: str
) -> BackboneScore:
    started = time.perf_counter()
    features = backbone.features(split, engine=engine)
    ms_per_image = (time.perf_counter() - started) / len(split) * 1000
    accuracies = []
    for held_out in parts:
        kept = np.setdiff1d(np.arange(len(split)), held_out)
        fit = fit_linear_probe(features[kept], split.labels[kept], num_classes, l2=l2)
        accuracies.append(_accuracy(logits_of(fit, features[held_out]), split.labels[held_out]))
    parameters = backbone.model.count_params()
    return BackboneScore(
        name,
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        ms_per_image=ms_per_image,
        parameters=parameters,
        size_mb=parameters * 4 / 1e6,
        features=features.shape[1],
    )


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    if labels.ndim == 2 or logits.shape[1] == 1:
        return float(np.mean((logits > 0) == (labels if labels.ndim == 2 else labels[:, None] == 1)))
    return float(np.mean(logits.argmax(axis=1) == labels))


def _training_split(data: Data, folds: int) -> Split:
    split = data.splits.get("train")
    if split is None or split.stream is not None:
        raise DataError("Backbones must be compared on files or arrays. Received: a dataset. Give its images instead.")
    if split.labels.ndim == 1 and np.bincount(split.labels, minlength=data.num_classes).min() < folds:
        raise DataError(
            f"Every class must have an image in each of the {folds} folds. Received: "
            f"{dict(data.report.counts['train'])}. Give fewer `folds`."
        )
    return split


def _identity(backbone: Backbone, split: Split, keys: list[bytes], folds: int, l2: float, seed: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (
        model_fingerprint(backbone.model),
        split.image_spec.cache_key(),
        folds,
        l2,
        seed,
        split.labels.tolist(),
    ):
        digest.update(repr(part).encode())
    digest.update(b"".join(keys))
    return digest.hexdigest()


def _read(results_file: Any) -> dict[str, Any]:
    if results_file is None or not Path(results_file).is_file():
        return {}
    try:
        known = json.loads(Path(results_file).read_text())
    except ValueError as error:
        raise DataError(
            f"`resume` must be a file of scores. Received: {str(results_file)!r} ({error}). Choose another."
        ) from error
    return known if isinstance(known, dict) else {}
