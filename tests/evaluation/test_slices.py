"""Metrics of groups of images by a value per image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferkit.evaluation import Report
from transferkit.evaluation.slices import MISSING, group_indices

PATHS = ["x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg"]


@pytest.fixture
def report() -> Report:
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6]]
    return Report([0, 1, 0, 1], probabilities, class_names=["cat", "dog"], paths=PATHS, loss=0.3)


def test_slices_by_hand(report: Report) -> None:
    day, night = report.slices(["day", "day", "night", "night"])
    assert (day.value, day.images, day.accuracy, day.balanced_accuracy, day.macro_f1) == ("day", 2, 1, 1, 1)
    assert (night.accuracy, night.balanced_accuracy) == (0.5, 0.5)
    assert night.macro_f1 == pytest.approx((0 + 2 / 3) / 2)
    # Wilson's interval of one of two images at level 0.95.
    assert night.interval == pytest.approx((0.0945, 0.9055), abs=1e-4)


def test_slices_of_paths_need_no_order(report: Report) -> None:
    column = {Path(path): path[0] for path in reversed(PATHS)} | {"other.jpg": "z"}
    assert [(item.value, item.images) for item in report.slices(column)] == [("x", 2), ("y", 2)]


def test_slices_of_multi_label(report: Report) -> None:
    several = Report([[1, 0], [1, 1]], [[0.9, 0.9], [0.9, 0.9]], class_names=["a", "b"])
    assert [item.accuracy for item in several.slices(["x", "y"])] == [0.5, 1]


def test_slices_text_html_and_dicts(report: Report) -> None:
    slices = report.slices(["<script>\n", "x" * 50, None, "<script>\n"])
    assert repr(slices).splitlines()[1].startswith(r"<script>\n")
    assert "x" * 37 + "..." in repr(slices) and MISSING in repr(slices)
    assert "&lt;script&gt;" in slices._repr_html_() and "<script>" not in slices._repr_html_()
    assert json.loads(json.dumps(slices.to_dicts()))[0]["images"] == 2


def test_slices_plot(report: Report, tmp_path: Path) -> None:
    (axes,) = report.slices([1, 1, 2, 2]).plot(tmp_path / "slices.png").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1 (2)", "2 (2)"]
    assert (tmp_path / "slices.png").is_file()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b"], {"a": [1], "b": [0, 2]}),
        ([10, 9, 10], {"9": [1], "10": [0, 2]}),
        ([True, False, True], {"False": [1], "True": [0, 2]}),
        ([None, "a", float("nan")], {"a": [1], MISSING: [0, 2]}),
        (["", "a", float("inf")], {"a": [1], MISSING: [0, 2]}),
        ([None, None], {MISSING: [0, 1]}),
        ([1, "a", 1], {"1": [0, 2], "a": [1]}),
        (np.array([3, 3]), {"3": [0, 1]}),
        ([1.0, 2.0, 3.0, 4.0, None], {"[1, 3)": [0, 1], "[3, 4]": [2, 3], MISSING: [4]}),
        ([0, 0, 0, 0, 1, 2], {"[0, 2]": [0, 1, 2, 3, 4, 5]}),
    ],
)
def test_group_indices_by_hand(values: Any, expected: dict[str, list[int]]) -> None:
    found = group_indices(list(values), 2)
    assert {name: indices.tolist() for name, indices in found.items()} == expected
    assert list(found) == list(expected)


def test_group_indices_of_numbers_are_even() -> None:
    groups = group_indices(np.random.default_rng(0).random(1000).tolist(), 4)
    assert [len(indices) for indices in groups.values()] == pytest.approx([250] * 4, abs=1)
    assert np.sort(np.concatenate(list(groups.values()))).tolist() == list(range(1000))


def test_slices_of_files(tmp_path: Path) -> None:
    paths = []
    for name, size, value in (("web/cat/1", 40, 0), ("web/dog/2", 40, 250), ("phone/cat/3", 20, 250)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size + 5), (value,) * 3).save(path)
        paths.append(str(path))
    report = Report([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]], class_names=["cat", "dog"], paths=paths)
    assert [(item.value, item.accuracy) for item in report.slices("size")] == [("20", 0), ("40", 1)]
    assert [(item.value, item.images) for item in report.slices("source")] == [("phone", 1), ("web", 2)]
    assert [item.images for item in report.slices("brightness")] == [1, 2]


def test_slices_wrong_number_of_values_raises(report: Report) -> None:
    with pytest.raises(ValueError, match=r"`by` must contain one value per image\. Received: 2 values for 4 images"):
        report.slices(["a", "b"])


def test_slices_missing_path_raises(report: Report) -> None:
    with pytest.raises(ValueError, match=r"no value for 3 of 4 images, such as 'x/b.jpg'\. Did you mean 'x/a.jpg'"):
        report.slices({"x/a.jpg": 1})


@pytest.mark.parametrize("by", ["size", {"x/a.jpg": 1}])
def test_slices_without_paths_raise(report: Report, by: Any) -> None:
    report.paths = None
    with pytest.raises(ValueError, match=r"for a report without paths\. Received: "):
        report.slices(by)


def test_slices_bad_arguments_raise(report: Report) -> None:
    with pytest.raises(ValueError, match=r"`by` must be one of .* Received: 'brightnes'\. Did you mean 'brightness'"):
        report.slices("brightnes")
    with pytest.raises(ValueError, match="`bins` must be an integer"):
        report.slices([1, 2, 3, 4], bins=0)
