"""The best linear classifier on given features, found by L-BFGS: the optimum itself, not ten epochs' way towards it.

Features are gone through in blocks of rows, so that those on disk need not be in memory at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from transferkit._utils.checks import check_int, check_number

# From hardly any to strong regularisation; features are standardised, so the same strengths suit every backbone.
L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_MEMORY = 10
# Numbers of a block, few enough for a processor's cache, and of what is held in memory for all passes.
_BLOCK, _HELD = 1 << 18, 1 << 24


class Rows(Protocol):
    """Features (n, d): an array, or what reads slices of one from disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return an array of these rows."""


class LinearProbe(NamedTuple):
    """A linear classifier: logits = features @ kernel + bias; one column for two classes, else one a class.

    Attributes:
        kernel: float64 (features, columns).
        bias: float64 (columns,).
        l2: strength of the regularisation that it was fitted with.
    """

    kernel: np.ndarray
    bias: np.ndarray
    l2: float


def fit_linear_probe(
    features: Rows,
    labels: np.ndarray,
    num_classes: int,
    *,
    l2: float = 1e-2,
    start: LinearProbe | None = None,
    max_steps: int = 200,
) -> LinearProbe:
    """Minimise mean cross-entropy + l2 / 2 * |kernel of the standardised features|^2.

    Args:
        features: (n, d), n of at least 1; read in blocks, several times.
        labels: int (n,), or 0/1 (n, num_classes) for independent labels.
        num_classes: number of classes; two of them make one column.
        l2: at least 0.
        start: a fit to start from, or None for zeros.
        max_steps: most steps of L-BFGS.

    Returns:
        The fit, on the features as given.

    Example:

    >>> fit = fit_linear_probe(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]), 2, l2=0.1)
    >>> (logits_of(fit, np.array([[0.5], [2.5]])) > 0).ravel().tolist()
    [False, True]

    Reference: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """
    check_int("num_classes", num_classes)
    check_number("l2", l2, minimum=0)
    features, labels = _held(features), np.asarray(labels)
    count, width = features.shape
    mean, scale = _mean_and_scale(features)
    columns = 1 if labels.ndim == 1 and num_classes == 2 else num_classes
    weights = np.zeros((width + 1, columns))
    if start is not None:
        weights[:-1] = start.kernel * np.where(np.isfinite(scale), scale, 0)[:, None]
        weights[-1] = start.bias + mean @ start.kernel

    def on_features(weights: np.ndarray) -> LinearProbe:
        # Standardising is put into the kernel: the features themselves need not be changed, nor copied.
        kernel = weights[:-1] / scale[:, None]
        return LinearProbe(kernel, weights[-1] - mean @ kernel, l2)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        current = flat.reshape(weights.shape)
        fit = on_features(current)
        loss, gradient = l2 / 2 * float(np.sum(current[:-1] ** 2)), np.zeros_like(weights)
        for rows, block in _blocks(features):
            part, slope = _cross_entropy(block @ fit.kernel + fit.bias, labels[rows], num_classes)
            loss += part / count
            gradient[:-1] += block.T @ slope
            gradient[-1] += slope.sum(axis=0)
        gradient /= count
        gradient[:-1] = (gradient[:-1] - np.outer(mean, gradient[-1])) / scale[:, None] + l2 * current[:-1]
        return loss, gradient.ravel()

    return on_features(_lbfgs(objective, weights.ravel(), max_steps).reshape(weights.shape))


def select_linear_probe(
    features: Rows,
    labels: np.ndarray,
    held_out: Rows,
    held_out_labels: np.ndarray,
    num_classes: int,
    *,
    grid: Sequence[float] = L2_GRID,
) -> LinearProbe:
    """Return the fit whose regularisation, out of `grid`, gives the smallest loss on held-out examples."""
    fits: list[LinearProbe] = []
    for l2 in sorted(grid, reverse=True):
        fits.append(fit_linear_probe(features, labels, num_classes, l2=l2, start=fits[-1] if fits else None))
    return min(fits, key=lambda fit: log_loss(logits_of(fit, held_out), held_out_labels, num_classes))


def logits_of(fit: LinearProbe, features: Rows) -> np.ndarray:
    """Return the logits (n, columns) of features (n, d)."""
    return np.concatenate([block @ fit.kernel + fit.bias for _, block in _blocks(features)])


def log_loss(logits: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Return the mean cross-entropy of logits against labels."""
    return _cross_entropy(logits, np.asarray(labels), num_classes)[0] / len(logits)


def _held(features: Rows) -> Rows:
    """Return the features in memory where they are few, for they are gone through many times."""
    return features[: features.shape[0]] if np.prod(features.shape) <= _HELD else features


def _blocks(features: Rows) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of rows, and these rows as float64."""
    count, width = features.shape
    size = max(1, _BLOCK // max(1, width))
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield rows, np.asarray(features[rows], np.float64)


def _mean_and_scale(features: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each column and its standard deviation; infinite for one that is constant: its kernel is 0."""
    count = features.shape[0]
    mean = sum(block.sum(axis=0) for _, block in _blocks(features)) / count
    scale = np.sqrt(sum(((block - mean) ** 2).sum(axis=0) for _, block in _blocks(features)) / count)
    return mean, np.where(scale > 1e-12 * max(1.0, float(scale.max(initial=0))), scale, np.inf)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, np.ndarray]:
    """Return the sum of the images' losses and its slope by the logits."""
    if labels.ndim == 1 and num_classes > 2:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        targets = np.eye(num_classes)[labels]
        return float(np.sum((log_total - shifted) * targets)), np.exp(shifted - log_total) - targets
    targets = (labels == 1).astype(np.float64)[:, None] if labels.ndim == 1 else labels.astype(np.float64)
    # Independent logits: an image's loss is the mean over its columns, as Keras counts it.
    columns = logits.shape[1]
    loss = float(np.sum(np.logaddexp(0, logits) - targets * logits)) / columns
    return loss, (np.exp(-np.logaddexp(0, -logits)) - targets) / columns


def _lbfgs(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_steps: int
) -> np.ndarray:
    point = start
    value, gradient = objective(point)
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)
    for _ in range(max_steps):
        if np.abs(gradient).max() < 1e-7:
            break
        direction = -_inverse_hessian_times(gradient, pairs)
        slope = float(direction @ gradient)
        # Without a memory of curvature the first step is kept short; later ones are tried in full.
        step = 1.0 if pairs else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-12))
        for _ in range(40):
            new_point = point + step * direction
            new_value, new_gradient = objective(new_point)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        moved, turned = new_point - point, new_gradient - gradient
        if float(moved @ turned) > 1e-12:
            pairs.append((moved, turned))
        done = value - new_value < 1e-10 * max(1.0, abs(value))
        point, value, gradient = new_point, new_value, new_gradient
        if done:
            break
    return point


def _inverse_hessian_times(gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The two-loop recursion: what the remembered steps say of the inverse Hessian, applied to the gradient."""
    result = gradient.copy()
    factors = []
    for moved, turned in reversed(pairs):
        factor = float(moved @ result) / float(moved @ turned)
        result -= factor * turned
        factors.append(factor)
    if pairs:
        moved, turned = pairs[-1]
        result *= float(moved @ turned) / float(turned @ turned)
    for (moved, turned), factor in zip(pairs, reversed(factors)):
        result += (factor - float(turned @ result) / float(moved @ turned)) * moved
    return result
