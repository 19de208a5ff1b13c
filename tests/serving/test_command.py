"""The command: help without heavy packages, and errors as one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from transferkit.cli.main import main
from transferkit.serving import ServerOptions, server
from transferkit.serving.server import names_of


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom transferkit.cli.main import main\n"
        "try:\n    main(['serve', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print([name for name in ('tensorflow', 'keras', 'fastapi', 'uvicorn') if name in sys.modules])"
    )
    result = run_python(code)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
    for option in vars(ServerOptions()):
        if option != "api_keys":
            assert f"--{option.replace('_', '-')}" in result.stdout


def test_serving_does_not_import_tensorflow() -> None:
    code = "import sys, transferkit.serving.server; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    assert run_python(code).stdout.split() == ["False", "False"]


def test_missing_package_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\nfrom transferkit.cli.main import main\nprint(main(['serve', 'x']))"
    )
    result = run_python(code)
    assert result.stdout.strip() == "1" and 'pip install "transferkit[serve]"' in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no such folder"),
        ([".", "--max-queue", "0"], "`max_queue` must be an integer of at least 1"),
        ([".", "--api-key-file", "nothing"], "must have one key per line"),
        ([".", "."], "must have different names"),
        (["."], "which has no transferkit.json"),
    ],
)
def test_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(server, "configure_logging", lambda: None)
    assert main(["serve", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and "Traceback" not in error


def test_version_of_python_module() -> None:
    result = subprocess.run([sys.executable, "-m", "transferkit", "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and "serve" in result.stdout


def test_names_of_folders(tmp_path: Path) -> None:
    assert names_of([tmp_path / "a", str(tmp_path / "b") + "/"]) == {"a": tmp_path / "a", "b": tmp_path / "b"}
    assert all(names_of(["."]))
