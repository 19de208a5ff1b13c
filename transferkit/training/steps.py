"""How many steps a phase takes, and how many epochs suit the size of the data."""

from __future__ import annotations

from transferkit._utils.checks import check_int
from transferkit.data.dataset import Data

# By measurement on 3 to 50 images per class and two backbones, see docs/training.md: with a learning rate of 1e-3,
# fewer steps leave the probabilities near 0.5, and more gain nothing.
AUTO_STEPS = 300
MIN_AUTO_EPOCHS, MAX_AUTO_EPOCHS = 10, 300
# An epoch of a whole backbone takes long also for few images.
MAX_FINE_TUNING_EPOCHS = 50


def steps_per_epoch(data: Data) -> int | None:
    """Return the number of training batches; None for a tf.data.Dataset of unknown size."""
    split = data.splits.get("train")
    if split is not None and split.dataset is None:
        return -(-len(split) // data.batch_size)
    count = int(data.train.cardinality())
    return count if count > 0 else None


def auto_epochs(steps: int | None, most: int = MAX_AUTO_EPOCHS) -> int:
    """Return the number of epochs in which about 300 steps are taken: from 10 to `most`.

    >>> auto_epochs(1), auto_epochs(25), auto_epochs(1000), auto_epochs(None)
    (300, 12, 10, 10)
    """
    if steps is None:
        return MIN_AUTO_EPOCHS
    return min(most, max(MIN_AUTO_EPOCHS, -(-AUTO_STEPS // steps)))


def resolve_epochs(epochs: int | str, data: Data, *, most: int = MAX_AUTO_EPOCHS) -> int:
    """Return the number of epochs; "auto" follows from the number of training batches."""
    if epochs == "auto":
        return auto_epochs(steps_per_epoch(data), most)
    return check_int("epochs", epochs, hint='Give a number such as 10, or "auto".')
