"""Computes shards: a fixed list of images in, one file out. The same code runs in each process and on each machine."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from transferkit._utils.files import parse_json
from transferkit._utils.parallel import read_ahead
from transferkit.sharding.job import Job
from transferkit.sharding.open_source import load_source
from transferkit.sharding.shard_table import ERROR, PATH, join_columns, write_table
from transferkit.sharding.source import Source
from transferkit.sharding.storage import Folder
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
        source: its images.
        task: the computation for each.
        out: path or URL of the folder of shards.

    Attributes:
        engine: name of the engine.
    """

    def __init__(self, job: Job, source: Source, task: Task, out: str) -> None:
        self._job, self._source, self._task, self._folder = job, source, task, Folder(out)
        self.engine: str = task.start(source.expected_rows, job.engine)

    @classmethod
    def load(cls, folder: Path) -> Worker:
        """Return the worker of a folder that `save_work` wrote."""
        values = parse_json((folder / _WORK).read_bytes())
        job = Job(**{**values["job"], "columns": tuple(values["job"]["columns"])})
        return cls(job, load_source(values["source"]), load_task(folder), values["out"])

    def run(self, number: int) -> ShardResult:
        """Compute a shard and write its file.

        Raises:
            OSError: when it cannot be written.
            ShardError: when its images cannot be read.
        """
        started = time.perf_counter()
        columns = join_columns([self._task.compute(*part) for part in read_ahead(self._source.parts(number))])
        errors = sum(error is not None for error in columns[ERROR])
        self._folder.write(self._job.shard_name(number), write_table(columns, engine=self.engine, num_errors=errors))
        return ShardResult(number, len(columns[PATH]), errors, time.perf_counter() - started, self.engine)


def save_work(folder: Path, job: Job, source: Source, task: Task, out: str) -> None:
    """Write all that a worker in another process needs."""
    task.save(folder)
    values = {"job": dataclasses.asdict(job), "source": {"kind": source.kind, **source.to_dict()}, "out": out}
    (folder / _WORK).write_text(json.dumps(values), encoding="utf-8")
