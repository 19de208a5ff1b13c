"""The drawn sample: the same files from the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from transferkit.datasets import synthetic_cats_and_dogs


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def test_the_same_seed_draws_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    first, second, other = (
        contents(synthetic_cats_and_dogs(tmp_path / str(number), training=6, validation=4, size=48, seed=seed))
        for number, seed in enumerate((1, 1, 2))
    )
    assert first == second
    assert set(first) == set(other) and not set(first.values()) & set(other.values())


def test_there_are_as_many_of_each_as_asked_for(drawn: Path) -> None:
    counts = {
        f"{a}/{b}": len(list((drawn / a / b).glob("*.jpg"))) for a in ("train", "validation") for b in ("cats", "dogs")
    }
    assert counts == {"train/cats": 20, "train/dogs": 20, "validation/cats": 10, "validation/dogs": 10}
    assert Image.open(next(drawn.glob("train/cats/*.jpg"))).size == (64, 64)
    assert len(set(contents(drawn).values())) == 60


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    synthetic_cats_and_dogs(tmp_path, training=2, validation=2, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`training` must be an integer of at least 2. Received: 0"):
        synthetic_cats_and_dogs(tmp_path / "new", training=0)
