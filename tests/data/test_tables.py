"""Tables: every usual form is read, and errors name the table, the row and the column."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import transferkit as tk
from tests.data.conftest import write_jpeg
from transferkit.data.table_options import TableOptions
from transferkit.data.tables import read_table
from transferkit.errors import DataError

COUNT = 12


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Twelve images in `img`, as paths relative to the folder of the table."""
    for number in range(COUNT):
        write_jpeg(tmp_path / "img" / f"{number}.jpg", number)
    return [f"img/{number}.jpg" for number in range(COUNT)]


def label(number: int) -> str:
    return ("cats", "dogs")[number % 2]


def write(path: Path, header: str, rows: list[str], encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def build(source: Any, **options: Any) -> tk.Data:
    return tk.DatasetBuilder(source, **{"validation": 0.25, "image_size": 16, "progress": False, **options}).build()


def total(data: tk.Data) -> int:
    return sum(map(len, data.files.values()))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "labels.txt"])
def test_table_with_any_delimiter(images: list[str], tmp_path: Path, delimiter: str, name: str) -> None:
    rows = [f"{path}{delimiter}{label(number)}" for number, path in enumerate(images)]
    data = build(write(tmp_path / name, f"path{delimiter}label", rows))
    assert data.class_names == ("cats", "dogs") and total(data) == COUNT


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_table_with_byte_order_mark(images: list[str], tmp_path: Path, encoding: str) -> None:
    rows = [f"{path},{('Rüde', 'Kätzin')[number % 2]}" for number, path in enumerate(images)]
    assert build(write(tmp_path / "t.csv", "path,label", rows, encoding)).class_names == ("Kätzin", "Rüde")


@pytest.mark.parametrize("header", ["filename,category", "image_path,class_name", "Image ID,Target", "FILE,tags"])
def test_table_with_header_of_other_tools(images: list[str], tmp_path: Path, header: str) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    assert total(build(write(tmp_path / "t.csv", header, rows))) == COUNT


def test_table_with_delimiter_line_and_empty_rows(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path};{label(number)};" for number, path in enumerate(images)]
    table = write(tmp_path / "t.csv", "sep=;\npath;label;", [rows[0], "", ";;", *rows[1:]])
    assert total(build(table)) == COUNT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((3, 'img/3.jpg,"dogs'), r"quotation marks"),
        ((3, "img/3.jpg,New York, dogs"), r"must have 2 cells, like its header\. Received: 3 in row 5"),
        ((3, "img/3.jpg"), r"as the column 'label' in row 5 of 't\.csv'"),
        ((3, "img/3.jpg,do\0gs"), r"A cell must be one line"),
        ((3, "img/3.jpg, "), r"as the column 'label' in row 5 of 't\.csv'"),
        ((3, ",dogs"), r"as the column 'path' in row 5 of 't\.csv'"),
        ((3, "https://example.com/3.jpg,dogs"), r"the URL 'https://example\.com/3\.jpg' as the column 'path' in row 5"),
        ((3, 'img/3.jpg,"[1, 0]"'), r"the text of a list.*the column 'label' in row 5"),
    ],
)
def test_damaged_row_raises_with_its_place(
    images: list[str], tmp_path: Path, change: tuple[int, str], message: str
) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    rows[change[0]] = change[1]
    with pytest.raises(DataError, match=message):
        build(write(tmp_path / "t.csv", "path,label", rows))


def test_table_of_other_bytes_names_row(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    table = write(tmp_path / "t.csv", "path,label", [*rows[:4], "img/4.jpg,Hühner", *rows[5:]], "latin-1")
    with pytest.raises(DataError, match=r"must be a table in UTF-8\. Received: .*t\.csv', with other bytes in row 6"):
        build(table)


@pytest.mark.parametrize("header", ["path;label,kind", "name,label", "path,kind"])
def test_table_without_column_lists_columns(tmp_path: Path, header: str) -> None:
    table = write(tmp_path / "t.csv", header, ["a,b"])
    with pytest.raises(
        DataError, match=r"must have a column '(path|label)' with rows\. Received: 't\.csv' with the col"
    ):
        build(table)


def test_table_with_two_label_columns_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have one column 'label'\. Received: 't\.csv' with the columns"):
        build(write(tmp_path / "t.csv", "path,label,Label", ["a,b,c"]))


def test_table_with_header_only_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have rows\. Received: 't\.csv' with a header only"):
        build(write(tmp_path / "t.csv", "path,label", []))


def test_table_that_is_pipe_or_device_raises(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    os.symlink("/dev/zero", tmp_path / "device.csv")
    for name in ("pipe.csv", "device.csv"):
        with pytest.raises(DataError, match=r"must be a readable table\. Received: .*it is not a regular file"):
            build(tmp_path / name)


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan"), "", " "])
def test_frame_with_missing_label_names_row(images: list[str], missing: Any) -> None:
    frame = pd.DataFrame({"path": images, "label": [missing if n == 4 else label(n) for n in range(COUNT)]})
    with pytest.raises(DataError, match=r"as the column 'label' in row 5 of `source`"):
        build(frame)


def test_lists_with_missing_label_name_row(images: list[str]) -> None:
    with pytest.raises(DataError, match=r"None as the column 'label' in row 3 of the lists of `source`"):
        build((images, [None if n == 2 else label(n) for n in range(COUNT)]))


def test_missing_split_is_for_training(images: list[str], tmp_path: Path) -> None:
    split = pd.array(["val" if n < 4 else pd.NA for n in range(COUNT)], dtype="string")
    frame = pd.DataFrame({"path": images, "label": [label(n) for n in range(COUNT)], "split": split})
    frame["path"] = [str(tmp_path / path) for path in images]
    data = build(frame, validation=None)
    assert len(data.files["train"]) == 8 and len(data.files["validation"]) == 4


def test_unknown_split_names_row(images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"path": images, "label": "a", "split": ["train"] * 11 + ["later"]})
    with pytest.raises(DataError, match=r"must have train, validation or test\. Received: 'later' as .* row 12"):
        build(frame, validation=None)


@pytest.mark.parametrize("form", ["csv", "frame", "lists", "float", "categorical", "arrow"])
def test_number_labels_are_in_numeric_order(images: list[str], tmp_path: Path, form: str) -> None:
    numbers = [(1, 2, 10)[n % 3] for n in range(COUNT)]
    paths = [str(tmp_path / path) for path in images]
    frame = pd.DataFrame({"path": paths, "label": numbers})
    source: Any = frame
    if form == "csv":
        frame.to_csv(tmp_path / "t.csv", index=False)
        source = tmp_path / "t.csv"
    elif form == "lists":
        source = (paths, np.array(numbers))
    elif form != "frame":
        types = {"float": "float64", "categorical": "category", "arrow": "int64[pyarrow]"}
        source = frame.astype({"label": types[form]})
    assert build(source).class_names == ("1", "2", "10")


@pytest.mark.parametrize("as_file", [True, False])
def test_parquet_with_lists(images: list[str], tmp_path: Path, as_file: bool) -> None:
    labels = [[label(n), "pets"] if n % 3 else [label(n)] for n in range(COUNT)]
    pd.DataFrame({"path": images, "label": labels}).to_parquet(tmp_path / "t.parquet")
    source: Any = tmp_path / "t.parquet"
    if not as_file:
        source = pd.read_parquet(source).assign(path=[str(tmp_path / path) for path in images])
    data = build(source)
    assert data.multi_label and data.class_names == ("cats", "dogs", "pets")


def test_one_hot_lists_are_classes(images: list[str], tmp_path: Path) -> None:
    paths = [str(tmp_path / path) for path in images]
    data = build(pd.DataFrame({"path": paths, "label": [np.eye(3)[n % 3].tolist() for n in range(COUNT)]}))
    assert data.class_names == ("0", "1", "2") and not data.multi_label


def test_label_separator_splits_names(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{('a | b', 'b', 'a|')[number % 3]}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,labels", rows), label_separator="|")
    assert data.class_names == ("a", "b") and data.report.to_dict()["total"] == COUNT + 4


def test_repeated_rows_are_left_out_and_reported(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,label", [*rows, *rows[:5]]))
    assert total(data) == COUNT
    assert "left out 5 rows of 't.csv' that are equal to an earlier one" in str(data.report)


def test_one_path_with_two_labels_is_conflict(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,label", [*rows, "img/0.jpg,dogs"]))
    assert data.report.label_conflicts == [(str(tmp_path / "img/0.jpg"),)]


@pytest.mark.parametrize("form", ["backslash", "no extension", "spaces"])
def test_paths_of_other_systems_are_found(images: list[str], tmp_path: Path, form: str) -> None:
    changes = {
        "backslash": lambda path: path.replace("/", "\\"),
        "no extension": lambda path: path.removesuffix(".jpg"),
        "spaces": lambda path: f" {path} ",
    }
    rows = [f"{changes[form](path)},{label(number)}" for number, path in enumerate(images)]
    assert total(build(write(tmp_path / "t.csv", "path,label", rows))) == COUNT


def test_paths_relative_to_parent_of_table(images: list[str], tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "annotations" / "t.csv", "path,label", rows))
    assert total(data) == COUNT and f"relative to {str(tmp_path)!r}" in str(data.report)


def test_paths_relative_to_working_folder(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    table = write(tmp_path_factory.mktemp("other") / "t.csv", "path,label", rows)
    assert total(build(table)) == COUNT


def test_paths_that_exist_nowhere_raise(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "path,label", ["none/0.jpg,cats", "none/1.jpg,dogs"])
    with pytest.raises(DataError, match=r"relative to its folder, .*Received: 'none/0\.jpg' as .* in 2 rows"):
        build(table)


def test_spreadsheet_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Received: the spreadsheet .*t\.xlsx'\. Save it as CSV"):
        build(tmp_path / "t.xlsx")


text = st.text(st.characters(blacklist_characters="\r\n\x00", blacklist_categories=("Cs",)), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(rows=st.lists(st.tuples(text, text), min_size=1, max_size=8), delimiter=st.sampled_from([",", ";", "\t"]))
def test_table_has_cells_that_pandas_wrote(tmp_path: Path, rows: list[tuple[str, str]], delimiter: str) -> None:
    frame = pd.DataFrame(rows, columns=["path", "label"])
    frame.to_csv(tmp_path / "t.csv", index=False, sep=delimiter, lineterminator="\n")
    expected = [(path.lstrip(" "), name.lstrip(" ")) for path, name in rows]
    try:
        columns = read_table(tmp_path / "t.csv", "source").columns
    except DataError as error:
        # A quoted cell after spaces, and cells that mean a missing value, are refused with their place.
        assert "row" in str(error)
    else:
        cells = list(zip(columns["path"], columns["label"], strict=True))
        assert [(p.lstrip(" "), n.lstrip(" ")) for p, n in cells] == [
            pair for pair in expected if any(c.strip() for c in pair)
        ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    content=st.binary(max_size=200), header=st.sampled_from([b"", b"path,label\n", b"\xff\xfe", b"sep=;\npath;label\n"])
)
def test_table_of_any_bytes_is_read_or_refused(tmp_path: Path, content: bytes, header: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(header + content)
    try:
        table = read_table(tmp_path / "t.csv", "source")
    except DataError as error:
        assert "Received: " in str(error)
    else:
        assert len(table.columns["path"]) == len(table.columns["label"]) == len(table.lines) > 0


@pytest.mark.parametrize("line_end", ["\r", "\r\n", "\n\r\n"])
@pytest.mark.parametrize("first", ["", "sep=;"])
def test_table_with_line_ends_of_other_systems(images: list[str], tmp_path: Path, line_end: str, first: str) -> None:
    rows = [f"{path};{label(number)}" for number, path in enumerate(images)]
    text = line_end.join([first, "path;label", *rows, ""] if first else ["path;label", *rows, ""])
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert total(build(tmp_path / "t.csv")) == COUNT


@pytest.mark.parametrize("contents", [b"", b"PAR1", b"path,label\n", b"PAR1" + bytes(99) + b"\x08\0\0\0PAR1"])
def test_damaged_parquet_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(contents)
    with pytest.raises(DataError, match=r"`source` must be a readable Parquet file. Received: '.*t\.parquet' \("):
        build(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_table_that_is_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="it is not a regular file"):
        build(tmp_path / name)


def test_path_that_is_a_number_is_refused(images: list[str]) -> None:
    frame = pd.DataFrame({"path": [*images[:-1], 7], "label": ["cats", "dogs"] * 6})
    with pytest.raises(
        DataError, match="A path must be a text. Received: 7 as the column 'path' in row 12 of `source`"
    ):
        build(frame)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Cats", "cats"), ("1", "1.0"), ("007", "7"), ("black cat", "black_cat"), ("a  b", "a b"), ("a", "ａ")],
)
def test_similar_class_names_are_reported(images: list[str], tmp_path: Path, one: str, other: str) -> None:
    rows = [f"{path},{(one, other, 'dogs')[number % 3]}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,label", rows))
    assert f"the classes {one!r} and {other!r} are different, though their names are similar" in data.report.notes


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u00a0", "\u2060 "])
def test_invisible_characters_around_labels_are_removed(images: list[str], tmp_path: Path, mark: str) -> None:
    rows = [
        f"{path},{('cats', 'dogs', f'cats{mark}', f'{mark}dogs')[number % 4]}" for number, path in enumerate(images)
    ]
    assert build(write(tmp_path / "t.csv", "path,label", rows)).class_names == ("cats", "dogs")


def test_one_file_in_two_spellings_is_one_row(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{label(number)}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,label", [*rows, "./img/../img/0.jpg,cats", "img//1.jpg,dogs"]))
    assert total(data) == COUNT and "2 rows" in str(data.report.notes)


def test_path_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    for number in range(COUNT):
        write_jpeg(tmp_path / unicodedata.normalize("NFC", f"é{number}.jpg"), number)
    rows = [unicodedata.normalize("NFD", f"é{number}.jpg,{label(number)}") for number in range(COUNT)]
    assert total(build(write(tmp_path / "t.csv", "path,label", rows))) == COUNT


@pytest.mark.parametrize("seed", range(4))
def test_forms_of_a_group_stay_together(images: list[str], tmp_path: Path, seed: int) -> None:
    groups = ["é", "e\u0301", " é ", *map(str, range(COUNT - 3))]
    rows = [f"{path},{label(number)},{groups[number]}" for number, path in enumerate(images)]
    data = build(write(tmp_path / "t.csv", "path,label,group", rows), seed=seed)
    of_group = [
        {os.path.basename(path) for path in paths} & {"0.jpg", "1.jpg", "2.jpg"} for paths in data.files.values()
    ]
    assert sorted(map(len, of_group)) == [0, 3]


def test_empty_names_in_the_header_are_no_column(images: list[str], tmp_path: Path) -> None:
    rows = [f"{path},{label(number)},," for number, path in enumerate(images)]
    assert total(build(write(tmp_path / "t.csv", "path,label,,", rows))) == COUNT


@pytest.mark.parametrize("column", ["subset", "data set", "Fold"])
def test_column_like_a_split_is_reported(images: list[str], tmp_path: Path, column: str) -> None:
    rows = [f"{path},{label(number)},test" for number, path in enumerate(images)]
    assert f"the column {column!r} is not used" in str(
        build(write(tmp_path / "t.csv", f"path,label,{column}", rows)).report.notes
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\0", "a gzip file. Decompress it"),
        (b"PK\x03\x04", "a zip file, such as a spreadsheet"),
        (b"PAR1", "a Parquet file. Call it .parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Run: git lfs pull"),
        ("path,label\n" + "a.jpg,cats\n" * 9, "must be a table in UTF-8"),
    ],
)
def test_other_file_called_csv_is_refused(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-16-le"))
    with pytest.raises(DataError, match=message):
        build(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "https://anna:pw@example.org/labels.csv",
            r"Received: the URL 'https://example.org/labels.csv'",
        ),
        ((iter(["a.jpg"]), ["cats"]), "Received: tuple"),
        (["first/folder", "second/folder"], "Received: list"),
        (([[[[1, 2, 3]] * 40] * 40], [0]), r"Received: \[.*\.\.\..*Images in memory must be one array"),
    ],
)
def test_source_of_another_form_is_refused(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        build(source)
    assert len(str(caught.value)) < 500 and "pw@" not in str(caught.value)


@pytest.mark.parametrize("separator", ["", 3])
def test_label_separator_must_be_a_text(images: list[str], tmp_path: Path, separator: Any) -> None:
    with pytest.raises(ValueError, match="`label_separator` must be a text"):
        build(write(tmp_path / "t.csv", "path,label", ["a.jpg,b"]), label_separator=separator)


LABEL_COLUMNS = "path;label;Breed name\na.jpg;x;pug\nb.jpg;x;boxer\n"


def test_label_column_names_the_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(LABEL_COLUMNS)
    options = TableOptions(label_column="breed_name")
    table = read_table(tmp_path / "t.csv", "source", options)
    assert table.columns["label"] == ["pug", "boxer"]
    assert table.place(1, "label") == "the column 'breed_name' in row 3 of 't.csv'"
    frame = pd.DataFrame({"path": ["a.jpg"], "age": [3.5]})
    assert read_table(frame, "source", TableOptions(label_column="age")).columns["label"] == [3.5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breed_nam", r"`source` must have the column of `label_column`, 'breed_nam'. .* Did you mean 'Breed name'"),
        ("path", "`label_column` must be a column of labels. Received: 'path', which 't.csv' has for another purpose"),
    ],
)
def test_wrong_label_column_raises(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(LABEL_COLUMNS)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv", "source", TableOptions(label_column=name))


def test_label_column_is_for_tables(synthetic: Path) -> None:
    with pytest.raises(DataError, match="`label_column` is supported for tables only. Received: 'age' for `source`"):
        tk.DatasetBuilder(synthetic, label_column="age").build()
    with pytest.raises(ValueError, match="`label_column` must be the name of a column, or None. Received: 3"):
        tk.DatasetBuilder(synthetic, label_column=3)  # type: ignore[arg-type]
