"""Metadata of saved classifiers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from transferkit.images import ImageSpec
from transferkit.metadata import FORMAT_VERSION, METADATA_FILE, Metadata, read_metadata

METADATA = Metadata(
    ("chat", "été"), "sigmoid", ImageSpec((32, 48), resize="crop", full_decode=True), "ab12", {"seed": 3}
)


def signed(values: dict[str, Any]) -> str:
    """Return the text of metadata with the right checksum."""
    values = {key: value for key, value in values.items() if key != "sha256"}
    return json.dumps({**values, "sha256": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()})


def values_of_version(version: int) -> dict[str, Any]:
    values = json.loads(METADATA.to_json())
    del values["sha256"], values["features_sha256"]
    if version < 4:
        del values["calibration"]
    if version == 1:
        pixels = values.pop("image_spec")
        pixels["exact"] = pixels.pop("full_decode")
        values["pixels"] = pixels
    return {**values, "format": version}


def write(folder: Path, text: str) -> Path:
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")
    return folder


def test_metadata_round_trip(tmp_path: Path) -> None:
    assert read_metadata(write(tmp_path, METADATA.to_json())) == METADATA


def test_metadata_keys() -> None:
    values = json.loads(METADATA.to_json())
    assert set(values) == {"format", "sha256", *(field.name for field in dataclasses.fields(Metadata))}
    assert values["format"] == FORMAT_VERSION == 5
    assert values["image_spec"]["image_size"] == [32, 48] and values["class_names"] == ["chat", "été"]
    assert signed(values) == json.dumps(values)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_read_metadata_of_earlier_format(tmp_path: Path, version: int) -> None:
    values = values_of_version(version)
    # From format 3 on, the file has a checksum.
    text = json.dumps(values) if version < 3 else signed(values)
    assert read_metadata(write(tmp_path, text)) == METADATA


def test_read_metadata_of_earlier_format_with_checksum_raises(tmp_path: Path) -> None:
    # The version is the only byte that has changed, which would turn the checksum off.
    write(tmp_path, METADATA.to_json().replace('"format": 5', '"format": 2'))
    with pytest.raises(tk.ArtifactError, match="its checksum differs"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("version", [0, 7, 99, "2", None, True, 2.0])
def test_read_metadata_of_other_format_raises(tmp_path: Path, version: object) -> None:
    write(tmp_path, signed({**json.loads(METADATA.to_json()), "format": version}))
    with pytest.raises(tk.ArtifactError, match=f"must have format 6 or older. Received: format {version!r}"):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"), [("chat", "chas"), ('"crop"', '"stretch"'), ("48", "49"), ("ab12", "ab13")]
)
def test_read_changed_metadata_raises(tmp_path: Path, before: str, after: str) -> None:
    text = METADATA.to_json()
    assert text.count(before) == 1
    with pytest.raises(tk.ArtifactError, match="transferkit.json is not the file that was saved"):
        read_metadata(write(tmp_path, text.replace(before, after)))


def test_read_reformatted_metadata(tmp_path: Path) -> None:
    assert read_metadata(write(tmp_path, json.dumps(json.loads(METADATA.to_json()), indent=8))) == METADATA


@pytest.mark.parametrize("key", ["class_names", "activation", "image_spec", "model_sha256", "training"])
def test_read_metadata_without_key_raises(tmp_path: Path, key: str) -> None:
    values = json.loads(METADATA.to_json())
    del values[key]
    with pytest.raises(tk.ArtifactError, match=f"is damaged .*{key}"):
        read_metadata(write(tmp_path, signed(values)))


@pytest.mark.parametrize("value", [5, "x", {"a": {}}, [[]], [None, "a"], ["a", "a"], ["a", ""], True])
@pytest.mark.parametrize("key", ["class_names", "activation", "image_spec", "model_sha256", "training"])
def test_read_metadata_of_wrong_type_raises(tmp_path: Path, key: str, value: object) -> None:
    if (key, value) in [("model_sha256", "x"), ("training", {"a": {}})]:
        return
    write(tmp_path, signed({**json.loads(METADATA.to_json()), key: value}))
    with pytest.raises(tk.ArtifactError, match="must be a complete classifier. Received: transferkit.json is damaged"):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resize", "squeeze"),
        ("image_size", [10**9, 10**9]),
        ("image_size", [32, "48"]),
        ("image_size", [32, 48, 3]),
        ("antialias", 1),
        ("crop_fraction", float("nan")),
        ("crop_fraction", True),
        ("other", 1),
    ],
)
def test_read_metadata_with_invalid_image_spec_raises(tmp_path: Path, key: str, value: object) -> None:
    values = json.loads(METADATA.to_json())
    values["image_spec"][key] = value
    with pytest.raises(tk.ArtifactError, match="must be a complete classifier. Received: transferkit.json is damaged"):
        read_metadata(write(tmp_path, signed(values)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000]
)
def test_read_damaged_metadata_raises(tmp_path: Path, text: str) -> None:
    with pytest.raises(tk.ArtifactError):
        read_metadata(write(tmp_path, text))


def test_read_metadata_without_file_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.ArtifactError, match=f"which has no {METADATA_FILE}. Check the path"):
        read_metadata(tmp_path)


def test_read_metadata_of_path_that_is_no_folder_raises(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    with pytest.raises(tk.ArtifactError, match="and there is no such folder. Check the path.$"):
        read_metadata(file)
    with pytest.raises(tk.ArtifactError, match=f"Check the path, which is relative to {os.getcwd()!r}"):
        read_metadata(Path("no such folder"))
    file.touch()
    with pytest.raises(tk.ArtifactError, match="which is a file. Load models that Keras saved with keras.saving"):
        read_metadata(file)
    (tmp_path / METADATA_FILE).touch()
    with pytest.raises(tk.ArtifactError, match=f"a file in it. Give its folder, {str(tmp_path)!r}"):
        read_metadata(file)


def test_metadata_is_read_without_tensorflow() -> None:
    code = "import sys, transferkit.metadata; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
