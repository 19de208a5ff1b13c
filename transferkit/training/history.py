"""What training did: one record a phase, and the curves over all of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What fit() and fine_tune() return is Keras' own record, so that every script that reads one goes on working.
History = keras.callbacks.History


@dataclasses.dataclass(frozen=True)
class Phase:
    """One call of `fit` or `fine_tune`.

    Attributes:
        name: "frozen" or "fine-tuning".
        history: metric name to its value in each epoch.
        first_epoch: number of the phase's first epoch in the whole run, from 0.
        seconds: wall time.
        learning_rate: the one that the phase started with.
        trained_on: "images" (ordinary Keras training) or "features" (the constant part was run beforehand).
        precision: in which the trained part computed.
    """

    name: str
    history: dict[str, list[float]]
    first_epoch: int
    seconds: float
    learning_rate: float
    trained_on: str
    precision: str = "float32"

    @property
    def epochs(self) -> int:
        """Number of epochs that were trained."""
        return len(self.history.get("loss", ()))


class RunHistory:
    """All phases of a trainer, in order.

    >>> run = RunHistory()
    >>> run.append(Phase("frozen", {"loss": [0.7, 0.6]}, 0, 1.0, 1e-4, "features"))
    >>> run.append(Phase("fine-tuning", {"loss": [0.5]}, 2, 1.0, 1e-5, "images"))
    >>> run.history
    {'loss': [0.7, 0.6, 0.5]}
    """

    def __init__(self) -> None:
        self.phases: list[Phase] = []

    def append(self, phase: Phase) -> None:
        """Add a phase at the end."""
        self.phases.append(phase)

    @property
    def history(self) -> dict[str, list[float]]:
        """Metric name to its values over all epochs of all phases."""
        names = dict.fromkeys(name for phase in self.phases for name in phase.history)
        return {name: [value for phase in self.phases for value in phase.history.get(name, [])] for name in names}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw accuracy and loss over all epochs, with the boundaries between phases marked.

        Args:
            path: where to save the picture, or None.

        Returns:
            The matplotlib figure.
        """
        from transferkit.plots import learning_curves

        return learning_curves([phase.history for phase in self.phases], path=path)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain values, ready for JSON."""
        return [dataclasses.asdict(phase) for phase in self.phases]

    def __iter__(self) -> Iterator[Phase]:
        return iter(self.phases)

    def __len__(self) -> int:
        return len(self.phases)

    def __repr__(self) -> str:
        return f"RunHistory({', '.join(f'{phase.name}: {phase.epochs} epochs' for phase in self.phases)})"
