"""Converts cells of tables: missing values, labels, one-hot lists and names of splits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit.errors import DataError

Label = str | tuple[str, ...]

SPLITS = ("train", "validation", "test")
# Common name of a split -> its name here.
SPLIT_ALIASES = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
# Texts by which pandas and Python write a missing value.
_MISSING = frozenset({"", "nan", "NaN", "NAN", "<NA>", "NaT", "None", "null", "NULL", "#N/A", "#NA", "N/A", "n/a"})
# Characters without width that editors and web pages leave around a text.
_INVISIBLE = "\u200b\u2060\ufeff"


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: None, NaN, pandas.NA, NaT, spaces, or one of their texts.

    >>> is_missing(" "), is_missing(float("nan")), is_missing(0)
    (True, True, False)
    """
    if isinstance(value, str):
        return value.strip() in _MISSING
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        # The truth of pandas.NA is undefined.
        return True
    except ValueError:
        # An array.
        return False


def to_name(text: str) -> str:
    """Return the name of a class: without spaces around it, in one of the forms that Unicode has for a letter.

    Bytes of a folder's name that are not Unicode are escaped, so that the name can be shown and saved.
    """
    shown = re.sub(f"^[\\s{_INVISIBLE}]+|[\\s{_INVISIBLE}]+$", "", text)
    return unicodedata.normalize("NFC", shown.encode("utf-8", "backslashreplace").decode("utf-8"))


def split_name(name: str) -> str | None:
    """Return the split that a folder or a cell names, or None.

    >>> split_name("training_set"), split_name("Val"), split_name("cats")
    ('train', 'validation', None)
    """
    return SPLIT_ALIASES.get(re.sub(r"[ _-]?(set|images|data|split)$", "", name.strip().casefold()))


def resembled_split(name: str) -> str | None:
    """Return the one split that a word in the name of a folder names, or None.

    >>> resembled_split("seg_train"), resembled_split("test1"), resembled_split("train_or_test")
    ('train', 'test', None)
    """
    found = {SPLIT_ALIASES[word] for word in re.findall("[a-z]+", name.casefold()) if word in SPLIT_ALIASES}
    return found.pop() if len(found) == 1 else None


def to_label(value: Any) -> Label:
    """Return a class name, or several for a list; whole numbers lose their decimals.

    Raises:
        DataError: when the value is no name.
    """
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return tuple(sorted({str(to_label(item)) for item in value}))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if not isinstance(value, (str, int, np.integer, np.bool_)):
        raise DataError(
            f"A label must be a name, an integer or a list of them. Received: {value!r}. Convert the labels to names."
        )
    name = to_name(str(value))
    if name.startswith("[") and name.endswith("]"):
        raise DataError(
            f"A label must be a name. Received: {name[:40]!r}, the text of a list. Write several labels with a "
            "separator, and give `label_separator`."
        )
    return name


def from_one_hot(labels: Sequence[Any]) -> list[Any]:
    """Return labels that are lists of zeros and ones of equal length as positions of the ones; others unchanged."""
    rows = [np.asarray(label) for label in labels if isinstance(label, (list, tuple, np.ndarray))]
    if len(rows) < len(labels) or len({row.shape for row in rows}) != 1 or rows[0].ndim != 1 or len(rows[0]) < 2:
        return list(labels)
    matrix = np.stack(rows)
    if matrix.dtype.kind not in "iufb" or not np.isin(matrix, (0, 1)).all():
        return list(labels)
    if (matrix.sum(axis=1) == 1).all():
        return [str(position) for position in matrix.argmax(axis=1)]
    return [[str(position) for position in np.flatnonzero(row)] for row in matrix]


def sorted_names(names: set[str], *, numeric: bool) -> tuple[str, ...]:
    """Return class names in order; with `numeric`, names that all are integers are ordered as numbers.

    >>> sorted_names({"10", "2"}, numeric=True), sorted_names({"10", "2"}, numeric=False)
    (('2', '10'), ('10', '2'))
    """
    if numeric and all(re.fullmatch(r"-?\d{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def similar_names(names: set[str]) -> list[str]:
    """Return a note for each group of different names that may be meant as one, such as "Cats" and "cats".

    Compared are the names without case, invisible characters, forms of spaces and hyphens, and the zeros of numbers.

    >>> similar_names({"1", "1.0", "2"})
    ["the classes '1' and '1.0' are different, though their names are similar"]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_comparable(name), []).append(name)
    return [
        f"the classes {' and '.join(map(repr, group))} are different, though their names are similar"
        for group in groups.values()
        if len(group) > 1
    ]


def to_group(value: Any) -> str | None:
    """Return the name of a group, equal for the forms in which tables have it; None for a missing value.

    >>> to_group(7.0), to_group(" 7"), to_group(None)
    ('7', '7', None)
    """
    if is_missing(value):
        return None
    return to_name(str(int(value) if isinstance(value, float) and value.is_integer() else value))


def _comparable(name: str) -> str:
    letters = "".join(letter for letter in unicodedata.normalize("NFKC", name) if unicodedata.category(letter) != "Cf")
    number = re.fullmatch(r"0*(\d+?)(\.0+)?", letters)
    return number[1] if number else re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", letters.casefold())
