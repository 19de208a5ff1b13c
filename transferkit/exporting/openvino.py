"""Writes the OpenVINO format (extra `openvino`): a folder with model.xml, model.bin, config.json and labels.txt.

References: https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference/precision-control.html
and https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.openvino import import_openvino
from transferkit.engines.openvino import translate
from transferkit.errors import MissingExtraError
from transferkit.exporting.exported_function import ExportedFunction
from transferkit.exporting.options import ConversionOptions
from transferkit.runtimes.base import IMAGE
from transferkit.runtimes.openvino import CONFIG_FILE, METADATA_SECTION, MODEL_FILE, PRECISION_SETTING

LABELS_FILE = "labels.txt"


def convert_to_openvino(function: ExportedFunction, path: Path, options: ConversionOptions) -> None:
    """Write a function to a folder with its metadata."""
    openvino = import_openvino()
    model = translate(function.graph)
    model.input(0).get_tensor().set_names({IMAGE})
    for output, name in zip(model.outputs, function.outputs):
        output.get_tensor().set_names({name})
    if options.precision == "int8":
        model = _quantize(model, options.calibration)
    metadata = options.metadata
    model.set_rt_info(metadata.to_json(), METADATA_SECTION)
    if metadata.class_names:
        # The section that OpenVINO's own tools read.
        model.set_rt_info("Classification", ["model_info", "model_type"])
        labels = metadata.labels_text().replace(" ", "_").replace("\n", " ").rstrip()
        model.set_rt_info(labels, ["model_info", "labels"])
    path.mkdir(exist_ok=True)
    openvino.save_model(model, path / MODEL_FILE, compress_to_fp16=options.precision == "float16")
    # Without this setting, processors with bfloat16 compute in it.
    (path / CONFIG_FILE).write_text(json.dumps({PRECISION_SETTING: "f32"}) + "\n", encoding="utf-8")
    for name, text in metadata.label_files(LABELS_FILE).items():
        (path / name).write_text(text, encoding="utf-8")


def _quantize(model: Any, calibration: np.ndarray | None) -> Any:
    assert calibration is not None
    # NNCF reports its use as OpenVINO does.
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtraError("Export to OpenVINO with int8", "nncf", "openvino")
    nncf = import_openvino("nncf")
    dtype = model.input(0).element_type.to_dtype()
    dataset = nncf.Dataset([image[None].astype(dtype) for image in calibration])
    # The order of ranges is that of the images, and nothing is chosen at random.
    # NNCF prints its progress also where the output is no terminal.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(model, dataset, subset_size=len(calibration))
