"""Cells of tables: missing values, labels, one-hot lists, names of splits, order of names."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit.data.cells import from_one_hot, is_missing, sorted_names, split_name, to_label, to_name
from transferkit.errors import DataError


@pytest.mark.parametrize("value", [None, "", "  ", "nan", "NaN", "<NA>", "None", float("nan"), pd.NA, pd.NaT, np.nan])
def test_is_missing_of_missing_values(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, False, "none", "NA", "cat", [], np.zeros(3), ["nan"], np.array([np.nan, 1])])
def test_is_missing_of_values(value: Any) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (" cats ", "cats"),
        (3, "3"),
        (np.int64(7), "7"),
        (2.0, "2"),
        (True, "True"),
        (["b", "a", "b"], ("a", "b")),
        (np.array([2, 10]), ("10", "2")),
        ({"x"}, ("x",)),
        ("Ru\u0308de", "R\u00fcde"),
        ("ca\udcffts", "ca\\udcffts"),
    ],
)
def test_to_label(value: Any, label: Any) -> None:
    assert to_label(value) == label


@pytest.mark.parametrize("value", [1.5, {"a": 1}, object(), "[1, 0, 0]", "['cats', 'dogs']"])
def test_to_label_of_no_name_raises(value: Any) -> None:
    with pytest.raises(DataError, match=r"A label must be a name.*Received: "):
        to_label(value)


@given(st.text())
def test_to_name_is_stable_and_can_be_saved(text: str) -> None:
    name = to_name(text)
    assert to_name(name) == to_name(unicodedata.normalize("NFD", name))
    assert name.encode("utf-8").decode("utf-8") == name


def test_from_one_hot_gives_positions() -> None:
    assert from_one_hot([[0, 0, 1], [1, 0, 0], np.array([0, 1, 0])]) == ["2", "0", "1"]
    assert from_one_hot([[True, True], [False, True]]) == [["0", "1"], ["1"]]


@pytest.mark.parametrize("labels", [["a", "b"], [[1, 0], "a"], [["a"], ["a", "b"]], [[0, 2], [1, 0]], [[1], [0]], []])
def test_from_one_hot_keeps_other_labels(labels: list[Any]) -> None:
    assert from_one_hot(labels) == labels


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("train-images", "train"),
        ("VAL", "validation"),
        ("dev", "validation"),
        ("eval", "validation"),
        ("valid set", "validation"),
        ("testset", "test"),
        (" test ", "test"),
        ("cats", None),
        ("contest", None),
        ("set", None),
    ],
)
def test_split_name(name: str, split: str | None) -> None:
    assert split_name(name) == split


def test_sorted_names_of_numbers() -> None:
    assert sorted_names({"10", "9", "-1"}, numeric=True) == ("-1", "9", "10")
    assert sorted_names({"10", "9"}, numeric=False) == ("10", "9")
    assert sorted_names({"10", "9", "x"}, numeric=True) == ("10", "9", "x")
