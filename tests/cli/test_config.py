"""Files of option values."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Command
from transferkit.cli.config import to_toml
from transferkit.cli.main import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


@given(st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS)))
def test_toml_round_trip(values: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_toml_of_known_values() -> None:
    assert to_toml({"a": 'say "x"\n\\', "b": [1, 2.5, True], "c d": 1e-05}) == (
        'a = "say \\"x\\"\\u000a\\\\"\nb = [1, 2.5, true]\n"c d" = 1e-05\n'
    )


def test_command_line_replaces_values_of_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'data = "photos"\nimage-size = 64\nepochs = 5\nkeep_best = true\nhidden = [8, 4]\nclass_names = ["-a", "b"]\n'
    )
    options = vars(parse(["train", "--config", str(path), "--epochs", "2", "--no-keep-best", "--batch-size", "8"]))
    expected = {"data": "photos", "image_size": [64], "epochs": 2, "keep_best": False, "hidden": [8, 4]}
    assert {name: options[name] for name in expected} == expected
    assert options["batch_size"] == 8 and options["class_names"] == ["-a", "b"] and "dropout" not in options


def test_json_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data": "photos", "validation": 0.25}))
    assert vars(parse(["train", "other", "--config", str(path)]))["data"] == "other"
    assert vars(parse(["train", "--config", str(path)]))["validation"] == 0.25


def test_values_of_options_that_are_required_or_have_no_default(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"run_folder": "run", "out": "model.onnx", "precision": "int8", "features": True}))
    options = vars(parse(["export", "--config", str(path), "--precision", "float16"]))
    expected = {"run_folder": "run", "out": "model.onnx", "precision": "float16", "features": True}
    assert {name: options[name] for name in expected} == expected
    path.write_text(json.dumps({"images": ["a.jpg", "b.jpg"], "out": "x.csv"}))
    options = vars(parse(["predict", "run", "--config", str(path)]))
    assert (options["run_folder"], options["images"], options["out"]) == ("run", ["a.jpg", "b.jpg"], "x.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epohcs": 3}, "Received: 'epohcs'. Did you mean 'epochs'"),
        ({"batch_size": "many"}, "`batch_size` in "),
        ({"keep_best": 1}, "Received: 1 (true or false is required)"),
        ({"epochs": True}, "Received: True (text or a number is required)"),
        ([1], "must have an object with options. Received: list"),
    ],
)
def test_errors_of_files(command: Command, tmp_path: Path, values: object, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    error = command.error("train", "--config", path, status=2)
    assert message in error and error.startswith("usage: transferkit train")


def test_file_without_a_required_option(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"precision": "int8"}')
    assert "required: --out" in command.error("export", "run", "--config", path, status=2)
    assert "argument --config: expected one argument" in command.error("train", "--config", status=2)


def test_invalid_toml(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("epochs = \n")
    assert "line 1" in command.error("train", "--config", path, status=2)
    assert "no such file" in command.error("train", "--config", tmp_path / "nothing.toml", status=2).lower()
