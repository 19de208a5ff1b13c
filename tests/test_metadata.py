"""Metadata of saved classifiers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

import transferkit as tk
from transferkit.images import ImageSpec
from transferkit.metadata import FORMAT_VERSION, METADATA_FILE, Metadata, read_metadata

METADATA = Metadata(
    ("chat", "été"), "sigmoid", ImageSpec((32, 48), resize="crop", full_decode=True), "ab12", {"seed": 3}
)


def write(folder: Path, text: str) -> Path:
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")
    return folder


def test_metadata_round_trip(tmp_path: Path) -> None:
    assert read_metadata(write(tmp_path, METADATA.to_json())) == METADATA


def test_metadata_keys(tmp_path: Path) -> None:
    values = json.loads(METADATA.to_json())
    assert set(values) == {"format", *(field.name for field in dataclasses.fields(Metadata))}
    assert values["format"] == FORMAT_VERSION == 2
    assert values["image_spec"]["image_size"] == [32, 48] and values["class_names"] == ["chat", "été"]


def test_read_metadata_of_format_1(tmp_path: Path) -> None:
    values = json.loads(METADATA.to_json())
    pixels = values.pop("image_spec")
    pixels["exact"] = pixels.pop("full_decode")
    write(tmp_path, json.dumps({**values, "format": 1, "pixels": pixels}))
    assert read_metadata(tmp_path) == METADATA


@pytest.mark.parametrize("version", [0, 3, 99, "2", None])
def test_read_metadata_of_other_format_raises(tmp_path: Path, version: object) -> None:
    write(tmp_path, json.dumps({**json.loads(METADATA.to_json()), "format": version}))
    with pytest.raises(tk.ArtifactError, match=f"must have format 2 or older. Received: format {version!r}"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("key", ["class_names", "activation", "image_spec", "model_sha256", "training"])
def test_read_metadata_without_key_raises(tmp_path: Path, key: str) -> None:
    values = json.loads(METADATA.to_json())
    del values[key]
    with pytest.raises(tk.ArtifactError, match=f"is damaged .*{key}"):
        read_metadata(write(tmp_path, json.dumps(values)))


def test_read_metadata_with_invalid_image_spec_raises(tmp_path: Path) -> None:
    values = json.loads(METADATA.to_json())
    values["image_spec"]["resize"] = "squeeze"
    with pytest.raises(tk.ArtifactError, match="must be a complete classifier. Received: .*damaged.*squeeze"):
        read_metadata(write(tmp_path, json.dumps(values)))


def test_read_metadata_without_file_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.ArtifactError, match=f"which has no {METADATA_FILE}. Check the path"):
        read_metadata(tmp_path)


def test_metadata_is_read_without_tensorflow() -> None:
    code = "import sys, transferkit.metadata; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
