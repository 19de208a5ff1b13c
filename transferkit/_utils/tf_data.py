"""Options of pipelines of tf.data."""

from __future__ import annotations

from typing import Any

from transferkit._utils.lazy import LazyModule

tf: Any = LazyModule("tensorflow")


def without_autotuning(dataset: Any) -> Any:
    """Return a tf.data.Dataset whose iterators have no thread that tunes them, where there is nothing to tune.

    The destructor of an iterator waits for that thread, which is woken before it can see that it is canceled, and then
    sleeps on, for up to a minute in an iterator that has been used for long: at the end of an epoch, or whenever Python
    collects garbage.

    Reference: `Model::OptimizeLoop` in tensorflow/core/framework/model.cc and `CancellationManager::StartCancel`
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
