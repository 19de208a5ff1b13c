"""Completion scripts, run in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cli.conftest import Command
from transferkit.cli.main import COMMANDS


def candidates(script: str, *words: str) -> list[str]:
    """Return what bash offers for the last of `words`."""
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        '_transferkit; printf "%s\\n" "${COMPREPLY[@]}"; complete -p transferkit'
    )
    result = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    *found, registered = result.stdout.splitlines()
    assert registered == "complete -o default -F _transferkit transferkit" and result.stderr == ""
    return [one for one in found if one]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash(command: Command) -> None:
    script = "\n".join(command.lines("completion", "bash"))
    assert candidates(script, "transferkit", "e") == ["extract", "evaluate", "explain", "export"]
    assert candidates(script, "transferkit", "") == [*COMMANDS, "--help", "--version"]
    assert candidates(script, "transferkit", "train", "--image") == ["--image-size"]
    assert candidates(script, "transferkit", "train", "--no-k") == ["--no-keep-best"]
    assert candidates(script, "transferkit", "serve", "--max-q") == ["--max-queue"]
    # Files, which bash completes itself.
    assert candidates(script, "transferkit", "predict", "run", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_syntax_of_other_shells(command: Command, shell: str) -> None:
    script = "\n".join(command.lines("completion", shell))
    assert all(name in script for name in COMMANDS) and "image-size" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "--no-execute", "-c", script], check=True)


def test_unknown_shell(command: Command) -> None:
    assert "invalid choice: 'tcsh'" in command.error("completion", "tcsh", status=2)
