"""`transferkit explain`: heat maps of predictions, as images."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from transferkit._utils.files import atomic_write
from transferkit._utils.lazy import LazyModule
from transferkit._utils.text import printable
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")
inputs: Any = LazyModule("transferkit.data.inputs")
pillow: Any = LazyModule("PIL.Image")

_EXPLAIN = (
    options.Option("method", "grad_cam, grad_cam++, hires_cam, layer_cam, integrated_gradients or occlusion"),
    options.Option("class_name", "class to explain; by default the predicted one"),
)
_OVERLAY = (
    options.Option("alpha", "weight of the colors, in [0, 1]", float),
    options.Option("colormap", "name of a colormap of matplotlib"),
)
# Explanations in memory at a time.
_CHUNK = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a saved classifier")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help='files, folders or patterns such as "photos/*.jpg"')
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder for one PNG file per image")
    options.add_options(parser, "heat maps", (*_EXPLAIN, *_OVERLAY))
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the heat maps; the exit status is 1 when no image could be read."""
    predictor, values = tk.load(arguments.run_folder), vars(arguments)
    single = inputs.single_image(arguments.images[0]) if len(arguments.images) == 1 else None
    sources = iter(inputs.expand(arguments.images) if single is None else [single])
    used: set[str] = set()
    count = 0
    for chunk in iter(lambda: list(itertools.islice(sources, _CHUNK)), []):
        for one in _explain(predictor, chunk, options.given(values, _EXPLAIN)):
            explained = {"label": one.class_name, "probability": one.probability}
            if one.value is not None:
                explained = {"value": one.value}
            row = {"path": one.path, "error": one.error, **explained}
            target = None
            if one.error is None:
                count += 1
                target = Path(arguments.out) / _unused_name(Path(one.path).stem, used)
                with atomic_write(target, suffix=".png") as path:
                    pillow.fromarray(one.overlay(**options.given(values, _OVERLAY))).save(path)
            shown = [f"error: {one.error}"] if one.error else [target, *map(_text, explained.values())]
            output.result(arguments, {**row, "file": target}, "\t".join(map(printable, [one.path, *shown])))
    return int(not count)


def _explain(predictor: Any, sources: list[Any], values: dict[str, Any]) -> Any:
    images = [one.path if hasattr(one, "reason") else one for one in sources]
    return tk.explain(predictor, images, **values)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _unused_name(stem: str, used: set[str]) -> str:
    """Return the name of a file that is not in `used`, and add it."""
    suffixes = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    # File systems may not distinguish capital letters.
    name = next(name for name in (f"{stem}{suffix}.png" for suffix in suffixes) if name.casefold() not in used)
    used.add(name.casefold())
    return name
