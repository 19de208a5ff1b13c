"""A report as text of limited length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transferkit._utils.tables import html_lines, html_table, text_table
from transferkit._utils.text import MAX_REPR, printable
from transferkit.evaluation.curve_areas import mean_areas
from transferkit.evaluation.report_metrics import ReportMetrics

_MAX_NAME, _MAX_HTML_ROWS = 40, 50
_HEADER = ["class", "precision", "recall", "f1", "images"]


def report_text(report: ReportMetrics) -> str:
    """Return a summary and a table of the classes; of many classes, the first ones."""
    rows = [_row(short_name(name), metrics) for name, metrics in report.per_class.items()]
    lines = [*_summary(report), *text_table([_HEADER, *rows], "<>>>>").splitlines()]
    ends = np.cumsum([len(line) + 1 for line in lines])
    if ends[-1] > MAX_REPR:
        count = int(np.searchsorted(ends, MAX_REPR - len("... and 1,000,000 more classes")))
        lines[count:] = [f"... and {len(lines) - count:,} more classes"]
    return "\n".join(lines)


def report_html(report: ReportMetrics) -> str:
    """Return a summary and a table of the classes as HTML; of many classes, the first ones."""
    rows = [_row(short_name(name), metrics) for name, metrics in list(report.per_class.items())[:_MAX_HTML_ROWS]]
    more = len(report.per_class) - len(rows)
    return (
        html_lines(_summary(report))
        + html_table(rows, _HEADER)
        + html_lines([f"... and {more:,} more classes"] if more else [])
    )


def short_name(name: str) -> str:
    """Return the name without control characters, cut at 40 characters."""
    name = printable(name)
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..."


def _summary(report: ReportMetrics) -> list[str]:
    loss = "" if report.loss is None else f", loss {report.loss:.4f}"
    averages, (roc_auc, average_precision) = report.averages, mean_areas(report.outcomes)
    first = f"{len(report.labels):,} images: accuracy {report.accuracy:.4f}{loss}, balanced accuracy "
    first += f"{averages['balanced']['recall']:.4f}, ROC AUC {roc_auc:.4f}"
    f1 = ", ".join(f"{name} F1 {averages[name]['f1']:.4f}" for name in ("macro", "weighted"))
    return [first, f"{f1}, average precision {average_precision:.4f}"]


def _row(name: str, metrics: Mapping[str, float]) -> list[str]:
    values = [f"{metrics[metric]:.4f}" for metric in ("precision", "recall", "f1")]
    return [name, *values, f"{metrics['support']:,}"]
