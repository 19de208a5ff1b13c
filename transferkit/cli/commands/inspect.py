"""`transferkit inspect`: wrong labels, near duplicates, outliers and poor images."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")

_INSPECT = (
    options.Option("duplicate_similarity", "cosine similarity of near duplicates, in [0, 1]", float),
    options.Option("image_quality", "find dark, bright, blurry and small images", bool),
)
_PAGE = (options.Option("projection", "pca, tsne or umap: the map of the images on the page"),)
_RECORDS = ("label_issues", "near_duplicates", "outliers", "class_overlap", "image_issues")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or with splits; or a table")
    parser.add_argument("--backbone", metavar="NAME", required=True, help="name from `transferkit backbones`")
    parser.add_argument("--out", metavar="FILE", help="write the results as a page with thumbnails")
    parser.add_argument("--csv", metavar="FILE", help="write one row per image, with suggested labels")
    options.add_options(parser, "inspection", (*_INSPECT, *_PAGE))
    options.add_options(parser, "data", options.SOURCE)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Inspect; the images and labels are not changed."""
    values = vars(arguments)
    data = tk.DatasetBuilder(arguments.data, **options.given(values, options.SOURCE)).build()
    inspection = tk.inspect(data, arguments.backbone, **options.given(values, _INSPECT))
    if arguments.out is not None:
        inspection.to_html(arguments.out, **options.given(values, _PAGE))
    if arguments.csv is not None:
        inspection.to_csv(arguments.csv)
    found = {name: [dataclasses.asdict(one) for one in getattr(inspection, name)] for name in _RECORDS}
    output.result(arguments, {"images": len(inspection.images), **found}, str(inspection))
    return 0
