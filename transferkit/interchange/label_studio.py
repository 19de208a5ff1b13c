"""Label Studio: tasks with labels and predictions to review, and the reviewed labels.

Format: https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from transferkit._utils.files import atomic_write
from transferkit.errors import DataError
from transferkit.interchange.labeled_files import LabeledFile, PathsAndLabels, labeled_files, path_inside

# The names of the control and of the image in the labeling configuration.
_CONTROL, _IMAGE = "label", "image"
_LOCAL_FILES = "/data/local-files/?d="
# What Label Studio puts in front of the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def label_studio_config(class_names: Sequence[str], *, multi_label: bool = False) -> str:
    """Return the labeling configuration of a Label Studio project for the files of `write_label_studio`.

    Args:
        class_names: names of the classes, as `data.class_names`.
        multi_label: bool. Whether an image can have several labels. Defaults to False.

    Returns:
        The text for "Labeling Interface", "Code".

    Example:

    >>> print(label_studio_config(["cats", "dogs"]))
    <View>
      <Image name="image" value="$image"/>
      <Choices name="label" toName="image" choice="single">
        <Choice value="cats"/>
        <Choice value="dogs"/>
      </Choices>
    </View>
    """
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in class_names)
    kind = "multiple" if multi_label else "single"
    return (
        f'<View>\n  <Image name="{_IMAGE}" value="${_IMAGE}"/>\n'
        f'  <Choices name="{_CONTROL}" toName="{_IMAGE}" choice="{kind}">\n{choices}\n  </Choices>\n</View>'
    )


def write_label_studio(
    source: Any, path: str | os.PathLike[str], *, root: str | os.PathLike[str], url: str = _LOCAL_FILES
) -> None:
    """Write tasks for Label Studio: given labels as annotations, and predicted or suggested ones as predictions.

    Args:
        source: `Data`; predictions, as from `predictor.predict("photos/")`; or an `Inspection`, whose suggested labels
            become predictions.
        path: str or path. The JSON file, which is replaced if it exists.
        root: str or path. The folder that Label Studio serves, which has all images.
        url: str. What comes before the path of an image relative to `root`. Defaults to the address of the local
            storage of Label Studio.

    Raises:
        DataError: when an image is not in `root`, or is no file.
        StorageError: when the file cannot be written.

    Example:

    >>> tk.interchange.write_label_studio(predictor.predict("photos/"), "tasks.json", root="photos")  # doctest: +SKIP
    """
    folder = Path(root).resolve()
    tasks = [_task(file, folder, url) for file in labeled_files(source)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(tasks, indent=1), encoding="utf-8")


def read_label_studio(path: str | os.PathLike[str], *, root: str | os.PathLike[str]) -> PathsAndLabels:
    """Read the labels of an export of Label Studio, "JSON" or "JSON-MIN", as a source of `DatasetBuilder`.

    Of several annotations of an image the last one counts. Tasks that were skipped or have no label are left out.

    Args:
        path: str or path. The exported file.
        root: str or path. The folder with the images. A task names its image by the path relative to it, or by the
            name of a file in it.

    Returns:
        (paths, labels), where a label is a list of names if any image has several.

    Raises:
        DataError: when the file is no such export, has no labels, or an image is missing in `root`.

    Example:

    >>> source = tk.interchange.read_label_studio("export.json", root="photos")  # doctest: +SKIP
    >>> data = tk.DatasetBuilder(source, validation=0.2).build()  # doctest: +SKIP
    """
    try:
        tasks = json.loads(Path(path).read_text(encoding="utf-8"))
        found = list(_labeled_tasks(tasks))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"`path` must be a JSON export of Label Studio. Received: {os.fspath(path)!r} ({error}). Export the "
            "project as JSON or JSON-MIN."
        ) from error
    if not found:
        raise DataError(
            f"`path` must have labeled images. Received: {os.fspath(path)!r}, whose tasks have no labels. Label some."
        )
    paths = [_local_path(image, Path(root)) for image, _ in found]
    if all(len(labels) == 1 for _, labels in found):
        return paths, [labels[0] for _, labels in found]
    return paths, [labels for _, labels in found]


def _task(file: LabeledFile, root: Path, url: str) -> dict[str, Any]:
    path = Path(file.path).resolve()
    if not path.is_relative_to(root):
        raise DataError(f"`root` must have all images. Received: {str(root)!r}, without {file.path!r}. Choose another.")
    relative = path.relative_to(root).as_posix()
    task: dict[str, Any] = {"data": {_IMAGE: url + urllib.parse.quote(os.fsencode(relative))}}
    if file.labels is not None:
        task["annotations"] = [{"result": [_choice(list(file.labels))]}]
    if file.predicted is not None:
        names, probabilities = [name for name, _ in file.predicted], [p for _, p in file.predicted if p is not None]
        score = {"score": min(probabilities)} if probabilities else {}
        task["predictions"] = [{"model_version": "transferkit", **score, "result": [_choice(names)]}]
    return task


def _choice(names: list[str]) -> dict[str, Any]:
    return {"from_name": _CONTROL, "to_name": _IMAGE, "type": "choices", "value": {"choices": names}}


def _labeled_tasks(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of the image and the labels of each task that has labels."""
    for task in tasks:
        is_full = isinstance(task.get("data"), Mapping)
        image = str(task["data"][_IMAGE] if is_full else task[_IMAGE])
        labels = _annotated(task.get("annotations") or []) if is_full else _minimal(task.get(_CONTROL))
        if labels:
            yield image, labels


def _annotated(annotations: Sequence[Mapping[str, Any]]) -> list[str]:
    for annotation in reversed(annotations):
        results = [] if annotation.get("was_cancelled") else annotation["result"]
        names = [name for one in results if one.get("type") == "choices" for name in one["value"]["choices"]]
        if names:
            return list(map(str, names))
    return []


def _minimal(value: Any) -> list[str]:
    names = value.get("choices", []) if isinstance(value, Mapping) else value
    return [names] if isinstance(names, str) else list(map(str, names or []))


def _local_path(address: str, root: Path) -> str:
    parts = urllib.parse.urlsplit(address)
    local = urllib.parse.parse_qs(parts.query).get("d")
    name = local[0] if local else urllib.parse.unquote(parts.path)
    last = name.rsplit("/", 1)[-1]
    for candidate in (name.lstrip("/"), last, _UPLOAD_PREFIX.sub("", last)):
        path = path_inside(root, candidate)
        if path is not None:
            return str(path)
    raise DataError(f"`root` must have all images. Received: {os.fspath(root)!r}, without {name!r}. Choose another.")
