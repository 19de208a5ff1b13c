"""The files of a release: metadata, wheel, and a source distribution whose tests run."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import transferkit as tk

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
BUILD = "import sys, setuptools.build_meta as b; folder = sys.argv[1]; b.build_sdist(folder); b.build_wheel(folder)"
# Extras for those who work on transferkit.
DEVELOPMENT = {"all", "docs", "test"}


@pytest.fixture(scope="module")
def extras() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def names_in(requirement: str) -> set[str]:
    """Return the extras of "transferkit[a,b]"."""
    match = re.fullmatch(r"transferkit\[([\w,]+)\]", requirement)
    return set(match[1].split(",")) if match else set()


def test_all_has_each_extra_of_users(extras: dict[str, list[str]]) -> None:
    assert names_in(extras["all"][0]) == set(extras) - DEVELOPMENT
    assert names_in(extras["test"][0]) <= set(extras)


def test_extras_in_messages_exist(extras: dict[str, list[str]]) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "transferkit").rglob("*.py"))
    named = set(re.findall(r"\(extra `(\w+)`\)", text))
    assert {"sklearn", "huggingface", "fast"} <= named <= set(extras)


def test_citation_has_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tk.__version__ and citation["license"] == "Apache-2.0"


@pytest.mark.slow
def test_source_distribution_has_tests_that_run(tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    python = str(tmp_path / "environment" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "setuptools>=77"], check=True)
    # From a copy of the files under version control: a build writes to its folder.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    files = [name for name in listed.split("\0") if name]
    for name in files:
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([python, "-c", BUILD, str(tmp_path)], cwd=tmp_path / "source", check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    packaged = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in files if name.startswith("transferkit/")} <= packaged
    assert not [name for name in packaged if name.startswith(("tests", "docs", "examples"))]

    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    unpacked = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(files) - unpacked <= {".gitignore", ".pre-commit-config.yaml"}
    chosen = ["tests/test_head.py", "tests/test_layering.py", "tests/documentation/test_links.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
