"""MixUp and CutMix: the images of a batch are mixed in random pairs, with their labels and sample weights.

The layers of Keras cannot be used: their Gamma distribution has no XLA kernel, CutMix fails in a graph with a variable
batch size and is missing in Keras 3.8, and neither mixes sample weights.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from transferkit.augmentation.erasing import rectangles

# Equally likely values that represent a Beta distribution.
_NUM_QUANTILES = 4096


def mix_pairs(batch: tuple[Any, ...], mixup: float, cutmix: float, seed: Any) -> tuple[Any, ...]:
    """Return images (n, height, width, channels) and further arrays of n rows, mixed in the same pairs and proportions.

    Args:
        batch: images, then labels, and perhaps sample weights.
        mixup, cutmix: parameters of the Beta distributions; 0 is off. With both, one is chosen for the batch.
        seed: a `keras.random.SeedGenerator`.
    """
    ops = keras.ops
    images, *rows = (ops.cast(part, "float32") for part in batch)
    count, height, width = ops.shape(images)[:3]
    values = keras.random.uniform((count, 4), seed=seed)
    pairs = ops.argsort(values[:, 0])
    shares = _shares(values[:, 1:], (height, width), mixup, cutmix)
    if mixup and cutmix:
        chosen = keras.random.uniform((), seed=seed) < 0.5
        shares = ops.where(chosen, shares, _shares(values[:, 1:], (height, width), mixup, 0))
    # The share of the pasted pixels, not of the sampled box, whose edges are between pixels.
    share = ops.mean(shares, axis=(1, 2, 3))
    mixed = [images + shares * (ops.take(images, pairs, axis=0) - images)]
    for part in rows:
        weight = ops.reshape(share, (-1, *[1] * (len(part.shape) - 1)))
        mixed.append(part + weight * (ops.take(part, pairs, axis=0) - part))
    return tuple(mixed)


def _shares(values: Any, size: tuple[Any, Any], mixup: float, cutmix: float) -> Any:
    """Return the share of the partner in each pixel (n, height, width, 1): of CutMix, if it is on, else of MixUp."""
    ops = keras.ops
    quantiles = ops.convert_to_tensor(_beta_quantiles(cutmix or mixup))
    share = ops.take(quantiles, ops.cast(values[:, 0] * _NUM_QUANTILES, "int32"))[:, None]
    if not cutmix:
        # At most half: as pairs are random, the distribution is the same, and each image stays in the batch.
        return ops.minimum(share, 1 - share)[:, :, None, None] + ops.zeros((1, *size, 1))
    side = ops.sqrt(share[:, 0])
    return rectangles((side, side), (values[:, 1], values[:, 2]), size)


@functools.lru_cache(maxsize=8)
def _beta_quantiles(alpha: float) -> np.ndarray:
    """Return the quantiles of Beta(alpha, alpha) at the centers of equal intervals of probability.

    Integrates the lower half in t, where x = t^power / 2: for alpha < 1, the density in x is infinite at 0.
    """
    edges = np.linspace(0, 1, 4 * _NUM_QUANTILES + 1)
    t = (edges[1:] + edges[:-1]) / 2
    power = max(1.0, 1 / alpha)
    logarithm = (power * alpha - 1) * np.log(t) + (alpha - 1) * np.log1p(-0.5 * t**power)
    cumulative = np.concatenate([[0], np.cumsum(np.exp(logarithm - logarithm.max()))])
    probability = (np.arange(_NUM_QUANTILES // 2) + 0.5) / (_NUM_QUANTILES // 2)
    lower = 0.5 * np.interp(probability, cumulative / cumulative[-1], edges) ** power
    return np.concatenate([lower, 1 - lower[::-1]]).astype(np.float32)
