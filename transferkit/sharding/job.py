"""What a job computes, and the files of its shards; equal for the same images, model and settings."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from transferkit._utils.files import parse_json
from transferkit._utils.hashing import fingerprint
from transferkit.errors import DataError
from transferkit.sharding.storage import Folder

JOB_FILE = "job.json"
# Changes whenever the files of the same job would.
_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Job:
    """A job, as the file job.json next to its shards describes it.

    Attributes:
        kind: "features" or "predictions".
        manifest: fingerprint of the images, their labels and their order.
        model: fingerprint of the model, the decoding and the precision.
        num_rows: number of images; None where it is known only when all were read.
        shard_size: number of images per shard; None where shards have different sizes.
        num_shards: number of shards.
        columns: names of the columns of its shards.
        task: what describes the model and the decoding, such as "image_spec".
        engine: that was chosen at the start. Another one would give other digits, so workers use it where they can.
        version: of the format.
    """

    kind: str
    manifest: str
    model: str
    num_rows: int | None
    shard_size: int | None
    num_shards: int
    columns: tuple[str, ...]
    task: dict[str, Any] = dataclasses.field(default_factory=dict)
    engine: str = dataclasses.field(default="auto", compare=False)
    version: int = _VERSION

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the contents of the shards follow from."""
        return self.version, self.kind, self.manifest, self.model, self.shard_size, *self.columns

    def shard_name(self, number: int) -> str:
        """Return the name of the file of a shard."""
        return f"{fingerprint(*self.identity)}-{number:06d}.parquet"

    def missing(self, folder: Folder) -> list[int]:
        """Return the numbers of the shards that are not in a folder."""
        names = folder.names()
        return [number for number in range(self.num_shards) if self.shard_name(number) not in names]

    def write(self, folder: Folder) -> None:
        """Write the description."""
        folder.write(JOB_FILE, json.dumps(dataclasses.asdict(self), indent=2).encode())

    def stored(self, folder: Folder) -> Job | None:
        """Return the same job as a folder has it, with its engine; None for a folder without a job.

        Raises:
            DataError: when the folder has the shards of another job.
        """
        if JOB_FILE not in folder.names():
            return None
        stored = read_job(folder)
        if stored != self:
            raise DataError(
                "`out` must be empty or have the shards of the same images and model. Received: "
                f"{folder.path!r}, made {_described(stored)}; now it would be {_described(self)}. Choose another "
                "folder."
            )
        return stored


def read_job(folder: Folder) -> Job:
    """Return the job of a folder of shards.

    Raises:
        DataError: when it has none, or a damaged one.
    """
    try:
        values: dict[str, Any] = dict(parse_json(folder.read(JOB_FILE)))
    except FileNotFoundError as error:
        raise DataError(
            f"The folder must have the shards of a job. Received: {folder.path!r} without {JOB_FILE}. Check the path."
        ) from error
    except (ValueError, TypeError) as error:
        raise _damaged(folder, error) from error
    if values.get("version", _VERSION) != _VERSION:
        raise DataError(
            f"The shards must have format {_VERSION}. Received: {folder.path!r} with format {values['version']}. "
            "Compute them again in another folder."
        )
    try:
        return Job(**{**values, "columns": tuple(values["columns"])})
    except (TypeError, KeyError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Folder, error: Exception) -> DataError:
    return DataError(
        f"{JOB_FILE} must describe a job. Received: {folder.file(JOB_FILE)!r}, which is damaged ({error}). Use another "
        "folder."
    )


def _described(job: Job) -> str:
    images = f"{job.num_shards:,} archives" if job.num_rows is None else f"{job.num_rows:,} images"
    size = "" if job.shard_size is None else f" in shards of {job.shard_size:,}"
    return f"of {images} (fingerprint {job.manifest}){size} with the model {job.model} for {job.kind}"
