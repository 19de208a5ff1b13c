"""Holding an engine against Keras on a few images: one way of converting gives NaN without a word."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.files import atomic_write, cache_home
from transferkit.engines.base import Outputs
from transferkit.engines.keras_engine import KerasEngine
from transferkit.engines.timings import fingerprint

# The largest difference from Keras, relative to the largest feature. Float32 engines were seen at 2e-6; a wrong
# conversion gives NaN or whole other numbers. Of reduced precision no more is asked than that it is no wrong one: small
# networks with trained weights were seen at 0.07 in bfloat16, with heads on top that are as accurate as before.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.05}


def relative_error(got: Outputs, wanted: Outputs) -> float:
    """Return the largest difference over all outputs, relative to the largest wanted number; infinite for NaN."""
    worst = 0.0
    for mine, theirs in zip(got, wanted):
        scale = max(float(np.abs(theirs).max()), 1e-12)
        difference = float(np.abs(mine - theirs).max()) / scale
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def probe_images(shape: tuple[int, ...]) -> np.ndarray:
    """Return two images of `shape`, uint8, always the same."""
    # Smooth blobs with some noise: closer to photographs than noise alone, which saturates many networks.
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, shape[:2]).numpy()
    return np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def reference_outputs(model: keras.Model, identity: str) -> Outputs:
    """Return what Keras gives for the probe: the answer belongs to the model's weights, so it is kept for good.

    Args:
        model: from images to one or several outputs.
        identity: of the model, by `model_fingerprint`.
    """
    probe = probe_images(model.input_shape[1:])
    file = cache_home() / "engines" / f"{fingerprint(identity, len(probe), tf.__version__, keras.__version__)}.npz"
    answer = _read(file)
    if answer is None:
        answer = KerasEngine(model, len(probe))(probe)
        _write(file, answer)
    return answer


def _read(file: Path) -> Outputs | None:
    # What cannot be read is worked out again; the archive's own checksums tell a broken one.
    with (
        contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile),
        np.load(file, allow_pickle=False) as load_compiled,
    ):
        return tuple(load_compiled[f"output_{number}"] for number in range(len(load_compiled.files)))
    return None


def _write(file: Path, answer: Outputs) -> None:
    with contextlib.suppress(OSError), atomic_write(file, suffix=".npz") as path:
        arrays: dict[str, Any] = {f"output_{number}": output for number, output in enumerate(answer)}
        np.savez(path, **arrays)
