"""FiftyOne: labels and predictions as a `FiftyOneImageClassificationDataset`.

Format: https://docs.voxel51.com/user_guide/import_datasets.html#fiftyoneimageclassificationdataset
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferkit._utils.checks import check_choice
from transferkit._utils.files import atomic_write
from transferkit.errors import DataError
from transferkit.interchange.labeled_files import LabeledFile, PathsAndLabels, labeled_files

_FILE = "labels.json"


def write_fiftyone(source: Any, folder: str | os.PathLike[str], *, field: str = "auto") -> None:
    """Write labels or predictions as a folder that FiftyOne opens; the images stay where they are.

    Args:
        source: `Data`; predictions, as from `predictor.predict("photos/")`; or an `Inspection`.
        folder: str or path. The folder, whose `labels.json` is replaced if it exists.
        field: "labels", "predictions" or, for predictions where there are any, "auto". Defaults to "auto".

    Raises:
        DataError: when the images are not files, or `source` has no such field.
        StorageError: when the file cannot be written.

    Example:

    >>> tk.interchange.write_fiftyone(predictor.predict("photos/"), "predictions")  # doctest: +SKIP
    >>> import fiftyone as fo  # doctest: +SKIP
    >>> kind = fo.types.FiftyOneImageClassificationDataset  # doctest: +SKIP
    >>> dataset = fo.Dataset.from_dir("predictions", kind, label_field="prediction")  # doctest: +SKIP
    """
    check_choice("field", field, ("auto", "labels", "predictions"))
    files = labeled_files(source)
    targets = {file.path: _target(file, field) for file in files}
    classes = sorted({one["label"] for target in targets.values() for one in target})
    is_single = all(len(target) == 1 for target in targets.values())
    contents = {"classes": classes, "labels": {p: t[0] if is_single else t for p, t in targets.items()}}
    with atomic_write(Path(folder) / _FILE) as temporary:
        temporary.write_text(json.dumps(contents, indent=1), encoding="utf-8")


def read_fiftyone(folder: str | os.PathLike[str]) -> PathsAndLabels:
    """Read an exported `FiftyOneImageClassificationDataset` as a source of `DatasetBuilder`.

    Args:
        folder: str or path. The folder, with `labels.json` and, for images that it does not name by their path, `data/`
            or `data.json`. Images without a label are left out.

    Returns:
        (paths, labels), where a label is a list of names if any image has several.

    Raises:
        DataError: when the folder is no such data set, or an image is missing.

    Example:

    >>> source = tk.interchange.read_fiftyone("exported")  # doctest: +SKIP
    >>> data = tk.DatasetBuilder(source, validation=0.2).build()  # doctest: +SKIP
    """
    folder = Path(folder)
    try:
        contents = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        classes, targets = contents.get("classes"), contents["labels"]
        labels = {key: _names(target, classes) for key, target in targets.items() if target not in (None, [])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise DataError(
            f"`folder` must have the {_FILE} of a FiftyOneImageClassificationDataset. Received: {str(folder)!r} "
            f"({error}). Export the dataset with this type."
        ) from error
    if not labels:
        raise DataError(f"`folder` must have labels. Received: {str(folder)!r}, without any. Give a `label_field`.")
    files = _files(folder)
    missing = [key for key in labels if not os.path.isabs(key) and key not in files]
    if missing:
        raise DataError(
            f"Every label must have an image in data/ or data.json. Received: none for {missing[:3]}. Export the media "
            "too."
        )
    paths = [key if os.path.isabs(key) else files[key] for key in labels]
    if all(isinstance(name, str) for name in labels.values()):
        return paths, list(labels.values())
    return paths, [[name] if isinstance(name, str) else name for name in labels.values()]


def _target(file: LabeledFile, field: str) -> list[dict[str, Any]]:
    chosen = field if field != "auto" else ("labels" if file.predicted is None else "predictions")
    if chosen == "labels" and file.labels is not None:
        return [{"label": name} for name in file.labels]
    if chosen == "predictions" and file.predicted is not None:
        return [{"label": name} | ({} if p is None else {"confidence": p}) for name, p in file.predicted]
    raise DataError(f"`source` must have {chosen}. Received: {file.path!r} without them. Choose another `field`.")


def _names(target: Any, classes: list[str] | None) -> str | list[str]:
    if isinstance(target, list):
        return [_name(one, classes) for one in target]
    return _name(target, classes)


def _name(target: Any, classes: list[str] | None) -> str:
    label = target["label"] if isinstance(target, Mapping) else target
    return str(classes[label] if classes is not None and isinstance(label, int) else label)


def _files(folder: Path) -> dict[str, str]:
    """Return the path of each image by its name: relative to data/, without extension."""
    listed = folder / "data.json"
    if listed.is_file():
        return {str(key): str(path) for key, path in json.loads(listed.read_text(encoding="utf-8")).items()}
    root = folder / "data"
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).with_suffix("").as_posix(): str(path) for path in found}
