"""Numerical verification of engines against Keras: a wrong conversion can return NaN silently."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.files import atomic_write, cache_home
from transferkit._utils.hashing import HASH_BYTES, content_hash, fingerprint
from transferkit.engines.base import KerasEngine
from transferkit.runtimes.base import Outputs

# Largest difference from Keras, relative to the largest feature. Float32 engines differ by 2e-6. For reduced precision
# the check only excludes a wrong conversion: small trained networks differ by 0.07 in bfloat16 with heads as accurate.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.05}
_NUM_PROBE_IMAGES = 2


def relative_error(actual: Outputs, expected: Outputs) -> float:
    """Return the largest difference over all outputs, relative to the largest expected value; infinite for NaN."""
    worst = 0.0
    for output, reference in zip(actual, expected):
        scale = max(float(np.abs(reference).max()), 1e-12)
        difference = float(np.abs(output - reference).max()) / scale
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def probe_images(shape: tuple[int, ...], count: int = _NUM_PROBE_IMAGES) -> np.ndarray:
    """Return fixed images of `shape`, uint8 (count, height, width, 3)."""
    # Smooth blobs with some noise resemble real images; noise alone saturates many networks.
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (count, 5, 5, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, shape[:2]).numpy()
    return np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def reference_outputs(model: keras.Model, model_id: str) -> Outputs:
    """Return Keras' outputs for the probe images, cached on disk by the model's fingerprint."""
    images = probe_images(model.input_shape[1:])
    file = _reference_file(model_id)
    outputs = _read(file)
    if outputs is None:
        outputs = KerasEngine(model, len(images))(images)
        _write(file, outputs)
    return outputs


def has_reference(model_id: str) -> bool:
    """Return whether Keras' outputs for the probe images are cached."""
    return _reference_file(model_id).is_file()


def _reference_file(model_id: str) -> Path:
    key = fingerprint(model_id, _NUM_PROBE_IMAGES, tf.__version__, keras.__version__)
    return cache_home() / "engines" / f"{key}.outputs"


def _read(file: Path) -> Outputs | None:
    """Return the stored outputs, or None when they are missing or damaged."""
    with contextlib.suppress(OSError):
        stored = file.read_bytes()
        digest, content = stored[:HASH_BYTES], stored[HASH_BYTES:]
        if digest == content_hash(content):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return tuple(arrays[f"output_{index}"] for index in range(len(arrays.files)))
    return None


def _write(file: Path, outputs: Outputs) -> None:
    content = io.BytesIO()
    np.savez(content, **{f"output_{index}": output for index, output in enumerate(outputs)})  # type: ignore[arg-type]
    with contextlib.suppress(OSError), atomic_write(file) as path:
        path.write_bytes(content_hash(content.getvalue()) + content.getvalue())
