"""Splits of tables: exact sizes, and examples that stay where they are when others are added, removed or renamed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from transferkit._utils.hashing import content_hash
from transferkit.data import DatasetBuilder
from transferkit.data.assignment import assign_splits
from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex
from transferkit.data.sources import _sample_id

SIZES = {"test": 0.15, "validation": 0.2}
Row = tuple[str, str, str | None]


def splits_of(rows: list[Row], seed: int = 0) -> dict[str, str]:
    """Return path -> split of a table of (path, label, group)."""
    paths, labels, groups = zip(*rows, strict=True)
    index = ImageIndex(
        paths, tuple(_sample_id(path, path) for path in paths), labels, None, groups, from_table=True
    ).sorted()
    info = {path: FileInfo(content_hash(path.encode()), None) for path in paths}
    assigned = assign_splits({"train": index}, SIZES, info, seed)
    return {path: split for split, part in assigned.items() for path in part.paths}


def table(count: int = 1000, groups: int = 0) -> list[Row]:
    return [
        (f"/data/shop/a{number % 7}/{number}.jpg", f"class{number % 5}", f"p{number % groups}" if groups else None)
        for number in range(count)
    ]


def add(rows: list[Row], chance: random.Random) -> list[Row]:
    return [*rows, (f"/inbox/new/{chance.random()}.jpg", f"class{chance.randrange(5)}", None)]


def remove(rows: list[Row], chance: random.Random) -> list[Row]:
    chosen = chance.randrange(len(rows))
    return rows[:chosen] + rows[chosen + 1 :]


def rename(rows: list[Row], chance: random.Random) -> list[Row]:
    chosen = chance.randrange(len(rows))
    return [*rows[:chosen], (f"/moved/{chance.random()}.jpg", *rows[chosen][1:]), *rows[chosen + 1 :]]


@pytest.mark.parametrize("change", [add, remove, rename])
def test_changed_row_moves_few_others(change: Callable[[list[Row], random.Random], list[Row]]) -> None:
    moved = []
    for trial in range(20):
        before, after = splits_of(table(), trial), splits_of(change(table(), random.Random(trial)), trial)
        counts = [sum(split == name for split in after.values()) for name in ("test", "validation")]
        assert all(abs(count - share * len(after)) <= 5 for count, share in zip(counts, (0.15, 0.2), strict=True))
        moved.append(sum(after[path] != split for path, split in before.items() if path in after))
    # At most one per boundary in the class of the row.
    assert max(moved) <= 2 and sum(moved) / 20 <= 0.02 * 1000


def test_further_image_of_group_moves_few_groups() -> None:
    rows = table(groups=100)
    before = splits_of(rows)
    for trial in range(10):
        after = splits_of([*rows, ("/inbox/0.jpg", "class0", f"p{trial}")])
        moved = {int(path.split("/")[-1][:-4]) % 100 for path, split in before.items() if after[path] != split}
        assert len(moved) <= 2
        assert after["/inbox/0.jpg"] == after[f"/data/shop/a{trial % 7}/{trial}.jpg"]


def test_equal_names_in_many_folders_are_sampled_evenly() -> None:
    rows = [(f"/data/patient{number}/left/0.jpg", "a" if number % 2 else "b", None) for number in range(400)]
    split = splits_of(rows)
    tested = [int(path.split("/")[2][7:]) for path, name in split.items() if name == "test"]
    assert len(tested) == 60
    # Not the first or last of the list.
    assert sum(number < 200 for number in tested) in range(15, 46)


def test_sample_ids_do_not_depend_on_unicode_form_or_place() -> None:
    composed = splits_of([(f"/a/k\u00e4tzin/{n}.jpg", "ab"[n % 2], None) for n in range(60)])
    decomposed = splits_of([(f"/b/c/ka\u0308tzin/{n}.jpg", "ab"[n % 2], None) for n in range(60)])
    assert [composed[path] for path in sorted(composed)] == [decomposed[path] for path in sorted(decomposed)]


@pytest.mark.parametrize("sizes", [(0.5, 0.5), (0.7, 0.4)])
def test_fractions_that_leave_no_training_images_raise(sizes: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=r"with fractions whose sum is below 1\. Received: validation=0\.\d and test=0\.\d"
    ):
        DatasetBuilder("images", validation=sizes[0], test=sizes[1])
    DatasetBuilder("images", validation="other", test=0.9)


def test_index_keeps_origin_when_taken() -> None:
    index = ImageIndex(("a", "b"), ("a", "b"), ("x", "y"), from_table=True)
    assert index.take([1]) == dataclasses.replace(index, paths=("b",), sample_ids=("b",), labels=("y",))


@pytest.mark.parametrize(
    ("given", "sample_id"),
    [("0.jpg", "0.jpg"), ("./0.jpg", "0.jpg"), ("a\\0.jpg", "a/0.jpg"), ("/b/a/0.jpg", "a/0.jpg")],
)
def test_sample_id_of_bare_name_is_that_of_a_copy(given: str, sample_id: str) -> None:
    assert _sample_id("/b/a/0.jpg", given) == sample_id
