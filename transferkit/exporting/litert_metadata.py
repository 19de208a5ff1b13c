"""Metadata of LiteRT models: a FlatBuffer in the model, and files that are appended as a ZIP archive.

Tools such as MediaPipe read the labels and the size of images from them.

Reference: https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.extras import import_extra
from transferkit.exported_metadata import ExportedMetadata
from transferkit.runtimes.base import IMAGE, PROBABILITIES, VALUES
from transferkit.runtimes.litert import LABELS_FILE, METADATA_FILE

_BUFFER_NAME, _IDENTIFIER = "TFLITE_METADATA", b"M001"
# Values of enumerations and unions of the schema.
_RGB, _IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 2
_DESCRIPTIONS = {
    IMAGE: "RGB image with values in [0, 255].",
    PROBABILITIES: "Probability of each label in labels.txt.",
    VALUES: "Predicted number, in the unit of the training labels.",
    "features": "Features from which the other output is computed.",
}
# The same file for the same model.
_DATE = (1980, 1, 1, 0, 0, 0)


def add_metadata(path: Path, content: bytes, metadata: ExportedMetadata) -> None:
    """Write a LiteRT model with metadata, labels and the description of transferkit."""
    tools = import_extra("ai_edge_litert.tools.flatbuffer_utils", "Export to LiteRT", "ai-edge-litert", "litert")
    schema = import_extra("ai_edge_litert.schema_py_generated", "Export to LiteRT", "ai-edge-litert", "litert")
    model = tools.read_model_from_bytearray(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = _metadata_buffer(metadata, _output_names(model))
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _BUFFER_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or ()), entry]
    model.description = _DESCRIPTIONS[PROBABILITIES if metadata.class_names else VALUES]
    path.write_bytes(bytes(tools.convert_object_to_bytearray(model)))
    with zipfile.ZipFile(path, "a") as archive:
        texts = {**metadata.label_files(LABELS_FILE), METADATA_FILE: metadata.to_json()}
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text.encode("utf-8"))


def _output_names(model: Any) -> list[str]:
    """Return the names of the outputs in the order of the graph, which is that of the metadata."""
    names = {pair.tensorIndex: pair.name for pair in model.signatureDefs[0].outputs}
    return [_text(names[index]) for index in model.subgraphs[0].outputs]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _metadata_buffer(metadata: ExportedMetadata, outputs: Sequence[str]) -> bytes:
    flatbuffers = import_extra("flatbuffers", "Export to LiteRT", "flatbuffers", "litert")
    builder = flatbuffers.Builder(1024)
    writer = _TableWriter(builder)
    normalization = writer.table(2, {0: writer.floats([0.0]), 1: writer.floats([1.0])})
    unit = writer.table(2, {1: normalization}, {0: _NORMALIZATION})
    properties = writer.table(2, {}, {0: _RGB})
    content = writer.table(3, {1: properties}, {0: _IMAGE_PROPERTIES})
    image_texts = {0: writer.string(IMAGE), 1: writer.string(_DESCRIPTIONS[IMAGE])}
    image = writer.table(7, {**image_texts, 3: content, 4: writer.tables([unit])})
    subgraph = {2: writer.tables([image]), 3: writer.tables([_output(writer, name) for name in outputs])}
    fields = {0: writer.string(metadata.name), 3: writer.tables([writer.table(9, subgraph)])}
    if metadata.license:
        fields[5] = writer.string(metadata.license)
    fields[7] = writer.string("1.0.0")
    builder.Finish(writer.table(8, fields), _IDENTIFIER)
    return bytes(builder.Output())


def _output(writer: _TableWriter, name: str) -> int:
    fields = {0: writer.string(name), 1: writer.string(_DESCRIPTIONS[name])}
    if name == PROBABILITIES:
        labels = writer.table(5, {0: writer.string(LABELS_FILE)}, {2: _AXIS_LABELS})
        fields[6] = writer.tables([labels])
    return writer.table(7, fields)


class _TableWriter:
    """Writes tables of the schema by the numbers of their fields."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def string(self, text: str) -> int:
        return int(self._builder.CreateString(text))

    def floats(self, values: Sequence[float]) -> int:
        return self._vector(values, self._builder.PrependFloat32)

    def tables(self, offsets: Sequence[int]) -> int:
        return self._vector(offsets, self._builder.PrependUOffsetTRelative)

    def table(self, num_fields: int, offsets: dict[int, int], bytes_: dict[int, int] | None = None) -> int:
        """Write a table with offsets of other values and with single bytes, by the number of the field."""
        self._builder.StartObject(num_fields)
        for field, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in (bytes_ or {}).items():
            self._builder.PrependUint8Slot(field, value, 0)
        return int(self._builder.EndObject())

    def _vector(self, values: Sequence[Any], prepend: Callable[[Any], None]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return int(self._builder.EndVector())
