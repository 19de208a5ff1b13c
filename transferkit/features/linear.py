"""The best linear classifier on given features, found by L-BFGS: the optimum itself, not ten epochs' way towards it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from transferkit._checks import check_int, check_number

__all__ = ["L2_GRID", "LinearFit", "fit_linear", "fit_linear_by_validation", "log_loss", "logits_of"]

# From hardly any to strong regularisation; features are standardised, so the same strengths suit every backbone.
L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_MEMORY = 10


class LinearFit(NamedTuple):
    """A linear classifier: logits = features @ kernel + bias; one column for two classes, else one a class.

    Attributes:
        kernel: float64 (features, columns).
        bias: float64 (columns,).
        l2: strength of the regularisation that it was fitted with.
    """

    kernel: np.ndarray
    bias: np.ndarray
    l2: float


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    l2: float = 1e-2,
    start: LinearFit | None = None,
    max_steps: int = 200,
) -> LinearFit:
    """Minimise mean cross-entropy + l2 / 2 * |kernel of the standardised features|^2.

    Args:
        features: (n, d).
        labels: int (n,), or 0/1 (n, num_classes) for independent labels.
        num_classes: number of classes; two of them make one column.
        l2: at least 0.
        start: a fit to start from, or None for zeros.
        max_steps: most steps of L-BFGS.

    Returns:
        The fit, on the features as given.

    Example:

    >>> fit = fit_linear(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]), 2, l2=0.1)
    >>> (logits_of(fit, np.array([[0.5], [2.5]])) > 0).ravel().tolist()
    [False, True]

    Reference: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """
    check_int("num_classes", num_classes)
    check_number("l2", l2, minimum=0)
    values = np.asarray(features, np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 1e-12 * max(1.0, float(scale.max(initial=0))), scale, 1.0)
    standard = (values - mean) / scale
    targets = _targets(np.asarray(labels), num_classes)
    columns = targets.shape[1]
    weights = np.zeros((standard.shape[1] + 1, columns))
    if start is not None:
        weights[:-1] = start.kernel * scale[:, None]
        weights[-1] = start.bias + mean @ start.kernel
    softmax = columns > 1 and np.asarray(labels).ndim == 1

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        current = flat.reshape(weights.shape)
        logits = standard @ current[:-1] + current[-1]
        loss, slope = _cross_entropy(logits, targets, softmax)
        gradient = np.vstack([standard.T @ slope + l2 * current[:-1], slope.sum(axis=0)])
        return loss + l2 / 2 * float(np.sum(current[:-1] ** 2)), gradient.ravel()

    solved = _lbfgs(objective, weights.ravel(), max_steps).reshape(weights.shape)
    kernel = solved[:-1] / scale[:, None]
    return LinearFit(kernel, solved[-1] - mean @ kernel, l2)


def fit_linear_by_validation(
    features: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray,
    held_out_labels: np.ndarray,
    num_classes: int,
    *,
    grid: Sequence[float] = L2_GRID,
) -> LinearFit:
    """Return the fit whose regularisation, out of `grid`, gives the smallest loss on held-out examples."""
    fits: list[LinearFit] = []
    for l2 in sorted(grid, reverse=True):
        fits.append(fit_linear(features, labels, num_classes, l2=l2, start=fits[-1] if fits else None))
    return min(fits, key=lambda fit: log_loss(logits_of(fit, held_out), held_out_labels, num_classes))


def logits_of(fit: LinearFit, features: np.ndarray) -> np.ndarray:
    """Return the logits (n, columns) of features (n, d)."""
    return np.asarray(features, np.float64) @ fit.kernel + fit.bias


def log_loss(logits: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Return the mean cross-entropy of logits against labels."""
    targets = _targets(np.asarray(labels), num_classes)
    softmax = targets.shape[1] > 1 and np.asarray(labels).ndim == 1
    return _cross_entropy(logits, targets, softmax)[0]


def _targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
    if labels.ndim == 2:
        return labels.astype(np.float64)
    if num_classes == 2:
        return (labels == 1).astype(np.float64)[:, None]
    return np.eye(num_classes)[labels]


def _cross_entropy(logits: np.ndarray, targets: np.ndarray, softmax: bool) -> tuple[float, np.ndarray]:
    """Return the mean loss and its slope by the logits."""
    count = len(logits)
    if softmax:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = float(np.sum((log_total - shifted) * targets)) / count
        return loss, (np.exp(shifted - log_total) - targets) / count
    # Independent logits: the mean over images and columns, as Keras counts it.
    size = logits.size
    loss = float(np.sum(np.logaddexp(0, logits) - targets * logits)) / size
    return loss, (np.exp(-np.logaddexp(0, -logits)) - targets) / size


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
