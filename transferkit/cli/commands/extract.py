"""`transferkit extract`: the features of any number of images, in a folder of Parquet files."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.checks import check_image_size
from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, workers

tk: Any = LazyModule("transferkit")

_BACKBONE = (
    options.Option("image_size", "size in pixels: one number, or height and width", int, "+"),
    options.Option("weights", "imagenet, none, or the path of a file"),
)
_EXTRACT = (options.Option("precision", "float32, bfloat16 or float16"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = 'a folder, a table, archives, a pattern such as "train-{000..099}.tar", or files; also URLs'
    parser.add_argument("source", nargs="+", metavar="SOURCE", help=text)
    parser.add_argument("--backbone", metavar="NAME", required=True, help="name from `transferkit backbones`")
    text = "folder or URL of the features; the same command continues after an interruption"
    parser.add_argument("--out", metavar="FOLDER", required=True, help=text)
    options.add_options(parser, "backbone", (*_BACKBONE, *_EXTRACT))
    options.add_options(parser, "workers", workers.SHARDING)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Extract; the exit status is 1 when no image could be read."""
    values = vars(arguments)
    # Before the backbone: wrong options must not wait for it.
    sharding = workers.sharding_arguments(values)
    source = arguments.source[0] if len(arguments.source) == 1 else arguments.source
    backbone = tk.BackboneFactory.create(arguments.backbone, **_backbone_arguments(values))
    shards = tk.extract_features(source, backbone, out=arguments.out, **sharding, **options.given(values, _EXTRACT))
    return workers.print_shards(arguments, shards)


def _backbone_arguments(values: dict[str, Any]) -> dict[str, Any]:
    found = options.given(values, _BACKBONE)
    if "image_size" in found:
        found["input_shape"] = (*check_image_size("image_size", found.pop("image_size")), 3)
    if found.get("weights") == "none":
        found["weights"] = None
    return found
