"""The architecture, as tests: who may import whom, and what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import transferkit as tk

PACKAGE = Path(tk.__file__).parent
# A module imports only what stands to its left; within one name everything may import everything.
LAYERS = [
    ("_utils",),
    ("errors", "_checks", "_storage", "_collector"),
    ("data", "datasets"),
    ("evaluation",),
    ("augmentation", "warp"),
    ("features", "cache"),
    ("prediction",),
    ("backbones",),
    ("head",),
    ("classifier",),
    ("training",),
    ("artifact",),
    ("compare",),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_at_the_top(path: Path) -> set[str]:
    """Return the modules that are imported when the file is; those inside functions come later, when all is there."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "transferkit")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    mine = layer_of(path)
    if mine == "__init__":
        return
    assert mine in RANK, f"{mine} has no place in the layers"
    for module in imports_at_the_top(path):
        if module.startswith("transferkit."):
            other = module.split(".")[1]
            assert other == mine or RANK[other] <= RANK[mine], f"{path.name} imports {module}, which stands above it"
        assert module != "transferkit", f"{path.name} imports the top of the package"


def test_every_module_is_in_the_layers() -> None:
    assert {layer_of(path) for path in FILES} - {"__init__"} <= set(RANK)


@pytest.mark.parametrize("name", sorted(set(tk.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(tk, name)
    assert value.__doc__ and len(value.__doc__) > 20
    if isinstance(value, type):
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                assert getattr(value, attribute).__doc__ or member.__doc__, f"{name}.{attribute} is not documented"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Trainr'"):
        tk.Trainr  # noqa: B018


def test_importing_the_package_does_not_import_tensorflow() -> None:
    code = "import sys, transferkit; dir(transferkit); print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_only_preprocessing_knows_another_range_of_pixels() -> None:
    for path in FILES:
        if path.name not in ("preprocessing.py", "applications.py", "table.py"):
            for number in ("127.5", "103.939", "0.485"):
                assert number not in path.read_text(), f"{path} scales pixels"
