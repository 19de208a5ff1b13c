"""The model card of a saved classifier: README.md in the format of the Hugging Face Hub.

Reference: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferkit._utils.tables import markdown_table
from transferkit._utils.text import printable
from transferkit.calibration import Calibration
from transferkit.evaluation.report import Report

CARD_FILE, PLOT_FILE = "README.md", "evaluation.png"
_MAX_CLASSES = 100
# Below this many images, metrics say little.
_FEW_IMAGES, _FEW_IMAGES_OF_CLASS = 100, 10
_MARK = "<!-- Written by transferkit; text that you change is kept. "
_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


@dataclasses.dataclass(frozen=True)
class CardContents:
    """What a model card is written from.

    Attributes:
        name: of the folder.
        class_names: in the order of the outputs.
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
    report: Report | None


def write_model_card(staging_dir: Path, target: Path, contents: CardContents) -> None:
    """Write the card and its picture to `staging_dir`; a card in `target` that the user has changed is kept."""
    present = target / CARD_FILE
    if present.is_file() and not _is_unchanged(present):
        shutil.copyfile(present, staging_dir / CARD_FILE)
    else:
        (staging_dir / CARD_FILE).write_text(_signed(card_text(contents)), encoding="utf-8", errors="replace")
    if contents.report is not None:
        contents.report.plot(staging_dir / PLOT_FILE)


def card_text(contents: CardContents) -> str:
    """Return the card in Markdown, with metadata in YAML."""
    sections = [_front_matter(contents), _introduction(contents), _training(contents), _evaluation(contents)]
    return "\n\n".join([*sections, _limits(contents)]) + "\n"


def _front_matter(contents: CardContents) -> str:
    lines = ["---", "library_name: keras", "pipeline_tag: image-classification", "tags:"]
    lines += [f"- {tag}" for tag in ("transferkit", "image-classification", "transfer-learning")]
    if contents.report is not None:
        # A JSON text is valid in YAML.
        values = {name: value for name, value in _values(contents.report).items() if name in ("accuracy", "macro_f1")}
        lines += ["metrics:", "- accuracy", "model-index:", f"- name: {json.dumps(contents.name)}", "  results:"]
        lines += ["  - task:", "      type: image-classification", "    dataset:"]
        lines += ["      type: image-folder", '      name: "Images that were not trained on"', "    metrics:"]
        types = {"accuracy": "accuracy", "macro_f1": "f1"}
        for name, value in values.items():
            lines += [f"    - type: {types[name]}", f"      name: {_METRICS[name]}", f"      value: {value:.4f}"]
    return "\n".join([*lines, "---"])


def _introduction(contents: CardContents) -> str:
    names, size = contents.class_names, "x".join(map(str, contents.image_size))
    shown = ", ".join(map(_escape, names[:_MAX_CLASSES])) + (", ..." if len(names) > _MAX_CLASSES else "")
    return (
        f"# {_escape(contents.name)}\n\nA classifier of images of {size} pixels into {len(names):,} classes: {shown}."
        "\n\n```python\nimport transferkit as tk\n\n"
        f"predictor = tk.load({contents.name!r})\nprediction = predictor.predict('image.jpg')\n"
        "print(prediction.label, prediction.probability)\n```"
    )


def _training(contents: CardContents) -> str:
    training = contents.training
    parts = ["## Training"]
    counts = training.get("images")
    if counts:
        shown = list(counts.items())[:_MAX_CLASSES]
        rows = [[_escape(name), f"{count:,}"] for name, count in shown]
        parts.append(f"{sum(counts.values()):,} images were trained on.")
        parts.append(markdown_table(["class", "images"], rows))
    rows = [
        [_escape(phase["name"]), f"{len(phase['history'].get('loss', ())):,}", f"{phase['learning_rate']:g}"]
        for phase in training.get("phases", ())
    ]
    if rows:
        parts.append(markdown_table(["phase", "epochs", "learning rate"], rows))
    versions = ", ".join(f"{name} {version}" for name, version in training.get("versions", {}).items())
    parts.append(f"Seed {training.get('seed')}; {versions}.")
    return "\n\n".join(parts)


def _evaluation(contents: CardContents) -> str:
    report = contents.report
    if report is None:
        return "## Evaluation\n\nNo report was given to `Trainer.save(folder, report=...)`."
    rows = []
    for name, value in _values(report).items():
        low, high = report.confidence_interval(name, samples=1000)
        rows.append([_METRICS[name], f"{value:.4f}", f"{low:.4f} to {high:.4f}"])
    classes = [
        [_escape(name), f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{row['f1']:.4f}", f"{row['support']:,}"]
        for name, row in list(report.per_class.items())[:_MAX_CLASSES]
    ]
    return "\n\n".join(
        [
            f"## Evaluation\n\nOn {len(report.labels):,} images, with bootstrap intervals of 95 %:",
            markdown_table(["metric", "value", "interval"], rows),
            markdown_table(["class", "precision", "recall", "F1", "images"], classes),
            f"![Confusion matrix, calibration and curves]({PLOT_FILE})",
            _calibration(contents.calibration),
        ]
    )


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None:
        return "The probabilities were not calibrated."
    parts = [f"Calibrated on {calibration.num_images:,} images: temperature {calibration.temperature:.3f}"]
    if calibration.min_confidence is not None:
        parts.append(f"predictions below {calibration.min_confidence:.3f} are uncertain")
    if calibration.coverage is not None:
        parts.append(f"label sets contain the true label with a probability of {calibration.coverage:g}")
    if calibration.max_distance is not None:
        parts.append("images that do not resemble the training images are marked (`in_distribution`)")
    return "; ".join(parts) + "."


def _limits(contents: CardContents) -> str:
    report, calibration = contents.report, contents.calibration
    limits = ["Each image gets one of the classes, also an image of something else."]
    if calibration is not None and calibration.max_distance is not None:
        limits = ["An image of something else gets one of the classes too; check `prediction.in_distribution`."]
    if report is not None:
        if len(report.labels) < _FEW_IMAGES:
            limits.append(f"It was evaluated on {len(report.labels)} images only; the intervals are wide.")
        limits += _weak_classes(report)
    limits.append("Images from other cameras, places or times than those of the evaluation may be classified worse.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _weak_classes(report: Report) -> list[str]:
    limits = []
    few = [name for name, row in report.per_class.items() if row["support"] < _FEW_IMAGES_OF_CLASS]
    if few:
        names = ", ".join(map(_escape, few[:5])) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        limits.append(f"Fewer than {_FEW_IMAGES_OF_CLASS} images evaluate the classes {names}.")
    for row in report.confusions(3, examples=0):
        true, predicted = _escape(row["true_label"]), _escape(row["predicted_label"])
        limits.append(f"{row['fraction']:.1%} of the images of {true} are predicted as {predicted}.")
    return limits


def _values(report: Report) -> dict[str, float]:
    values = {**report.to_dict(), "macro_f1": report.averages["macro"]["f1"]}
    return {name: float(values[name]) for name in _METRICS if values[name] is not None}


def _escape(name: str) -> str:
    """Return a name for Markdown, in which it is no markup."""
    return html.escape(_SPECIAL.sub(r"\\\1", printable(name)), quote=False)


def _signed(text: str) -> str:
    return f"{text}\n{_MARK}{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()} -->\n"


def _is_unchanged(path: Path) -> bool:
    """Return whether a card is one that was written here and not changed since."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = path.read_bytes().decode("utf-8")
        return text == _signed(text.rpartition(f"\n{_MARK}")[0])
    return False
