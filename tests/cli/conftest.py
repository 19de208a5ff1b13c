"""A run of `transferkit train` on synthetic images, for all tests of commands that need one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.cli.main import main

# Of a network that takes milliseconds; that of the catalogue has its own tests.
SMALL = "small_for_cli"
TRAIN = ["--backbone", SMALL, "--image-size", "32", "--epochs", "3", "--learning-rate", "0.01"]


def register_small() -> None:
    """Register the network that the tests of commands train."""
    tk.BackboneFactory.register(SMALL, lambda input_shape, weights: small_network(input_shape[0]), preprocessing="tf")


@pytest.fixture(autouse=True)
def small_backbone(own_registry: None) -> None:
    register_small()


@pytest.fixture(scope="session")
def run_folder(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    register_small()
    try:
        assert main(["train", str(synthetic), *TRAIN, "--test", "0.5", "--out", str(folder)]) == 0
    finally:
        tk.BackboneFactory.unregister(SMALL)
    return folder


class Command:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self, *arguments: Any) -> list[str]:
        """Return the lines on stdout of a command that succeeds."""
        self._capsys.readouterr()
        assert main(list(map(str, arguments))) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out.splitlines()

    def json(self, *arguments: Any) -> Any:
        """Return the value that a command prints with --json, and nothing else."""
        (line,) = self.lines(*arguments, "--json")
        return json.loads(line)

    def error(self, *arguments: Any, status: int = 1) -> str:
        """Return the message of a command that fails without a traceback and without output."""
        self._capsys.readouterr()
        try:
            found = main(list(map(str, arguments)))
        except SystemExit as end:
            assert isinstance(end.code, int)
            found = end.code
        printed = self._capsys.readouterr()
        assert found == status and printed.out == "" and "Traceback" not in printed.err
        return printed.err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)
