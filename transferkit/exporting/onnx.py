"""Writes the ONNX format, for ONNX Runtime (extra `onnx`).

Reference: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from transferkit._utils.extras import import_extra
from transferkit.exporting.exported_function import ExportedFunction
from transferkit.exporting.options import ConversionOptions
from transferkit.runtimes.base import IMAGE, METADATA_KEY
from transferkit.runtimes.onnx import import_onnxruntime

# Supported by ONNX Runtime from 1.14 and by ONNX Runtime Web.
_OPSET = 17
_LOGGERS = ("tf2onnx", "tensorflow", "root")


def convert_to_onnx(function: ExportedFunction, path: Path, options: ConversionOptions) -> None:
    """Write a function to a .onnx file with its metadata."""
    # First, because other packages import it too, with its telemetry.
    import_onnxruntime()
    onnx = import_extra("onnx", "Export to ONNX", "onnx", "onnx")
    with _quiet():
        model = _translate(function)
        if options.precision == "float16":
            _store_weights_as_float16(model, onnx)
        elif options.precision != "float32":
            model = _quantize(model, path, options, onnx)
    metadata = options.metadata
    properties = {
        METADATA_KEY: metadata.to_json(),
        **metadata.label_files("labels"),
        "license": metadata.license or "",
    }
    onnx.helper.set_model_props(model, properties)
    model.graph.name, model.doc_string = metadata.name, f"RGB images in [0, 255] to {function.outputs[0]}."
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _translate(function: ExportedFunction) -> Any:
    tf2onnx = import_extra("tf2onnx", "Export to ONNX", "tf2onnx", "onnx")
    names = {f"{name}:0": name for name in (IMAGE, *function.outputs)}
    with _without_merged_reshapes():
        model, _ = tf2onnx.convert.from_graph_def(
            function.graph.as_graph_def(),
            input_names=[f"{IMAGE}:0"],
            output_names=[f"{name}:0" for name in function.outputs],
            opset=_OPSET,
            custom_op_handlers=HANDLERS,
            tensors_to_rename=names,
        )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


@contextlib.contextmanager
def _without_merged_reshapes() -> Iterator[None]:
    """Keep two reshapes in a row: tf2onnx leaves out the first, also where a 0 in the second copies a side of it.

    The attention of MiT with one head would be reshaped to another batch size.
    """
    optimizer = import_extra("tf2onnx.optimizer.back_to_back_optimizer", "Export to ONNX", "tf2onnx", "onnx")
    with mock.patch.dict(optimizer._func_map, {("Reshape",): lambda graph, node, consumers: []}):
        yield


def _convert_erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Convert 1 - erf(x), which GELU uses and ONNX has no operation for."""
    one = context.make_const(f"{name}_one", np.ones((), np.float32))
    error = context.make_node("Erf", node.input, name=f"{name}_erf")
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    context.remove_node(node.name)
    context.make_node("Sub", [one.output[0], error.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=dtypes)


# Operations that the converter does not know.
HANDLERS: dict[str, tuple[Any, list[str]]] = {"Erfc": (_convert_erfc, [])}


def _store_weights_as_float16(model: Any, onnx: Any) -> None:
    """Store float32 weights as float16, converted when the model is loaded: the computation stays in float32."""
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        # Few values save no space, and may be numbers that float16 cannot represent.
        if values.dtype != np.float32 or values.size < 64:
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _quantize(model: Any, path: Path, options: ConversionOptions, onnx: Any) -> Any:
    """Return the model with 8-bit weights, and with "int8" 8-bit activations."""
    quantization = import_onnxruntime("onnxruntime.quantization")
    shapes = import_onnxruntime("onnxruntime.quantization.shape_inference")
    prepared, quantized = path.with_suffix(".prepared.onnx"), path.with_suffix(".quantized.onnx")
    try:
        # A model in memory would be split into several files.
        prepared.write_bytes(model.SerializeToString())
        shapes.quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        if options.precision == "dynamic_int8":
            quantization.quantize_dynamic(str(prepared), str(quantized), per_channel=True)
        else:
            quantization.quantize_static(
                str(prepared),
                str(quantized),
                _CalibrationReader(options.calibration, _input_dtype(model, onnx)),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        return onnx.load(str(quantized))
    finally:
        for file in (prepared, quantized):
            file.unlink(missing_ok=True)


class _CalibrationReader:
    """Yields one calibration image at a time, as the interface of ONNX Runtime requires."""

    def __init__(self, images: Any, dtype: Any) -> None:
        self._images = iter(images)
        self._dtype = dtype

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGE: image[None].astype(self._dtype)}


def _input_dtype(model: Any, onnx: Any) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide messages of the converters about their own calls."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
