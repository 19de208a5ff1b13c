"""The model card of a classifier."""

from __future__ import annotations

import json

from transferkit._utils.tables import markdown_table
from transferkit.calibration import Calibration
from transferkit.evaluation.report import Report
from transferkit.model_card.parts import FEW_IMAGES, MAX_CLASSES, PLOT_FILE, CardContents, escape, training_text

_FEW_IMAGES_OF_CLASS = 10
_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
}


def class_card(contents: CardContents) -> str:
    """Return the card of a classifier in Markdown, with metadata in YAML."""
    sections = [_front_matter(contents), _introduction(contents), training_text(contents), _evaluation(contents)]
    return "\n\n".join([*sections, _limits(contents)]) + "\n"


def _front_matter(contents: CardContents) -> str:
    lines = ["---", "library_name: keras", "pipeline_tag: image-classification", "tags:"]
    lines += [f"- {tag}" for tag in ("transferkit", "image-classification", "transfer-learning")]
    if isinstance(contents.report, Report):
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
    shown = ", ".join(map(escape, names[:MAX_CLASSES])) + (", ..." if len(names) > MAX_CLASSES else "")
    return (
        f"# {escape(contents.name)}\n\nA classifier of images of {size} pixels into {len(names):,} classes: {shown}."
        "\n\n```python\nimport transferkit as tk\n\n"
        f"predictor = tk.load({contents.name!r})\nprediction = predictor.predict('image.jpg')\n"
        "print(prediction.label, prediction.probability)\n```"
    )


def _evaluation(contents: CardContents) -> str:
    report = contents.report
    if not isinstance(report, Report):
        return "## Evaluation\n\nNo report was given to `Trainer.save(folder, report=...)`."
    rows = []
    for name, value in _values(report).items():
        low, high = report.confidence_interval(name, samples=1000)
        rows.append([_METRICS[name], f"{value:.4f}", f"{low:.4f} to {high:.4f}"])
    classes = [
        [escape(name), f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{row['f1']:.4f}", f"{row['support']:,}"]
        for name, row in list(report.per_class.items())[:MAX_CLASSES]
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
    if isinstance(report, Report):
        if len(report.labels) < FEW_IMAGES:
            limits.append(f"It was evaluated on {len(report.labels)} images only; the intervals are wide.")
        limits += _weak_classes(report)
    limits.append("Images from other cameras, places or times than those of the evaluation may be classified worse.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _weak_classes(report: Report) -> list[str]:
    limits = []
    few = [name for name, row in report.per_class.items() if row["support"] < _FEW_IMAGES_OF_CLASS]
    if few:
        names = ", ".join(map(escape, few[:5])) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        limits.append(f"Fewer than {_FEW_IMAGES_OF_CLASS} images evaluate the classes {names}.")
    for row in report.confusions(3, examples=0):
        true, predicted = escape(row["true_label"]), escape(row["predicted_label"])
        limits.append(f"{row['fraction']:.1%} of the images of {true} are predicted as {predicted}.")
    return limits


def _values(report: Report) -> dict[str, float]:
    values = {**report.to_dict(), "macro_f1": report.averages["macro"]["f1"]}
    return {name: float(values[name]) for name in _METRICS if values[name] is not None}
