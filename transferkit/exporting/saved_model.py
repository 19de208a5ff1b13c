"""Writes TensorFlow's SavedModel format, for TensorFlow Serving, TensorFlow.js and TensorFlow in any language.

Reference: https://www.tensorflow.org/guide/saved_model
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.exporting.encoded_images import encoded_images_signature
from transferkit.exporting.exported_function import ExportedFunction
from transferkit.exporting.options import ConversionOptions, Run
from transferkit.runtimes.base import IMAGE
from transferkit.runtimes.litert import LABELS_FILE, METADATA_FILE

SIGNATURE, ENCODED_SIGNATURE = "serving_default", "encoded"


def convert_to_saved_model(function: ExportedFunction, path: Path, options: ConversionOptions) -> None:
    """Write a function to a SavedModel, whose assets are transferkit.json and, for classes, labels.txt."""
    predict = function.signature()
    signatures = {SIGNATURE: predict}
    if options.encoded_images:
        signatures[ENCODED_SIGNATURE] = encoded_images_signature(predict, options.metadata.image_spec)
    with tempfile.TemporaryDirectory() as folder:
        files = {METADATA_FILE: options.metadata.to_json(), **options.metadata.label_files(LABELS_FILE)}
        module = tf.Module()
        module.assets = []
        for name, text in files.items():
            asset = Path(folder, name)
            asset.write_text(text, encoding="utf-8")
            module.assets.append(tf.saved_model.Asset(str(asset)))
        module.signatures_ = signatures
        write_saved_model(module, path, signatures)


def write_saved_model(module: tf.Module, path: str | Path, signatures: dict[str, Any]) -> None:
    """Write a module of frozen functions to a folder."""
    # Gradients of activations such as swish, which prediction does not need, capture tensors of the original graph.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=signatures, options=options)


def load_saved_model(path: Path) -> Run:
    """Return the default signature of a SavedModel."""
    loaded = tf.saved_model.load(str(path))
    predict: Any = loaded.signatures[SIGNATURE]
    dtype = predict.structured_input_signature[1][IMAGE].dtype

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = predict(**{IMAGE: tf.constant(images, dtype)})
        # The signature needs the variables of the loaded object, which would be freed.
        assert loaded is not None
        return {name: output.numpy() for name, output in outputs.items()}

    return run
