"""Mutated tables: a row that is intact keeps its label, or the table is refused with an error of the library."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest

import transferkit as tk
from tests.fuzz.limits import memory_limit, time_limit
from tests.fuzz.mutator import case_count, generator, mutate
from tests.images.image_corpus import encode, sample_image
from transferkit.data.sources import index_source
from transferkit.errors import DataError

_COUNT = 10
# Every so many tables, the data set is built too.
_BUILD_EVERY = 20
LABELS = ("cats", "dogs", "Kätzchen", "7")


def row(number: int) -> tuple[str, str]:
    return f"img/{number}.png", LABELS[number % len(LABELS)]


def text(delimiter: str, quote: str = "", line_end: str = "\n") -> str:
    rows = [("path", "label"), *map(row, range(_COUNT))]
    return "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in cells) + line_end for cells in rows)


def parquet() -> bytes:
    pytest.importorskip("pyarrow")
    contents = io.BytesIO()
    pd.DataFrame([row(number) for number in range(_COUNT)], columns=["path", "label"]).to_parquet(contents)
    return contents.getvalue()


SEEDS = {
    "commas.csv": text(",").encode(),
    "semicolons.csv": text(";", '"').encode("utf-8-sig"),
    "windows.csv": text(",", line_end="\r\n").encode("utf-16"),
    "tabs.tsv": text("\t").encode(),
    "bars.txt": text("|", '"', "\r\n").encode(),
    "table.parquet": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for number in range(_COUNT):
        (tmp_path / "img" / f"{number}.png").write_bytes(encode(sample_image() // (number + 1), "PNG"))
    return tmp_path


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_table_keeps_intact_rows_or_is_refused(folder: Path, name: str) -> None:
    seed, path, rng = SEEDS[name] or parquet(), folder / name, generator(1)
    accepted = 0
    with memory_limit():
        for number in range(case_count(300)):
            data = mutate(seed, rng)
            path.write_bytes(data)
            with time_limit():
                accepted += check_table(path, data, build=number % _BUILD_EVERY == 0)
    assert accepted or name == "table.parquet"


def check_table(path: Path, data: bytes, *, build: bool) -> bool:
    """Return whether the table is accepted."""
    try:
        if build:
            tk.DatasetBuilder(path, image_size=16, max_skipped_fraction=1, progress=False).build()
        found, _ = index_source(path, "source")
    except DataError:
        return False
    examples = {pair for index in found.values() for pair in zip(index.paths, index.labels)}
    for number in intact_rows(path, data):
        image, label = row(number)
        assert (str(path.parent / image), label) in examples
    return True


def intact_rows(path: Path, data: bytes) -> list[int]:
    """Return the rows whose complete line is in the text, in the same encoding."""
    if path.suffix == ".parquet":
        return []
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = re.split("\r\n|\r|\n", data.decode(encoding, errors="replace"))
    expected = {
        separator.join(f"{quote}{cell}{quote}" for cell in row(number)): number
        for number in range(_COUNT)
        for separator, quote in ((",", ""), (";", '"'), ("\t", ""), ("|", '"'))
    }
    return [expected[line] for line in lines if line in expected]
