"""Options of commands that compute a folder of shards in several processes or on a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from transferkit._utils.checks import check_int
from transferkit._utils.lazy import LazyModule
from transferkit.cli import output
from transferkit.cli.options import Option, given

tk: Any = LazyModule("transferkit")

SHARDING = (
    Option(
        "workers", "number of local processes, ray for the running Ray cluster, its address, or local for a new one"
    ),
    Option("num_workers", "largest number of workers of the Ray cluster", int),
    Option("shard_size", "images per shard; archives have one shard each", int),
)


def sharding_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments `engine` and `shard_size` of `extract_features` and `predict_many`.

    Raises:
        ValueError: if `workers` is no number or address, or `num_workers` is given without a Ray cluster.
    """
    found = given(values, SHARDING)
    engine = _engine(found.pop("workers", None), found.pop("num_workers", None))
    return {**found, "engine": engine}


def check_unused(values: Mapping[str, Any]) -> None:
    """Raise a ValueError for an option of shards without `workers`."""
    unused = given(values, SHARDING)
    if unused:
        name, value = next(iter(unused.items()))
        raise ValueError(f"`{name}` must be given with `workers`. Received: {value!r} alone. Add --workers 2.")


def print_shards(arguments: argparse.Namespace, shards: Any) -> int:
    """Print the number of images and errors; return the exit status, which is 1 when no image could be read."""
    images, errors, count = len(shards), shards.num_errors, len(shards.files)
    value = {"path": shards.path, "images": images, "errors": errors, "shards": count}
    made = f"{count:,} shard{'' if count == 1 else 's'}"
    output.result(arguments, value, f"{shards.path}: {images:,} images, {errors:,} errors, {made}")
    return int(errors == images)


def _engine(workers: str | None, num_workers: int | None) -> Any:
    if workers is not None and (workers in ("ray", "local") or ":" in workers):
        address = "auto" if workers == "ray" else workers
        return tk.RayEngine(address, **({} if num_workers is None else {"num_workers": num_workers}))
    if num_workers is not None:
        raise ValueError(
            f"`num_workers` must be given with a Ray cluster as `workers`. Received: {num_workers} with "
            f"workers={workers!r}. Add --workers ray, or give --workers {num_workers} alone."
        )
    if workers is None:
        return None
    try:
        return check_int("workers", int(workers))
    except ValueError as error:
        raise ValueError(
            "`workers` must be a number of processes of at least 1, ray, local, or the address of a Ray cluster. "
            f"Received: {workers!r}. Give, for example, 4 or ray://host:10001."
        ) from error
