"""Help, version and wrong arguments, which must not wait for heavy packages; exit codes and messages of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import transferkit as tk
from tests.cli.conftest import Command
from transferkit.cli.main import COMMANDS, main

HEAVY = ("tensorflow", "keras", "numpy", "rich", "PIL", "matplotlib")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "train a classifier"),
        (["--version"], 0, f"transferkit {tk.__version__}"),
        ([], 2, "required: COMMAND"),
        (["trian"], 2, "Received: 'trian'. Did you mean 'train'?"),
        (
            ["train", "--epohcs", "3"],
            2,
            "transferkit train: error: an argument must be one of the command. Received: '--epohcs'. Did you mean",
        ),
        (["train", "--batch-size", "many"], 2, "argument --batch-size: invalid int value: 'many'"),
        (["train", "--out"], 2, "argument --out: expected one argument"),
        *(([name, "--help"], 0, "--debug") for name in COMMANDS),
        (["backbones"], 0, "EfficientNetLite0"),
        (["completion", "fish"], 0, "complete -c transferkit"),
    ],
)
def test_heavy_packages_are_not_imported(arguments: list[str], status: int, text: str) -> None:
    code = (
        "import sys\nfrom transferkit.cli.main import main\n"
        f"try:\n    status = main({arguments!r})\nexcept SystemExit as end:\n    status = end.code\n"
        f"print('imported', [name for name in {HEAVY!r} if name in sys.modules], status or 0)"
    )
    result = run_python(code)
    found = result.stdout.splitlines()[-1]
    assert found.startswith("imported") and found.endswith(f" {status}"), result.stderr
    assert "[]" in found
    assert text in result.stdout + result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    help_text = capsys.readouterr().out
    assert end.value.code == 0 and help_text.startswith(f"usage: transferkit {name}")
    assert COMMANDS[name].split()[0] in help_text.lower()


def test_module_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "transferkit", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, f"transferkit {tk.__version__}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nothing", "image.jpg"], "there is no such folder"),
        (["evaluate", "nothing", "photos"], "there is no such folder"),
        (["scan", "nothing"], "'nothing'"),
        (["train"], "`data` must be given"),
        (["train", ".", "--blocks", "2"], "`blocks` must be given with `fine_tune_epochs`"),
        (["train", "--resume", "--epochs", "2"], "`resume` continues a run with its own options. Received: `epochs`"),
        (["train", "--resume", "--out", "nothing"], "must have an interrupted run to resume"),
        (["backbones", "--by", "top"], "Did you mean 'top5' or 'top1'"),
        (["cache", "--clear", "featurs", "--yes"], "Did you mean 'features'?"),
        (["cache", "--clear"], "`yes` must confirm the deletion"),
        (["datasets", "synthetic_cats_and_dogs"], "`out` must be given"),
        (["datasets", "cats_and_dogs", "--size", "64"], "`size` is for synthetic_cats_and_dogs"),
    ],
)
def test_errors_are_one_line(
    command: Command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = command.error(*arguments)
    assert message in error and len(error.splitlines()) == 1
    assert error.startswith(f"transferkit {arguments[0]}: ") and not any(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(tk.ArtifactError, match="no such folder"):
        main(["predict", str(tmp_path / "nothing"), "image.jpg", "--debug"])


def test_reader_that_ends_early(synthetic: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "transferkit", "backbones"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, "")


def test_import_of_tensorflow_prints_nothing(synthetic: Path) -> None:
    code = "import os\nos.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\nfrom transferkit.cli.main import main\n"
    result = run_python(f"{code}main(['scan', {str(synthetic)!r}])")
    assert "train: 40 images" in result.stdout
    assert result.stderr == ""


def test_failed_import_prints_what_it_printed(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("import os\nos.write(2, b'reason')\nraise ImportError('broken')\n")
    code = (
        f"import sys\nfrom transferkit.cli.quiet_import import QuietImport\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.meta_path.insert(0, QuietImport('noisy'))\nimport noisy"
    )
    result = run_python(code)
    assert "reason" in result.stderr and "ImportError: broken" in result.stderr
