"""A report as a self-contained HTML page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.lazy import LazyModule
from transferkit.calibration.thresholds import selective_accuracy
from transferkit.evaluation.confusions import confusion_rows, mistake_rows
from transferkit.evaluation.curve_panels import curve_panels
from transferkit.evaluation.metric_samples import metric_samples
from transferkit.evaluation.report_export import report_dict
from transferkit.evaluation.report_metrics import ReportMetrics
from transferkit.evaluation.resampling import percentile_interval
from transferkit.evaluation.slices import PROPERTIES, make_slices, slice_values
from transferkit.pages import MapPoints, Page, Picture, array_picture, plot_picture, project, thumbnails
from transferkit.pages.tables import Cell

if TYPE_CHECKING:
    from transferkit import plots
else:
    plots = LazyModule("transferkit.plots")

_MAX_CONFUSIONS, _EXAMPLES = 20, 3
# Of a larger map, so many images are shown, evenly spaced.
_MAX_POINTS = 2000
# Metrics with an interval: name in `metric_samples` and title.
_INTERVALS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
}


def write_page(report: ReportMetrics, path: str | os.PathLike[str], predictor: Any, mistakes: int) -> None:
    """Write the page of a report; with a predictor it has heat maps and a map of the images."""
    page = Page(f"Evaluation of {len(report.labels):,} images")
    _add_metrics(page, report)
    _add_classes(page, report)
    _add_figures(page, report)
    _add_confusions(page, report)
    _add_mistakes(page, report, predictor, mistakes)
    _add_slices(page, report)
    if predictor is not None:
        _add_map(page, report, predictor)
    page.write(path)


def _add_metrics(page: Page, report: ReportMetrics) -> None:
    values = {**report_dict(report), "macro_f1": report.averages["macro"]["f1"]}
    rows: list[list[Cell]] = []
    for name, title in _INTERVALS.items():
        if values[name] is not None:
            low, high = percentile_interval(metric_samples(report, name, 1000, 0), 0.95)
            rows.append([title, float(values[name]), f"[{low:.4f}, {high:.4f}]"])
    if report.loss is not None:
        rows.append(["loss", report.loss, ""])
    page.heading("Metrics").table(["metric", "value", "95 % interval (bootstrap)"], rows)


def _add_classes(page: Page, report: ReportMetrics) -> None:
    rows: list[list[Cell]] = [
        [name, values["precision"], values["recall"], values["f1"], int(values["support"])]
        for name, values in report.per_class.items()
    ]
    page.heading("Classes").table(["class", "precision", "recall", "F1", "images"], rows)


def _add_figures(page: Page, report: ReportMetrics) -> None:
    outcomes, bins = report.outcomes, report.reliability()
    panels = curve_panels(outcomes, report.class_names)
    calibration = bins.accuracy, bins.counts
    arguments = report.confusion_matrix, report.class_names, calibration, panels
    page.heading("Confusion matrix, calibration and curves")
    page.figure(plot_picture(lambda file: plots.evaluation_figure(*arguments, path=file)))
    _, fraction, accuracy = selective_accuracy(outcomes.correct.ravel(), outcomes.confidence.ravel())
    page.text("Accuracy of the most confident predictions, for each fraction of them:")
    page.figure(plot_picture(lambda file: plots.selective_accuracy_curve(fraction, accuracy, file)))


def _add_confusions(page: Page, report: ReportMetrics) -> None:
    rows = confusion_rows(report.outcomes, report.class_names, _MAX_CONFUSIONS, _EXAMPLES)
    if not rows:
        return
    header = ["true label", "predicted label", "images", "fraction of the true label"]
    cells: list[list[Cell]] = [
        [row["true_label"], row["predicted_label"], row["images"], (row["fraction"], f"{row['fraction']:.1%}")]
        for row in rows
    ]
    if report.paths is not None:
        header.append("examples")
        for row, line in zip(rows, cells):
            line.append(thumbnails([report.paths[index] for index in row["indices"]]))
    page.heading("Confused classes").table(header, cells)


def _add_mistakes(page: Page, report: ReportMetrics, predictor: Any, count: int) -> None:
    rows = mistake_rows(report.outcomes, report.class_names, report.paths)
    page.heading(f"Mistakes ({len(rows):,})")
    rows = rows[:count]
    if not rows:
        page.text("Each prediction is correct." if count else "None is shown.")
        return
    header = ["true label", "predicted label", "probability"]
    cells: list[list[Cell]] = [[row["true_label"], row["predicted_label"], row["probability"]] for row in rows]
    if report.paths is not None:
        header = ["image", *header, "file"]
        paths = [row["path"] for row in rows]
        pictures = [[picture] for picture in thumbnails(paths, side=128)]
        if predictor is not None:
            for images, heat_map in zip(pictures, _heat_maps(predictor, rows)):
                images.append(heat_map)
        cells = [[shown, *line, path] for shown, line, path in zip(pictures, cells, paths)]
    page.table(header, cells)


def _heat_maps(predictor: Any, rows: list[dict[str, Any]]) -> list[Picture]:
    """Return a heat map of the predicted class for each mistake."""
    explanations = predictor.explain([row["path"] for row in rows])
    return [
        Picture("", one.error) if one.error is not None else array_picture(one.overlay(), "why the predicted label")
        for one in explanations
    ]


def _add_slices(page: Page, report: ReportMetrics) -> None:
    if report.paths is None:
        return
    page.heading("Groups of images")
    for name in PROPERTIES:
        values = slice_values(name, report.paths, report.class_names, len(report.labels))
        slices = make_slices(report.outcomes, values, 4)
        rows: list[list[Cell]] = [
            [one.value, one.images, one.accuracy, str(one.interval), one.balanced_accuracy, one.macro_f1]
            for one in slices
        ]
        header = [name, "images", "accuracy", "95 % interval", "balanced accuracy", "macro F1"]
        page.text(f"By {name}:").table(header, rows)


def _add_map(page: Page, report: ReportMetrics, predictor: Any) -> None:
    if report.paths is None or len(report.paths) < 3:
        return
    chosen = np.unique(np.linspace(0, len(report.paths) - 1, min(len(report.paths), _MAX_POINTS)).astype(int))
    paths = [report.paths[index] for index in chosen]
    labels = _label_texts(report, report.labels[chosen])
    predicted = _label_texts(report, report.predictions[chosen])
    outcome = ["correct" if one == other else "mistake" for one, other in zip(labels, predicted)]
    texts = [f"{path}: {label}, predicted {other}" for path, label, other in zip(paths, labels, predicted)]
    groups = {"true label": labels, "predicted label": predicted, "mistake": outcome}
    images = [picture.uri for picture in thumbnails(paths, side=64)]
    positions = project(predictor.embed(paths))
    page.heading("Map of the images").text("Principal components of the features of the classifier:")
    page.map(MapPoints(positions, texts, images, groups))


def _label_texts(report: ReportMetrics, labels: np.ndarray) -> list[str]:
    if labels.ndim == 1:
        return [report.class_names[int(label)] for label in labels]
    return [", ".join(report.class_names[index] for index in np.flatnonzero(row)) or "none" for row in labels]
