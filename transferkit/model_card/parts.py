"""What the model cards of classes and of numbers have in common."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Mapping
from typing import Any

from transferkit._utils.tables import markdown_table
from transferkit._utils.text import printable
from transferkit.calibration import Calibration
from transferkit.evaluation.regression_report import RegressionReport
from transferkit.evaluation.report import Report

PLOT_FILE = "evaluation.png"
MAX_CLASSES = 100
# Below this many images, metrics say little.
FEW_IMAGES = 100
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


@dataclasses.dataclass(frozen=True)
class CardContents:
    """What a model card is written from.

    Attributes:
        name: of the folder.
        class_names: in the order of the outputs; empty for numbers.
        image_size: (height, width) in pixels.
        training: the training record of the metadata.
        calibration: of the classifier, or None.
        report: on images that were not trained on, or None.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    training: Mapping[str, Any]
    calibration: Calibration | None
    report: Report | RegressionReport | None


def training_text(contents: CardContents) -> str:
    """Return the section on the training."""
    training = contents.training
    parts = ["## Training"]
    counts = training.get("images")
    if counts:
        shown = list(counts.items())[:MAX_CLASSES]
        rows = [[escape(name), f"{count:,}"] for name, count in shown]
        parts.append(f"{sum(counts.values()):,} images were trained on.")
        parts.append(markdown_table(["class", "images"], rows))
    labels = training.get("labels")
    if labels:
        parts.append(
            f"{labels['images']:,} images were trained on, with labels from {labels['minimum']:.4g} to "
            f"{labels['maximum']:.4g}, of mean {labels['mean']:.4g} and standard deviation "
            f"{labels['standard_deviation']:.4g}."
        )
    rows = [
        [escape(phase["name"]), f"{len(phase['history'].get('loss', ())):,}", f"{phase['learning_rate']:g}"]
        for phase in training.get("phases", ())
    ]
    if rows:
        parts.append(markdown_table(["phase", "epochs", "learning rate"], rows))
    versions = ", ".join(f"{name} {version}" for name, version in training.get("versions", {}).items())
    parts.append(f"Seed {training.get('seed')}; {versions}.")
    return "\n\n".join(parts)


def escape(name: str) -> str:
    """Return a name for Markdown, in which it is no markup."""
    return html.escape(_SPECIAL.sub(r"\\\1", printable(name)), quote=False)
