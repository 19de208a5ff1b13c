"""The images and labels in archives: layouts, names, damage, hostile archives, and patterns."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit as tk
from tests.sharding.archive_files import add_headers, header, png, write_examples, write_tar
from transferkit.sharding import archive_source, streams, tar_images, tar_members
from transferkit.sharding.braces import expand_braces
from transferkit.sharding.open_source import open_source
from transferkit.sharding.tar_members import TarMember, split_name


def read(source: Any) -> list[tuple[str, str | None, Any]]:
    """Return the path after the name of the archive, the label, and the image of each row."""
    opened = open_source(source)
    rows = []
    for part in itertools.chain.from_iterable(map(opened.parts, range(opened.num_shards))):
        labels = part.rows.labels or ()
        rows += [(Path(path).name, label, image) for path, label, image in zip(part.rows.paths, labels, part.images)]
    return rows


def labels(source: Any) -> list[tuple[str, str | None]]:
    return [(name.rpartition("#")[2].rpartition("/")[2], label) for name, label, _ in read(source)]


def errors(source: Any) -> list[str | None]:
    return [str(image) if isinstance(image, OSError) else None for _, _, image in read(source)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_layout_of_webdataset(mode: str, tmp_path: Path) -> None:
    members = [
        ("set/0.png", png(0)),
        ("set/0.cls", b"cat\n"),
        ("set/1.cls", b"7"),
        ("set/1.txt", b"a caption"),
        ("set/1.PNG", png(1)),
        ("set/2.png", png(2)),
        ("set/2.json", b'{"label": "dog", "width": 5}'),
        ("set/3.png", png(3)),
        ("set/3.json", b'{"class": 3}'),
        ("set/4.png", png(4)),
        ("set/4.txt", "Käse".encode()),
        ("set/5.left.png", png(5)),
        ("set/5.right.png", png(6)),
        ("set/5.cls", b"both"),
        ("set/6.json", b"{damaged"),
        ("set/6.png", png(7)),
        ("set/6.npy", b"array"),
    ]
    path = write_tar(tmp_path / "train.tar", members, mode)
    assert labels(path) == [
        ("0.png", "cat"),
        ("1.PNG", "7"),
        ("2.png", "dog"),
        ("3.png", "3"),
        ("4.png", "Käse"),
        ("5.left.png", "both"),
        ("5.right.png", "both"),
        ("6.png", "set"),
    ]
    images = [image for name, _, image in read(path)]
    assert images == [contents for name, contents in members if name.lower().endswith(".png")]


def test_folders_of_an_archive_are_labels(tmp_path: Path) -> None:
    names = ["./cat/1.jpg", "cat/in/2.jpg", "3.jpg", ".git/4.jpg", "__MACOSX/5.jpg", "cat/._6.jpg", "dog/x.7.jpg"]
    path = write_tar(tmp_path / "a.tar", [(name, png()) for name in names])
    assert labels(path) == [("1.jpg", "cat"), ("2.jpg", "cat"), ("3.jpg", None), ("x.7.jpg", "dog")]
    assert read(path)[0][0] == "1.jpg" and open_source(path).num_rows is None


def test_many_files_with_one_key_keep_their_own_labels(tmp_path: Path) -> None:
    members = [[(f"photo.{n}.png", png()), (f"photo.{n}.cls", str(n).encode())] for n in range(200)]
    for order in (1, -1):
        path = write_tar(tmp_path / f"{order}.tar", [one for pair in members for one in pair[::order]])
        assert labels(path) == [(f"photo.{n}.png", str(n)) for n in range(200)]


def test_memory_of_one_key_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_images, "MAX_BYTES", 10_000)
    members = (TarMember("a.png", "a", "", "png", bytes(4000)) for _ in range(100))
    assert max(map(len, tar_images.group_members(members))) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "d/a"]), st.sampled_from(["", "x."]), st.sampled_from(["png", "cls", "jpg"])
        )
    )
)
def test_groups_are_consecutive_members_of_one_key(names: list[tuple[str, str, str]]) -> None:
    members = [
        TarMember(f"{key}.{prefix}{extension}", *split_name(f"{key}.{prefix}{extension}"), b"x")
        for key, prefix, extension in names
    ]
    groups = list(tar_images.group_members(members))
    assert [member for group in groups for member in group] == members
    assert all(len({member.key for member in group}) == 1 for group in groups)
    assert all(a[-1].key != b[0].key or len(a) >= 64 for a, b in itertools.pairwise(groups))


def test_hostile_members_are_rows_with_errors_or_left_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("/etc/a.png", png()), ("../../b.png", png()), ("empty.png", b"")])
    headers = [
        header("link.png", tarfile.SYMTYPE, "/etc/passwd"),
        header("hard.png", tarfile.LNKTYPE, "/etc/a.png"),
        header("device.png", tarfile.CHRTYPE),
        header("pipe.png", tarfile.FIFOTYPE),
        header("folder.png", tarfile.DIRTYPE),
        header("link.cls", tarfile.SYMTYPE, "/etc/passwd"),
    ]
    add_headers(path, headers)
    link = "it is a link or a device in the archive"
    assert errors(path) == [None, None, None, link, link, link, link]
    assert [label for _, label, _ in read(path)] == ["etc", None, None, None, None, None, None]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar"]


def test_member_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.sharding.archive_image.MAX_BYTES", 10_000)
    path = write_tar(tmp_path / "a.tar", [("1.png", bytes(10_001)), ("2.png", png())])
    assert errors(path) == ["it has 10,001 bytes, more than 10,000", None]
    monkeypatch.setattr(tar_members, "_MAX_LABEL_BYTES", 5)
    path = write_tar(tmp_path / "b.tar", [("1.png", png()), ("1.cls", b"long text")])
    assert labels(path) == [("1.png", None)]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tfrecord"])
@pytest.mark.parametrize("kind", ["cut", "end", "empty", "text", "html", "flipped"])
def test_damaged_archive_is_named(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".tfrecord"):
        write_examples(path, [{"image/encoded": [png(n)]} for n in range(3)])
    else:
        write_tar(path, [(f"{n}.png", png(n)) for n in range(3)], "w:gz" if name.endswith("gz") else "w")
    whole = path.read_bytes()
    if name.endswith(".tfrecord"):
        second = struct.unpack("<Q", whole[:8])[0] + 16
    else:
        second = 512 + -(-len(png(0)) // 512) * 512
    flipped = bytearray(whole)
    flipped[second + 3] ^= 1
    damaged = {
        "cut": whole[: len(whole) // 2],
        "end": whole[:-1] if name != "a.tar" else whole[: 3 * second],
        "empty": b"",
        "text": b"no archive" * 100,
        "html": b"<!doctype html><html>login</html>" * 100,
        "flipped": bytes(flipped),
    }[kind]
    path.write_bytes(damaged)
    match = "must be complete. Received: .*a.t.* Download it again|must have images. Received: .*a.t"
    with pytest.raises(tk.ShardError, match=match) as raised:
        read(path)
    assert ("must have images" in str(raised.value)) == (kind == "empty" and name == "a.tfrecord")


def test_compressed_archive_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    large = tarfile.TarInfo("zeros.bin")
    large.size = 1 << 40
    with gzip.open(path, "wb") as file:
        file.write(large.tobuf() + bytes(1 << 20))
    with pytest.raises(tk.ShardError, match="must be safe. Received: .*a.tar.gz.* more than 200 times its size"):
        read(path)


def test_changed_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", png())])
    opened = open_source(path)
    write_tar(path, [(f"{n}.png", png()) for n in range(9)])
    with pytest.raises(tk.ShardError, match="must not change during a job. Received: .*a.tar"):
        list(opened.parts(0))


def test_fingerprint_is_that_of_paths_and_sizes(tmp_path: Path) -> None:
    first, second = (write_tar(tmp_path / name, [("1.png", png(1))]) for name in ("a.tar", "b.tar"))
    before = open_source([first, second]).fingerprint()
    contents = first.read_bytes()
    first.unlink()
    first.write_bytes(contents)
    assert open_source([str(first), second]).fingerprint() == before
    assert open_source([second, first]).fingerprint() != before
    first.write_bytes(contents + bytes(512))
    assert open_source([first, second]).fingerprint() != before


@pytest.mark.parametrize(
    ("example", "label"),
    [
        ({"image/labels": [b"cat"], "image/split": [b"train"]}, "cat"),
        ({"image/labels": [b"cat", b"dog"]}, "cat,dog"),
        ({"image/labels": []}, None),
        ({"image/class/text": [b"cat"], "image/class/label": [3]}, "cat"),
        ({"image/class/label": [3]}, "3"),
        ({"label": [0]}, "0"),
        ({"label": [b"cat"]}, "cat"),
        ({}, None),
    ],
)
def test_layouts_of_tfrecord_files(example: dict[str, list[Any]], label: str | None, tmp_path: Path) -> None:
    images = [{key: [png(n)] for key in ("image/encoded",)} | example for n in range(2)]
    path = write_examples(tmp_path / "a.tfrecord", images)
    (name, first, image), (second_name, *_) = read(path)
    assert (name, first, image) == ("a.tfrecord@0", label, png(0))
    offset = int(second_name.rpartition("@")[2])
    assert offset * 2 == pytest.approx(path.stat().st_size, abs=200)


def test_records_without_images_are_refused(tmp_path: Path) -> None:
    path = write_examples(tmp_path / "a.tfrecord", [{"text": [b"a"]}])
    with pytest.raises(tk.ShardError, match=r"'image/encoded'. Received: .*a.tfrecord@0' with \['text'\]"):
        read(path)


def test_large_record_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.sharding.archive_image.MAX_BYTES", 9_000)
    monkeypatch.setattr("transferkit.sharding.tfrecord_images._MAX_RECORD_BYTES", 10_000)
    path = write_examples(tmp_path / "a.tfrecord", [{"image": [bytes(20_000)]}, {"image": [png()]}])
    assert len(png()) < 9_000
    assert [error is None for error in errors(path)] == [False, True]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{8..10}.tar", ["8.tar", "9.tar", "10.tar"]),
        ("{08..10}.tar", ["08.tar", "09.tar", "10.tar"]),
        ("{2..0}.tar", ["2.tar", "1.tar", "0.tar"]),
        ("{a,b}{0..1}.tar", ["a0.tar", "a1.tar", "b0.tar", "b1.tar"]),
        ("{a}.tar", ["{a}.tar"]),
    ],
)
def test_braces(text: str, names: list[str]) -> None:
    assert list(expand_braces(text)) == names


def test_patterns_lists_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train-0.tar", "train-1.tar", "test-0.tgz"):
        write_tar(tmp_path / name, [("1.png", png())])
    write_examples(tmp_path / "train.tfrecord-00000-of-00001", [{"image": [png()]}])
    (tmp_path / "notes.txt").write_text("notes")
    monkeypatch.chdir(tmp_path)

    def names(source: Any) -> list[str]:
        return [Path(path).name for path, _ in open_source(source).to_dict()["archives"]]

    assert names("train-{0..1}.tar") == names("train-*.tar") == ["train-0.tar", "train-1.tar"]
    assert names([tmp_path / "train-1.tar", "test-?.tgz"]) == ["train-1.tar", "test-0.tgz"]
    everything = ["test-0.tgz", "train-0.tar", "train-1.tar", "train.tfrecord-00000-of-00001"]
    assert names(tmp_path) == everything and len(read(tmp_path)) == 4
    # With images in the folder, archives are other files.
    (tmp_path / "a.png").write_bytes(png())
    assert open_source(tmp_path).num_rows == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.tar", "`source` must name archives. Received: 'missing.tar': there is no such file"),
        ("no-*.tar", r"`source` must name archives. Received: 'no-\*.tar', with none"),
        (["a.tar", "b.jpg"], "a list of images or of archives. Received: both, as 'a.tar' and 'b.jpg'"),
        ("{0..99999999999}.tar", "at most 1,000,000 archives. Received: .*, which names 100,000,000,000"),
        ("memory://nothing/a.tar", "`source` must name archives. Received: 'memory://nothing/a.tar'"),
    ],
)
def test_sources_that_name_no_archives_raise(source: Any, message: str) -> None:
    with pytest.raises(tk.DataError, match=message):
        open_source(source)


def test_parts_are_equal_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_source, "_PART_IMAGES", 4)
    monkeypatch.setattr(archive_source, "_PART_BYTES", 250)
    path = write_tar(tmp_path / "a.tar", [(f"{n}.png", bytes(100 if n < 5 else 5)) for n in range(12)])
    for _ in range(2):
        assert [len(part.images) for part in open_source(path).parts(0)] == [3, 4, 4, 1]


class FailingFile(io.BytesIO):
    """A file whose reads fail now and then."""

    def __init__(self, contents: bytes, failing: list[int]) -> None:
        super().__init__(contents)
        self._failing = failing

    def read(self, size: int | None = -1) -> bytes:
        self._failing[0] -= 1
        if self._failing[0] % 3 == 0 and self._failing[0] > 0:
            raise ConnectionResetError("reset")
        return super().read(size)


@pytest.mark.parametrize(("failing", "survives"), [(9, True), (10**9, False)])
def test_failed_reads_are_repeated(
    failing: int, survives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "a.tar", [(f"{n}.png", png(n)) for n in range(40)])
    expected, left = read(path), [failing]
    contents = path.read_bytes()
    monkeypatch.setattr(streams, "WAITS", (0, 0, 0, 0))
    monkeypatch.setattr(streams, "_BUFFER_BYTES", 20_000)
    monkeypatch.setattr(archive_source, "_PART_IMAGES", 4)
    monkeypatch.setattr(streams, "open_regular", lambda *_, **__: FailingFile(contents, left))
    if survives:
        assert read(path) == expected and left[0] <= 0
    else:
        monkeypatch.setattr(FailingFile, "read", lambda *_: (_ for _ in ()).throw(ConnectionResetError("reset")))
        with pytest.raises(tk.ShardError, match="must be readable. Received: .*a.tar.*ConnectionResetError: reset"):
            read(path)
