"""Linear probes: the optimal regularized linear classifier on features, found by L-BFGS.

Features are read in blocks of rows, so that features on disk need not fit into memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from transferkit._utils.checks import check_int, check_number
from transferkit.calibration.temperature import cross_entropy

# From weak to strong regularization. Features are standardized, so the same strengths suit every backbone.
L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Up to so many images per class, a stronger regularization than that of the smallest loss is more accurate.
FEW_PER_CLASS = 20
# Number of images from which the scale of a feature is its own rather than that of all features. By measurement, see
# benchmarks/RESULTS.md: few images do not know the variance of a feature that most images do not have.
_SHRINKAGE = 100.0
# Fraction of the mean variance below which variances count as equal.
_MIN_VARIANCE = 1e-6
_HISTORY_SIZE = 10
# Values per block, which fit into a CPU cache, and values that are kept in memory for all passes.
_BLOCK_VALUES, _MEMORY_VALUES = 1 << 18, 1 << 24


class RowSource(Protocol):
    """Features (n, d): an array, or an object that reads slices of one from disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return the rows as an array."""


class LinearProbe(NamedTuple):
    """A linear classifier: logits = features @ kernel + bias; one column for two classes, else one per class.

    Attributes:
        kernel: float64 (features, columns).
        bias: float64 (columns,).
        l2: strength of the regularization.
    """

    kernel: np.ndarray
    bias: np.ndarray
    l2: float


def fit_linear_probe(
    features: RowSource,
    labels: np.ndarray,
    num_classes: int,
    *,
    l2: float = 1e-2,
    start: LinearProbe | None = None,
    max_steps: int = 200,
) -> LinearProbe:
    """Minimize mean cross-entropy + l2 / 2 * ||kernel of the standardized features||^2, by L-BFGS.

    Labels are int (n,), or 0/1 (n, num_classes) for independent labels. Features are read in blocks, several times; the
    returned probe is for the original features. `start` is the initial probe. Features are standardized
    by their own standard deviations for many images, and by that of all features for few.

    >>> fit = fit_linear_probe(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]), 2, l2=0.1)
    >>> (probe_logits(fit, np.array([[0.5], [2.5]])) > 0).ravel().tolist()
    [False, True]

    Reference: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """
    check_int("num_classes", num_classes)
    check_number("l2", l2, minimum=0)
    features, labels = _in_memory(features), np.asarray(labels)
    count, width = features.shape
    mean, scale = _mean_and_scale(features)
    columns = 1 if labels.ndim == 1 and num_classes == 2 else num_classes
    weights = np.zeros((width + 1, columns))
    if start is not None:
        weights[:-1] = start.kernel * np.where(np.isfinite(scale), scale, 0)[:, None]
        weights[-1] = start.bias + mean @ start.kernel

    def to_probe(weights: np.ndarray) -> LinearProbe:
        # Standardization is folded into the kernel: the features are neither changed nor copied.
        kernel = weights[:-1] / scale[:, None]
        return LinearProbe(kernel, weights[-1] - mean @ kernel, l2)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        current = flat.reshape(weights.shape)
        fit = to_probe(current)
        loss, gradient = l2 / 2 * float(np.sum(current[:-1] ** 2)), np.zeros_like(weights)
        for rows, block in _blocks(features):
            part, residual = _cross_entropy(block @ fit.kernel + fit.bias, labels[rows], num_classes)
            loss += part / count
            gradient[:-1] += block.T @ residual
            gradient[-1] += residual.sum(axis=0)
        gradient /= count
        gradient[:-1] = (gradient[:-1] - np.outer(mean, gradient[-1])) / scale[:, None] + l2 * current[:-1]
        return loss, gradient.ravel()

    return to_probe(_lbfgs(objective, weights.ravel(), max_steps).reshape(weights.shape))


def select_linear_probe(
    features: RowSource,
    labels: np.ndarray,
    validation: RowSource,
    validation_labels: np.ndarray,
    num_classes: int,
    *,
    grid: Sequence[float] = L2_GRID,
) -> LinearProbe:
    """Return the probe whose regularization, from `grid`, has the smallest loss on the validation examples."""
    probes: list[LinearProbe] = []
    for l2 in sorted(grid, reverse=True):
        start = probes[-1] if probes else None
        probes.append(fit_linear_probe(features, labels, num_classes, l2=l2, start=start))
    return min(probes, key=lambda probe: log_loss(probe_logits(probe, validation), validation_labels, num_classes))


def cross_validated_l2(
    features: np.ndarray, labels: np.ndarray, num_classes: int, *, folds: int = 5, grid: Sequence[float] = L2_GRID
) -> float | None:
    """Return the regularization of `grid` with the smallest mean loss on images that were left out in turn.

    With few images per class it is the strongest whose loss exceeds the smallest by at most one standard error. Folds
    are stratified by class, with the same result in every process. Returns None where a class has one image, so that
    it would be missing in a fit.

    Reference: Breiman et al., "Classification and Regression Trees", 1984, on the rule of one standard error.
    """
    fold_of = _folds(labels, folds)
    if labels.ndim == 1 and np.bincount(labels, minlength=num_classes)[np.unique(labels)].min() < 2:
        return None
    losses = np.zeros((len(grid), len(labels)))
    for fold in np.unique(fold_of):
        inside, outside = fold_of != fold, fold_of == fold
        start: LinearProbe | None = None
        for position in np.argsort(grid)[::-1]:
            start = fit_linear_probe(features[inside], labels[inside], num_classes, l2=grid[position], start=start)
            losses[position, outside] = cross_entropy(probe_logits(start, features[outside]), labels[outside])
    means = losses.mean(axis=1)
    best = int(np.argmin(means))
    is_few = len(labels) <= FEW_PER_CLASS * num_classes
    allowed = losses[best].std(ddof=1) / np.sqrt(len(labels)) if is_few else 0.0
    return float(max(l2 for l2, mean in zip(grid, means) if mean <= means[best] + allowed))


def _folds(labels: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each image: the images of a class take the folds in turn, in a random order."""
    order = np.random.default_rng(0).permutation(len(labels))
    if labels.ndim == 1:
        order = order[np.argsort(labels[order], kind="stable")]
    fold_of = np.empty(len(labels), int)
    fold_of[order] = np.arange(len(labels)) % folds
    return fold_of


def probe_logits(probe: LinearProbe, features: RowSource) -> np.ndarray:
    """Return the logits (n, columns) of features (n, d)."""
    return np.concatenate([block @ probe.kernel + probe.bias for _, block in _blocks(features)])


def log_loss(logits: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Return the mean cross-entropy of logits and labels."""
    return _cross_entropy(logits, np.asarray(labels), num_classes)[0] / len(logits)


def _in_memory(features: RowSource) -> RowSource:
    """Return few features as an array in memory, because they are read many times."""
    return features[: features.shape[0]] if np.prod(features.shape) <= _MEMORY_VALUES else features


def _blocks(features: RowSource) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of rows, and the rows as float64."""
    count, width = features.shape
    size = max(1, _BLOCK_VALUES // max(1, width))
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield rows, np.asarray(features[rows], np.float64)


def _mean_and_scale(features: RowSource) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale of each column; infinite for a constant column, whose kernel is 0."""
    count = features.shape[0]
    mean = sum(block.sum(axis=0) for _, block in _blocks(features)) / count
    variance = np.asarray(sum(((block - mean) ** 2).sum(axis=0) for _, block in _blocks(features))) / count
    typical = max(float(variance.mean()), 1e-300)
    own = np.log(np.maximum(variance, _MIN_VARIANCE * typical))
    weight = count / (count + _SHRINKAGE)
    scale = np.exp((weight * own + (1 - weight) * np.log(typical)) / 2)
    is_constant = variance <= 1e-24 * max(1.0, float(variance.max(initial=0)))
    return mean, np.where(is_constant, np.inf, scale)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, np.ndarray]:
    """Return the sum of the losses and its gradient with respect to the logits."""
    if labels.ndim == 1 and num_classes > 2:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        targets = np.eye(num_classes)[labels]
        return float(np.sum((log_total - shifted) * targets)), np.exp(shifted - log_total) - targets
    targets = (labels == 1).astype(np.float64)[:, None] if labels.ndim == 1 else labels.astype(np.float64)
    # Independent logits: the loss of an image is the mean over its columns, as in Keras.
    columns = logits.shape[1]
    loss = float(np.sum(np.logaddexp(0, logits) - targets * logits)) / columns
    return loss, (np.exp(-np.logaddexp(0, -logits)) - targets) / columns


def _lbfgs(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_steps: int
) -> np.ndarray:
    point = start
    value, gradient = objective(point)
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_HISTORY_SIZE)
    for _ in range(max_steps):
        if np.abs(gradient).max() < 1e-7:
            break
        direction = -_inverse_hessian_times(gradient, pairs)
        slope = float(direction @ gradient)
        # The first step is short, as there is no history of curvature.
        step = 1.0 if pairs else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-12))
        for _ in range(40):
            new_point = point + step * direction
            new_value, new_gradient = objective(new_point)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        change, gradient_change = new_point - point, new_gradient - gradient
        if float(change @ gradient_change) > 1e-12:
            pairs.append((change, gradient_change))
        converged = value - new_value < 1e-10 * max(1.0, abs(value))
        point, value, gradient = new_point, new_value, new_gradient
        if converged:
            break
    return point


def _inverse_hessian_times(gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Apply the inverse Hessian, approximated by the last steps, to the gradient: the two-loop recursion."""
    result = gradient.copy()
    factors = []
    for dx, dg in reversed(pairs):
        factor = float(dx @ result) / float(dx @ dg)
        result -= factor * dg
        factors.append(factor)
    if pairs:
        dx, dg = pairs[-1]
        result *= float(dx @ dg) / float(dg @ dg)
    for (dx, dg), factor in zip(pairs, reversed(factors)):
        result += (factor - float(dg @ result) / float(dx @ dg)) * dx
    return result
