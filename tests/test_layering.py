"""The architecture as tests: layers, cycles, sizes, parameters, and the public names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import transferkit as tk

PACKAGE = Path(tk.__file__).parent
# A module imports only modules of its own group or of groups further up.
LAYERS = [
    ("errors", "_utils"),
    ("images",),
    ("datasets", "plots", "pages"),
    ("data", "evaluation", "calibration"),
    ("augmentation", "head", "modeling"),
    ("engines", "runtimes"),
    ("features", "prediction", "metadata", "exported_metadata", "explanation"),
    ("cache", "backbones", "classifier", "training_features", "model_card"),
    ("saving", "loading", "exporting", "huggingface", "inspection", "sharding"),
    ("training", "comparison", "zero_shot_classifier"),
    ("serving", "sklearn", "interchange", "autofitting"),
    ("cli", "__main__"),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
# Functions that users call, with options that have defaults.
PUBLIC_WITH_MANY_PARAMETERS = {
    ("transferkit.augmentation.block", "__init__"),
    ("transferkit.autofitting.fitting", "autofit"),
    ("transferkit.backbones.backbone", "features"),
    ("transferkit.comparison", "compare_backbones"),
    ("transferkit.data.builder", "__init__"),
    ("transferkit.datasets.download", "download"),
    ("transferkit.explanation.explain_images", "explain"),
    ("transferkit.exporting.export_model", "export"),
    ("transferkit.prediction.predictor", "__init__"),
    ("transferkit.sharding.result", "to_data"),
    ("transferkit.sharding.run", "extract_features"),
    ("transferkit.sharding.run", "predict_many"),
    ("transferkit.sklearn", "__init__"),
    ("transferkit.training.trainer", "__init__"),
    ("transferkit.training.trainer", "fit"),
    ("transferkit.training.trainer", "fine_tune"),
}
MAX_LINES, MAX_PARAMETERS, MAX_LOCAL_IMPORTS = 400, 6, 6


def name_of(path: Path) -> str:
    parts = ["transferkit", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def group_of(module: str) -> str:
    return module.split(".")[1]


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[tuple[ast.stmt, str, bool]]:
    """Yield (statement, imported module, whether it is inside a function), also of blocks for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    local = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, node in local) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield node, submodule if submodule in MODULES else node.module, node in local


def our_imports(path: Path) -> set[str]:
    return {module for _, module, _ in imports(path) if module.startswith("transferkit")}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    mine = group_of(name_of(path))
    assert mine in RANK, f"{mine} is in no layer"
    for module in our_imports(path):
        if module == "transferkit":
            pytest.fail(f"{path.name} imports the top of the package")
        other = group_of(module)
        assert other == mine or RANK[other] <= RANK[mine], f"{path.name} imports {module}, which is in a higher layer"


def test_imports_have_no_cycle() -> None:
    # A package's __init__ re-exports its modules; what counts is which module needs which.
    graph = {name: our_imports(path) & set(MODULES) for name, path in MODULES.items() if path.name != "__init__.py"}
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        assert name not in chain, " -> ".join((*chain[chain.index(name) :], name))
        if name in done or name not in graph:
            return
        for other in sorted(graph[name]):
            visit(other, (*chain, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_local_imports_are_few_and_of_heavy_packages() -> None:
    local = [(path, module) for path in FILES for _, module, is_local in imports(path) if is_local]
    assert len({(path, module) for path, module in local}) <= MAX_LOCAL_IMPORTS, local
    allowed = (
        "tensorflow",
        "openvino",
        "pandas",
        "transferkit.images.tf_decoder",
        "transferkit.engines",
        "transferkit.explanation",
    )
    assert all(module.startswith(allowed) for _, module in local), local


def test_no_test_package_hides_a_module_of_python() -> None:
    # The folder of a script comes first when it imports modules.
    names = {path.stem for path in Path(__file__).parent.iterdir()}
    assert "pages" in names and not names & set(sys.stdlib_module_names)


def test_picture_of_documentation_shows_layers() -> None:
    picture = (PACKAGE.parent / "docs" / "images" / "layers.svg").read_text(encoding="utf-8")
    rows = re.findall(r'font-weight="bold"[^>]*>([^<]*)<', picture)
    assert [row.split(", ") for row in rows] == [list(names) for names in reversed(LAYERS)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_internal_functions_have_few_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (name_of(path), node.name) not in PUBLIC_WITH_MANY_PARAMETERS:
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
            assert len(names) <= MAX_PARAMETERS, f"{node.name} has {len(names)} parameters"


@pytest.mark.parametrize("name", sorted(set(tk.__all__) - {"__version__"}))
def test_public_name_is_documented(name: str) -> None:
    value = getattr(tk, name)
    assert value.__doc__ and len(value.__doc__) > 20
    if isinstance(value, type):
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                assert getattr(value, attribute).__doc__ or member.__doc__, f"{name}.{attribute} is not documented"


def test_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Trainr'\. Did you mean 'Trainer'"):
        tk.Trainr  # noqa: B018


def test_import_does_not_import_tensorflow() -> None:
    code = "import sys, transferkit; dir(transferkit); print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_images_and_prediction_work_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        "import numpy as np, transferkit.prediction, transferkit.metadata\n"
        "from transferkit.images import ImageSpec, load_image, read_image\n"
        "image = load_image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), ImageSpec((2, 2)))\n"
        "print(image.shape, transferkit.prediction.Predictor.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "(2, 2, 3) Predictor", result.stderr


def test_only_preprocessing_knows_another_value_range() -> None:
    for path in FILES:
        if path.name not in ("preprocessing.py", "applications.py", "table.py"):
            for number in ("127.5", "103.939", "0.485"):
                assert number not in path.read_text(encoding="utf-8"), f"{path} scales pixels"
