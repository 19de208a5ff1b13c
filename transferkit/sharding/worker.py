"""Computes shards: a fixed list of images in, one file out. The same code runs in each process and on each machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.files import parse_json
from transferkit._utils.parallel import ordered_map
from transferkit.sharding.job import Job
from transferkit.sharding.manifest import Manifest
from transferkit.sharding.shard_table import ERROR, write_table
from transferkit.sharding.storage import Folder, is_url, read_file
from transferkit.sharding.tasks import Task, load_task

_WORK = "work.json"


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes:
        number: of the shard.
        rows: number of images.
        errors: number of images without a result.
        seconds: that it took.
        engine: that computed it.
    """

    number: int
    rows: int
    errors: int
    seconds: float
    engine: str


class Worker:
    """Computes the shards of a job.

    Args:
        job: `Job`.
        manifest: its images.
        task: the computation for each.
        out: path or URL of the folder of shards.

    Attributes:
        engine: name of the engine.
    """

    def __init__(self, job: Job, manifest: Manifest, task: Task, out: str) -> None:
        self._job, self._manifest, self._task, self._folder = job, manifest, task, Folder(out)
        self.engine: str = task.start(job.num_rows, job.engine)

    @classmethod
    def load(cls, folder: Path) -> Worker:
        """Return the worker of a folder that `save_work` wrote."""
        values = parse_json((folder / _WORK).read_bytes())
        job = Job(**{**values["job"], "columns": tuple(values["job"]["columns"])})
        labels = values["labels"]
        manifest = Manifest(tuple(values["paths"]), None if labels is None else tuple(labels))
        return cls(job, manifest, load_task(folder), values["out"])

    def run(self, number: int) -> ShardResult:
        """Compute a shard and write its file.

        Raises:
            OSError: when it cannot be written.
        """
        started = time.perf_counter()
        rows = self._manifest.rows(*self._job.range_of(number))
        columns = self._task.compute(rows, _sources(rows.paths))
        errors = sum(error is not None for error in columns[ERROR])
        self._folder.write(self._job.shard_name(number), write_table(columns, engine=self.engine, num_errors=errors))
        return ShardResult(number, len(rows), errors, time.perf_counter() - started, self.engine)


def save_work(folder: Path, job: Job, manifest: Manifest, task: Task, out: str) -> None:
    """Write all that a worker in another process needs."""
    task.save(folder)
    values = {
        "job": dataclasses.asdict(job),
        "paths": manifest.paths,
        "labels": manifest.labels,
        "out": out,
    }
    (folder / _WORK).write_text(json.dumps(values), encoding="utf-8")


def _sources(paths: Sequence[str]) -> list[Any]:
    """Return the bytes of URLs, or the error of each that cannot be reached; local paths are read when decoded."""

    def source(path: str) -> Any:
        if not is_url(path):
            return path
        with contextlib.suppress(FileNotFoundError):
            try:
                return read_file(path)
            except FileNotFoundError:
                raise
            except OSError as error:
                return error
        return OSError("there is no such file")

    return list(ordered_map(source, paths)) if any(map(is_url, paths)) else list(paths)
