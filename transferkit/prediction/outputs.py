"""The one place that decides between classes and numbers: what the outputs of a model mean."""

from __future__ import annotations

from collections.abc import Sequence

from transferkit.calibration import Calibration
from transferkit.prediction.class_outputs import ClassOutputs
from transferkit.prediction.number_outputs import NumberOutputs

Outputs = ClassOutputs | NumberOutputs


def outputs_of(
    class_names: Sequence[str], activation: str | None, calibration: Calibration | None, units: int
) -> Outputs:
    """Return the meaning of the outputs of a model.

    Args:
        class_names: in the order of the outputs; empty for numbers.
        activation: "sigmoid", "softmax", None for probabilities, or "linear" for numbers.
        calibration: of the probabilities or of the numbers, or None.
        units: number of outputs.

    Raises:
        ValueError: when they do not match.
    """
    if calibration is not None:
        calibration.check_fits(len(class_names), activation)
    kind = NumberOutputs if activation == "linear" else ClassOutputs
    return kind(tuple(class_names), activation, calibration, units)
