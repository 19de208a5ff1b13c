"""A report on predicted numbers as a self-contained HTML page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import LazyModule
from transferkit.pages import Page, Picture, array_picture, plot_picture, thumbnails
from transferkit.pages.tables import Cell

if TYPE_CHECKING:
    from transferkit import plots
else:
    plots = LazyModule("transferkit.plots")


def write_regression_page(report: Any, path: str | os.PathLike[str], predictor: Any, mistakes: int) -> None:
    """Write the page of a `RegressionReport`; with a predictor it has heat maps."""
    page = Page(f"Evaluation of {len(report.labels):,} images")
    page.heading("Metrics").table(["metric", "value", "95 % interval (bootstrap)"], _metrics(report))
    page.heading("Predicted and true numbers")
    arguments = report.labels, report.predictions
    page.figure(plot_picture(lambda file: plots.regression_figure(*arguments, path=file)))
    page.heading("Largest errors")
    _add_mistakes(page, report.mistakes(mistakes) if mistakes else [], predictor)
    page.write(path)


def _metrics(report: Any) -> list[list[Cell]]:
    loss: list[list[Cell]] = [] if report.loss is None else [["loss", report.loss, ""]]
    return [*([name, float(value), interval] for name, value, interval in report.metric_rows()), *loss]


def _add_mistakes(page: Page, rows: list[dict[str, Any]], predictor: Any) -> None:
    if not rows:
        page.text("None is shown.")
        return
    header = ["label", "prediction", "residual"]
    cells: list[list[Cell]] = [[row[name] for name in header] for row in rows]
    if rows[0]["path"] is not None:
        paths = [row["path"] for row in rows]
        pictures = [[picture] for picture in thumbnails(paths, side=128)]
        if predictor is not None:
            for images, one in zip(pictures, predictor.explain(paths)):
                title = "what raises the number"
                images.append(Picture("", one.error) if one.error else array_picture(one.overlay(), title))
        cells = [[shown, *line, path] for shown, line, path in zip(pictures, cells, paths)]
        header = ["image", *header, "file"]
    page.table(header, cells)
