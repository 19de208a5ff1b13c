"""The history of training: metrics of each phase, and curves over all of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from transferkit import plots
from transferkit._utils.tables import html_lines, html_table

# Rows of a table in a notebook.
_MAX_ROWS = 50


class History(keras.callbacks.History):
    """Keras' History of one phase: `.history` is a dict of metric name to its value in each epoch.

    Example:

    >>> history = trainer.fit(data, epochs=3)  # doctest: +SKIP
    >>> history.history["loss"]  # doctest: +SKIP
    [0.41, 0.22, 0.17]
    """

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {series[-1]:.4f}" for name, series in self.history.items() if series)
        return f"History: {len(self.epoch)} epochs, {values}" if values else "History: no epochs"

    def _repr_html_(self) -> str:
        names = [name for name, series in self.history.items() if len(series) == len(self.epoch)]
        rows = [
            [str(epoch + 1), *(f"{self.history[name][row]:.4g}" for name in names)]
            for row, epoch in enumerate(self.epoch)
        ]
        more = [f"the last {_MAX_ROWS} of {len(rows):,} epochs"] if len(rows) > _MAX_ROWS else []
        return html_lines(more) + html_table(rows[-_MAX_ROWS:], ["epoch", *names])


def make_history(model: keras.Model, metrics: dict[str, list[float]], first_epoch: int) -> History:
    """Return the History of a phase, which also becomes the `history` of `model`, as after Keras' `fit`."""
    history = History()
    history.set_model(model)
    history.history = metrics
    history.epoch = list(range(first_epoch, first_epoch + len(metrics.get("loss", ()))))
    model.history = history
    return history


def join_histories(model: keras.Model, histories: Sequence[History], epochs: int) -> History:
    """Return one History of several phases that followed one another; of none, it is that after `epochs` epochs."""
    if len(histories) == 1:
        return histories[0]
    names = dict.fromkeys(name for history in histories for name in history.history)
    metrics = {name: [value for part in histories for value in part.history.get(name, [])] for name in names}
    return make_history(model, metrics, histories[0].epoch[0] if histories else epochs)


@dataclasses.dataclass(frozen=True)
class PhaseRecord:
    """One call of `fit` or `fine_tune`.

    Attributes:
        name: "frozen" or "fine-tuning".
        history: metric name to its value in each epoch.
        first_epoch: number of the phase's first epoch in the run, from 0.
        seconds: wall time.
        learning_rate: at the start of the phase.
        trained_on: "images" or "features" (cached).
        precision: of the trained part.
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
        """Number of epochs trained."""
        return len(self.history.get("loss", ()))


class RunHistory:
    """All phases of a trainer, in order.

    >>> run = RunHistory()
    >>> run.append(PhaseRecord("frozen", {"loss": [0.7, 0.6]}, 0, 1.0, 1e-4, "features"))
    >>> run.append(PhaseRecord("fine-tuning", {"loss": [0.5]}, 2, 1.0, 1e-5, "images"))
    >>> run.history
    {'loss': [0.7, 0.6, 0.5]}
    """

    def __init__(self) -> None:
        self.phases: list[PhaseRecord] = []

    def append(self, phase: PhaseRecord) -> None:
        """Add `phase`, a `PhaseRecord`, at the end."""
        self.phases.append(phase)

    @property
    def history(self) -> dict[str, list[float]]:
        """Metric name to its values over all epochs of all phases."""
        names = dict.fromkeys(name for phase in self.phases for name in phase.history)
        return {name: [value for phase in self.phases for value in phase.history.get(name, [])] for name in names}

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def plot(self, path: str | os.PathLike[str] | None = None) -> plots.Figure:
        """Plot accuracy and loss over all epochs, with the start of each further phase marked.

        Args:
            path: str or path. Where to save the figure. Defaults to None (not saved).

        Returns:
            The matplotlib figure, which a notebook shows.
        """
        return plots.learning_curves([phase.history for phase in self.phases], path=path)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain values, ready for JSON."""
        return [dataclasses.asdict(phase) for phase in self.phases]

    def __iter__(self) -> Iterator[PhaseRecord]:
        return iter(self.phases)

    def __len__(self) -> int:
        return len(self.phases)

    def __repr__(self) -> str:
        return f"RunHistory({', '.join(f'{phase.name}: {phase.epochs} epochs' for phase in self.phases)})"

    def _repr_html_(self) -> str:
        names = list(self.history)
        rows = []
        for phase in self.phases:
            last = {name: f"{series[-1]:.4g}" for name, series in phase.history.items() if series}
            rows.append([phase.name, f"{phase.epochs:,}", *(last.get(name, "") for name in names)])
        return html_table(rows, ["phase", "epochs", *(f"last {name}" for name in names)])
