"""Writes the LiteRT (TensorFlow Lite) format, for phones, browsers and small devices (extra `litert`).

Reference: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.exporting.exported_function import ExportedFunction
from transferkit.exporting.litert_metadata import add_metadata
from transferkit.exporting.options import ConversionOptions
from transferkit.exporting.saved_model import SIGNATURE, write_saved_model
from transferkit.runtimes.base import IMAGE


def convert_to_litert(function: ExportedFunction, path: Path, options: ConversionOptions) -> None:
    """Write a function to a .tflite file with its metadata."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = tf.Module()
        module.predict = function.signature()
        write_saved_model(module, folder, {SIGNATURE: module.predict})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        _set_precision(converter, options, function.frozen.inputs[0].dtype.as_numpy_dtype)
        content = converter.convert()
    add_metadata(path, content, options.metadata)


def _set_precision(converter: Any, options: ConversionOptions, dtype: Any) -> None:
    if options.precision == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if options.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif options.precision == "int8":

        def images() -> Iterator[dict[str, np.ndarray]]:
            for image in options.calibration if options.calibration is not None else ():
                yield {IMAGE: image[None].astype(dtype)}

        converter.representative_dataset = images
        # Operations without an 8-bit form, such as GELU, stay in float32.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
