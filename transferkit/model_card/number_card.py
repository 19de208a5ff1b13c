"""The model card of a model that predicts numbers."""

from __future__ import annotations

from transferkit._utils.tables import markdown_table
from transferkit.calibration import Calibration
from transferkit.evaluation.regression_metrics import METRICS
from transferkit.evaluation.regression_report import RegressionReport
from transferkit.model_card.parts import FEW_IMAGES, PLOT_FILE, CardContents, escape, training_text


def number_card(contents: CardContents) -> str:
    """Return the card of a model of numbers in Markdown, with metadata in YAML."""
    sections = [_front_matter(), _introduction(contents), training_text(contents), _evaluation(contents)]
    return "\n\n".join([*sections, _limits(contents)]) + "\n"


def _front_matter() -> str:
    # The Hub has no task for numbers of images.
    tags = [f"- {tag}" for tag in ("transferkit", "image-regression", "transfer-learning")]
    return "\n".join(["---", "library_name: keras", "tags:", *tags, "---"])


def _introduction(contents: CardContents) -> str:
    size = "x".join(map(str, contents.image_size))
    name = contents.training.get("labels", {}).get("name")
    predicted = "one number" if name is None else f"one number, {escape(name)},"
    return (
        f"# {escape(contents.name)}\n\nA model that predicts {predicted} for an image of {size} pixels, in the unit of "
        "its training labels.\n\n```python\nimport transferkit as tk\n\n"
        f"predictor = tk.load({contents.name!r})\nprediction = predictor.predict('image.jpg')\n"
        "print(prediction.value, prediction.low, prediction.high)\n```"
    )


def _evaluation(contents: CardContents) -> str:
    report = contents.report
    parts = ["## Evaluation"]
    if isinstance(report, RegressionReport):
        rows = []
        for name in METRICS:
            low, high = report.confidence_interval(name, samples=1000)
            rows.append([name.replace("_", " "), f"{getattr(report, name):.4g}", f"{low:.4g} to {high:.4g}"])
        parts.append(f"On {len(report.labels):,} images, with bootstrap intervals of 95 %:")
        parts.append(markdown_table(["metric", "value", "interval"], rows))
        parts.append(f"![Predicted and true numbers, and residuals]({PLOT_FILE})")
    else:
        parts.append("No report was given to `Trainer.save(folder, report=...)`.")
    return "\n\n".join([*parts, _interval(contents.calibration)])


def _interval(calibration: Calibration | None) -> str:
    if calibration is None or calibration.half_width is None or calibration.coverage is None:
        return "The predictions have no intervals."
    return (
        f"The intervals, {calibration.half_width:.4g} to either side of the value, were calibrated on "
        f"{calibration.num_images:,} images; they contain the true number with a probability of "
        f"{calibration.coverage:g}."
    )


def _limits(contents: CardContents) -> str:
    limits = ["Each image gets a number, also an image of something else."]
    if contents.report is not None and len(contents.report.labels) < FEW_IMAGES:
        limits.append(f"It was evaluated on {len(contents.report.labels)} images only; the intervals are wide.")
    limits.append("Numbers outside the range of the training labels are not predicted reliably.")
    limits.append("Images from other cameras, places or times than those of the evaluation may have larger errors.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
