"""What an export wrote, and how it compares with the Keras model."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The result of `transferkit.export`.

    Attributes:
        path: str. The file or folder.
        format: str. "saved_model", "litert", "onnx" or "openvino".
        precision: str. "float32", "float16", "int8" or "dynamic_int8".
        size_bytes: int. Of the file, or of all files of the folder.
        num_images: int. Images on which it was verified.
        synthetic_images: bool. Whether these were generated, because none were given.
        max_difference: float. Largest difference of probabilities from the Keras model; for numbers as labels, of the
            numbers, in standard deviations of the training labels (at least a hundredth of the largest number).
        label_agreement: float in [0, 1]. Fraction of equal labels; None for numbers.
        latency_ms: float. Milliseconds for one image in the runtime of the format, median.
        keras_latency_ms: float. Those of the Keras model as a TensorFlow function.
        accuracy: float in [0, 1], or None without labels.
        keras_accuracy: float in [0, 1], or None without labels.
        mean_absolute_error: float >= 0, of numbers, or None without them as labels.
        keras_mean_absolute_error: float >= 0, likewise.
        default_settings_difference: float, or None. For OpenVINO, the largest difference where the settings in
            config.json are not used: processors with bfloat16 compute in it by default.

    Example:

    >>> report = tk.export(trainer, "model.onnx", images=data)  # doctest: +SKIP
    >>> report.max_difference < 1e-4, report.label_agreement  # doctest: +SKIP
    (True, 1.0)
    """

    path: str
    format: str
    precision: str
    size_bytes: int
    num_images: int
    synthetic_images: bool
    max_difference: float
    label_agreement: float | None
    latency_ms: float
    keras_latency_ms: float
    accuracy: float | None = None
    keras_accuracy: float | None = None
    default_settings_difference: float | None = None
    mean_absolute_error: float | None = None
    keras_mean_absolute_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        images = f"{self.num_images:,} {'synthetic ' if self.synthetic_images else ''}images"
        agreement = "" if self.label_agreement is None else f", labels equal {self.label_agreement:.2%}"
        lines = [
            f"{self.path} ({self.format}, {self.precision}, {self.size_bytes / 1e6:.1f} MB)",
            f"  verified on {images}: largest difference {self.max_difference:.2g}{agreement}",
            f"  one image: {self.latency_ms:.2f} ms, Keras {self.keras_latency_ms:.2f} ms",
        ]
        if self.accuracy is not None and self.keras_accuracy is not None:
            lines.append(f"  accuracy: {self.accuracy:.4f}, Keras {self.keras_accuracy:.4f}")
        if self.mean_absolute_error is not None and self.keras_mean_absolute_error is not None:
            errors = f"{self.mean_absolute_error:.4g}, Keras {self.keras_mean_absolute_error:.4g}"
            lines.append(f"  mean absolute error: {errors}")
        if self.default_settings_difference is not None:
            lines.append(f"  largest difference without config.json: {self.default_settings_difference:.2g}")
        return "\n".join(lines)
