"""The program of a local worker process: reads numbers of shards from its input, and writes their results.

Run as `python -m transferkit.sharding.worker_process FOLDER INDEX COUNT`, by `transferkit.sharding.processes`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from transferkit.errors import ShardError
from transferkit.sharding.worker import Worker


def main() -> None:
    """Compute shards until the input ends."""
    folder, index, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _use_part_of_cores(index, count)
    # Libraries print to the standard output, which has the results alone.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker.load(folder)
    for line in sys.stdin:
        results.write(json.dumps(_result(worker, int(line))) + "\n")
        results.flush()


def _result(worker: Worker, number: int) -> dict[str, Any]:
    """Return the result of a shard, or the message of an error that would be the same in another process."""
    try:
        return dataclasses.asdict(worker.run(number))
    except ShardError as error:
        return {"error": str(error)}


def _use_part_of_cores(index: int, count: int) -> None:
    """Limit this process to its part of the cores, so that threads of several processes do not wait for each other.

    Engines create their threads later, when they run for the first time.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if count <= len(cores):
        os.sched_setaffinity(0, cores[index::count])


if __name__ == "__main__":
    main()
