"""The size limit of the whole cache: sizes as people write them, and the least recently used entry goes first."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from transferkit._utils.cache_limit import (
    LIMIT_VARIABLE,
    LIMITED,
    cache_limit_bytes,
    evict,
    hold,
    hold_files,
    mark_used,
    remove_entry,
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", 20 * 10**9),
        ("0", 0),
        ("5e9", 5 * 10**9),
        ("1_000", 1000),
        ("20GB", 20 * 10**9),
        (" 500 MB ", 500 * 10**6),
        ("1.5g", 15 * 10**8),
        ("2 KiB", 2048),
        ("3tb", 3 * 10**12),
        ("7B", 7),
    ],
)
def test_cache_limit_bytes(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    assert cache_limit_bytes() == limit


def test_cache_limit_bytes_without_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert cache_limit_bytes() == 20 * 10**9


@pytest.mark.parametrize("text", ["a lot", "nan", "inf", "-5", "1e400", "20 GBs", "1..2", "20,5GB", "%"])
def test_cache_limit_bytes_of_other_text_raises(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ValueError, match=f"variable {LIMIT_VARIABLE} must be a size in bytes.* Received: {text!r}"):
        cache_limit_bytes()


@pytest.fixture
def entries(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """One entry of 1000 bytes in each folder: the first was used last."""
    found = {}
    for number, name in enumerate(LIMITED):
        path = own_home / name / ("one.blob" if name == "engines" else "one")
        file = path if name == "engines" else path / "data"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1000))
        os.utime(path, (time.time() - 100 * number,) * 2)
        found[name] = path
    return found


def left(entries: dict[str, Path]) -> list[str]:
    return [name for name, path in entries.items() if path.exists()]


def test_evict_covers_all_folders_by_last_use(entries: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    evict()
    assert left(entries) == list(LIMITED)
    monkeypatch.setenv(LIMIT_VARIABLE, "3.5kB")
    evict()
    assert left(entries) == ["features", "engines", "images"]
    mark_used(entries["images"])
    monkeypatch.setenv(LIMIT_VARIABLE, "1500")
    evict(keep={entries["engines"]})
    assert left(entries) == ["engines"]


def test_evict_keeps_notes_and_other_folders(entries: dict[str, Path], own_home: Path, monkeypatch) -> None:
    others = [own_home / "weights/one.h5", own_home / "engines/measurements.json", own_home / "unpacked/one.lock"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(10))
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    evict()
    assert left(entries) == [] and all(path.exists() for path in others)
    assert not list(own_home.rglob(".removed-*"))


def test_evict_trusts_noted_size_of_unpacked_archive(entries: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "7kB")
    note = entries["unpacked"].with_suffix(".json")
    note.write_text("[" * 100_000)
    evict()
    assert left(entries) == list(LIMITED)
    note.write_text(json.dumps({"size": 5000}))
    evict()
    assert left(entries) == ["features", "engines", "images"]


class Owner:
    """Anything that uses files."""


def test_hold_files_while_owner_lives(entries: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    owner = Owner()
    hold_files(owner, [str(entries["unpacked"] / "data"), "/somewhere/else.png"])
    evict()
    assert left(entries) == ["unpacked"]
    # Nothing else refers to it: no garbage collection, which visits all objects of TensorFlow.
    del owner
    evict()
    assert left(entries) == []


def test_hold_below_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert hold(tmp_path / "file" / "folder") is None


def test_remove_entry_of_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert all(remove_entry(tmp_path / name) for name in ("folder", "file", "nothing"))
    assert list(tmp_path.iterdir()) == []
