"""Options of commands as tables, one row per argument of the API, whose defaults are those of the API."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: of the argument of the API.
        help: one line.
        type: from text to the value; bool for --name and --no-name.
        nargs: as in argparse, for a list.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    nargs: str | None = None


def number_or_text(text: str) -> int | float | str:
    """Return a number where the text is one, and there is no file of this name.

    >>> number_or_text("3"), number_or_text("0.2"), number_or_text("auto")
    (3, 0.2, 'auto')
    """
    if not os.path.exists(text):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


DATA = (
    Option("validation", "another source, a fraction of DATA, or a number of images", number_or_text),
    Option("test", "likewise; these images are not used in training", number_or_text),
    Option("image_size", "size in pixels: one number, or height and width", int, "+"),
    Option("batch_size", "images per batch", int),
    Option("resize", "stretch, crop or pad"),
    Option("target", "class or number: what the labels of a table are"),
    Option("class_names", "order of the classes", nargs="+"),
    Option("label_separator", "separator between several labels in a table"),
    Option("label_column", "column of the labels in a table, such as age"),
    Option("weight_column", "column of sample weights in a table"),
    Option("subset", "fraction or number of the images of each class", number_or_text),
    Option("balance", "oversample repeats the training images of small classes"),
    Option("on_error", "skip or raise: what to do about unreadable files"),
    Option("max_skipped_fraction", "largest fraction of unreadable files", float),
    Option("cache_images", "cache decoded images on disk", bool),
)
# For commands that do not train.
_OF_TRAINING = ("target", "balance", "label_separator", "weight_column", "cache_images")
SOURCE = tuple(row for row in DATA if row.name not in _OF_TRAINING)


def add_options(parser: argparse.ArgumentParser, title: str, options: Iterable[Option]) -> None:
    """Add a group of options; those that are not given are not in the namespace."""
    group = parser.add_argument_group(title)
    for option in options:
        flag = f"--{option.name.replace('_', '-')}"
        common: dict[str, Any] = {"dest": option.name, "help": option.help, "default": argparse.SUPPRESS}
        if option.type is bool:
            # Python 3.10 appends the default to the help, so SUPPRESS is set afterwards.
            action = group.add_argument(flag, **{**common, "default": None}, action=argparse.BooleanOptionalAction)
            action.default, action.help = argparse.SUPPRESS, option.help
        else:
            metavar = "N" if option.type in (int, float) else "VALUE"
            group.add_argument(flag, **common, type=option.type, nargs=option.nargs, metavar=metavar)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands with results have."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON")
    text = "TOML or JSON file with values of options; those of the command line replace them"
    group.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=text)


def given(values: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    """Return the arguments of the API among the options that were given."""
    found = {option.name: values[option.name] for option in options if option.name in values}
    if len(found.get("image_size", ())) == 1:
        (found["image_size"],) = found["image_size"]
    return found
