"""Requests and responses of the Open Inference Protocol, version 2, with tensors in JSON."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from transferkit.runtimes.base import VALUES
from transferkit.serving.errors import RequestError, bad_request
from transferkit.serving.models import ServedModel
from transferkit.serving.uploads import decode_base64

INPUT = "image"
_DATATYPES: dict[str, Any] = {"UINT8": np.uint8, "FP32": np.float32}
_REMEDY = "GET the metadata of the model for the shapes."


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """The images of an inference request.

    Attributes:
        images: encoded images, or arrays (height, width, 3).
        request_id: str, returned in the response, or None.
    """

    images: list[Any]
    request_id: str | None


def model_metadata(model: ServedModel) -> dict[str, Any]:
    """Return the metadata of a model."""
    height, width = model.image_size
    name, count = model.output
    shape = [-1, height, width, 3]
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "transferkit",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": shape}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, count]}],
    }


def parse_infer_request(value: Any, model: ServedModel, max_images: int) -> InferRequest:
    """Return the images of a request, or raise a RequestError."""
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), list) or len(value["inputs"]) != 1:
        raise bad_request(f"An inference request must have one tensor in `inputs`. Received: another body. {_REMEDY}")
    tensor, request_id = value["inputs"][0], value.get("id")
    if not isinstance(tensor, dict) or tensor.get("name") != INPUT:
        raise bad_request(f"The tensor must have the name {INPUT!r}. Received: another one. {_REMEDY}")
    if request_id is not None and not isinstance(request_id, str):
        raise bad_request("`id` must be a text. Received: another value. Leave it out, or send a text.")
    _check_outputs(value.get("outputs"), model.output[0])
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and side >= 0 for side in shape):
        raise bad_request(f"`shape` must be a list of integers. Received: another value. {_REMEDY}")
    if not 1 <= shape[0] <= max_images:
        raise RequestError(
            413 if shape[0] else 400,
            "too_many_images" if shape[0] else "invalid_request",
            f"A request must have 1 to {max_images:,} images. Received: {shape[0]:,}. Send several requests.",
        )
    if datatype == "BYTES":
        return InferRequest(_encoded_images(tensor.get("data"), shape), request_id)
    if datatype not in _DATATYPES:
        listed = ", ".join([*_DATATYPES, "BYTES"])
        raise bad_request(f"`datatype` must be one of {listed}. Received: {str(datatype)[:50]!r}. Convert the tensor.")
    image_size = model.image_size
    if shape[1:] != [*image_size, 3]:
        raise bad_request(f"`shape` must be [n, {image_size[0]}, {image_size[1]}, 3]. Received: {shape[:8]}. {_REMEDY}")
    return InferRequest(list(_array(tensor.get("data"), shape, datatype)), request_id)


def infer_response(model: ServedModel, request_id: str | None, predictions: list[Any]) -> dict[str, Any]:
    """Return the body of the response."""
    name, _ = model.output
    attribute = "value" if name == VALUES else "probability_array"
    values = np.array([np.ravel(getattr(prediction, attribute)) for prediction in predictions], np.float32)
    output = {
        "name": name,
        "datatype": "FP32",
        "shape": list(values.shape),
        # The shortest text that is the same float32.
        "data": [float(str(value)) for value in values.ravel()],
    }
    body = {"model_name": model.name, "model_version": model.version, "outputs": [output]}
    return body if request_id is None else {**body, "id": request_id}


def _check_outputs(outputs: Any, name: str) -> None:
    names = [one.get("name") if isinstance(one, dict) else None for one in outputs] if isinstance(outputs, list) else []
    if outputs is not None and names not in ([], [name]):
        raise bad_request(f"`outputs` must be [{name!r}]. Received: others. Leave it out.")


def _encoded_images(data: Any, shape: list[int]) -> list[bytes]:
    if not isinstance(data, list) or len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or len(data) != shape[0]:
        raise bad_request("A BYTES tensor must have one text per image. Received: another shape. Send the shape [n].")
    texts = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    return [decode_base64(text, f"data[{index}]") for index, text in enumerate(texts)]


def _array(data: Any, shape: list[int], datatype: str) -> np.ndarray:
    """Return the values of a tensor, flat or nested, as an array."""
    values, sides = _flat(data)
    # Their types first: NumPy makes all texts of a list as long as the longest one.
    if not set(map(type, values)) <= {int, float} or len(values) != math.prod(shape) or sides not in ([], shape[:-1]):
        raise bad_request(f"`data` must be {math.prod(shape):,} numbers, flat or nested. Received: others. {_REMEDY}")
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        numbers = np.full(1, np.inf)
    # NaN fails every comparison.
    if not ((numbers >= 0) & (numbers <= 255)).all() or (datatype == "UINT8" and (numbers % 1 != 0).any()):
        kind = "numbers" if datatype == "FP32" else "integers"
        raise bad_request(f"`data` must be RGB, {kind} in [0, 255]. Received: others. Scale the images.")
    return numbers.astype(_DATATYPES[datatype]).reshape(shape)


def _flat(data: Any) -> tuple[list[Any], list[int]]:
    """Return the values of nested lists, and the lengths of all levels but the last; [-1] where they differ."""
    values: list[Any] = data if isinstance(data, list) else []
    sides: list[int] = []
    while values and isinstance(values[0], list):
        if set(map(type, values)) != {list} or len(set(map(len, values))) != 1:
            return [], [-1]
        sides.append(len(values) if not sides else len(values) // math.prod(sides))
        values = list(itertools.chain.from_iterable(values))
    return values, sides
