"""Computes the missing shards of a job, in this process, in several, or with Ray."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int
from transferkit._utils.progress import Progress
from transferkit.images.spec import ImageSpec
from transferkit.modeling.precision import check_precision
from transferkit.prediction import Predictor
from transferkit.sharding.job import Job
from transferkit.sharding.open_source import open_source
from transferkit.sharding.processes import run_in_processes
from transferkit.sharding.ray_engine import RayEngine, run_on_ray
from transferkit.sharding.result import Shards
from transferkit.sharding.source import Source
from transferkit.sharding.storage import Folder
from transferkit.sharding.tasks import FeatureTask, PredictionTask, Task
from transferkit.sharding.worker import ShardResult, Worker, save_work


@suggests_arguments
def extract_features(
    source: Any,
    backbone: Any,
    *,
    out: str | os.PathLike[str],
    engine: int | RayEngine | None = None,
    image_spec: ImageSpec | None = None,
    precision: str = "float32",
    shard_size: int | None = None,
    progress: bool = True,
) -> Shards:
    """Extract the pooled features of any number of images into a folder of Parquet files.

    The images are split into shards of a fixed size, each of which becomes one file that appears when it is complete;
    an archive of images is one shard. The same call after an interruption of any kind computes those that are missing.
    An image that cannot be read has a row with the reason as "error".

    Args:
        source: a folder; a .csv or .parquet table with the columns "path" and, where known, "label"; or a list of
            paths. Folder, table and paths can be URLs of fsspec (extra `remote`), such as "s3://bucket/photos". Labels
            of a folder are the names of its subfolders. Or archives: the path of a .tar, .tar.gz, .tgz or .tfrecord
            file, a list of them, a folder that has them and no images, or a pattern such as
            "s3://bucket/train-{000..099}.tar" or "train-*.tar".
        backbone: a `Backbone`.
        out: folder or URL of the shards. It must be empty or have shards of the same images and model.
        engine: None, this process; int >= 1, as many local processes; or a `RayEngine`. Defaults to None. The features
            are the same to the last bit on equal processors with as many threads, as local processes have, and within
            the tolerance to which inference engines are verified on others.
        image_spec: `ImageSpec`, how images are decoded. Defaults to None, that of the backbone, or stretched to its
            input size.
        precision: "float32", "float16" (GPUs only) or "bfloat16". Defaults to "float32".
        shard_size: int >= 1. Number of images per shard; None for archives. Defaults to None, 1024.
        progress: bool, whether to show a progress bar on a terminal or in a notebook. Defaults to True.

    Returns:
        `Shards`: `.features()`, `.table()`, `.num_errors`.

    Raises:
        DataError: when there are no images, or `out` has shards of other images or of another model.
        MissingExtraError: when a package that a path or the engine requires is not installed.
        ShardError: when a shard ends its process again and again, or an archive is damaged.
        StorageError: when a file cannot be written; complete shards are kept.
        ValueError: if an argument is out of its range.

    Example:

    >>> backbone = tk.BackboneFactory.create("EfficientNetLite0")  # doctest: +SKIP
    >>> shards = tk.extract_features("photos/", backbone, out="features/", engine=4)  # doctest: +SKIP
    """
    check_precision(precision)
    height, width, *_ = backbone.input_shape
    spec = image_spec or backbone.image_spec or ImageSpec((height, width))
    task = FeatureTask(backbone.feature_extractor(), spec, precision)
    return run_job(task, source, out, engine, (shard_size, progress))


@suggests_arguments
def predict_many(
    source: Any,
    predictor: Predictor,
    *,
    out: str | os.PathLike[str],
    engine: int | RayEngine | None = None,
    probabilities: bool = True,
    shard_size: int | None = None,
    progress: bool = True,
) -> Shards:
    """Predict any number of images into a folder of Parquet files, as `extract_features` does.

    Args:
        source: as in `extract_features`. Known labels are in the column "true_label".
        predictor: a `Predictor`, without augmented views.
        out, engine, shard_size, progress: as in `extract_features`.
        probabilities: bool. Whether there is a column "p(<class>)" for each class. Defaults to True.

    Returns:
        `Shards`: `.table()`, `.num_errors`. The columns are those of `Predictor.predict_to` and "true_label".

    Raises:
        TypeError: if `predictor` is not a `Predictor`, such as an exported model or an ensemble.
        ValueError, DataError, MissingExtraError, ShardError, StorageError: as `extract_features` does.

    Example:

    >>> predictor = tk.load("classifier")  # doctest: +SKIP
    >>> shards = tk.predict_many("s3://bucket/photos", predictor, out="predictions/", engine=4)  # doctest: +SKIP
    """
    if type(predictor) is not Predictor:
        raise TypeError(
            f"`predictor` must be a Predictor with a Keras model. Received: {type(predictor).__name__}. Load the saved "
            "classifier with tk.load(folder)."
        )
    if predictor.num_views > 1:
        raise ValueError(
            f"`predict_many` requires a predictor without augmented views. Received: num_views={predictor.num_views}. "
            "Load the classifier without `num_views`."
        )
    return run_job(PredictionTask(predictor, probabilities), source, out, engine, (shard_size, progress))


def run_job(
    task: Task, source: Any, out: str | os.PathLike[str], engine: Any, options: tuple[int | None, bool]
) -> Shards:
    """Compute the missing shards of a job; return all shards."""
    shard_size, progress = options
    if engine is not None and not isinstance(engine, RayEngine):
        check_int("engine", engine, hint="Give None, a number of processes, or a RayEngine.")
    images = open_source(source, shard_size)
    job, folder = _job(task, images), Folder(out)
    stored = job.stored(folder)
    if stored is None:
        stored = dataclasses.replace(job, engine=task.start(images.expected_rows))
        stored.write(folder)
    job = stored
    missing = job.missing(folder)
    if missing:
        sizes = [images.size_of(number) for number in missing]
        count = None if None in sizes else sum(size or 0 for size in sizes)
        with Progress(f"Computing {job.kind}", count, enabled=progress) as bar:
            for result in _results(job, images, task, folder.path, (engine, missing)):
                bar.advance(result.rows)
    return Shards(folder.path)


def _job(task: Task, source: Source) -> Job:
    return Job(
        kind=task.kind,
        manifest=source.fingerprint(),
        model=task.fingerprint(),
        num_rows=source.num_rows,
        shard_size=source.shard_size,
        num_shards=source.num_shards,
        columns=task.columns,
        task=task.describe(),
    )


def _results(job: Job, source: Source, task: Task, out: str, plan: tuple[Any, Sequence[int]]) -> Iterator[ShardResult]:
    engine, missing = plan
    if engine is None:
        worker = Worker(job, source, task, out)
        yield from map(worker.run, missing)
        return
    with tempfile.TemporaryDirectory(prefix="transferkit-") as name:
        save_work(Path(name), job, source, task, out)
        if isinstance(engine, RayEngine):
            yield from run_on_ray(engine, Path(name), missing)
        else:
            yield from run_in_processes(Path(name), missing, engine)
