"""Phases of training as values: what `Trainer.fit_phases` runs."""

from __future__ import annotations

from typing import Any

from transferkit._utils.checks import check_choice

PHASES = ("frozen", "fine-tuning")
_GRADUAL_STAGES = 3


class Phase:
    """One phase for `Trainer.fit_phases`: the arguments of `Trainer.fit` or `Trainer.fine_tune`.

    Args:
        name: "frozen" for `fit`, or "fine-tuning" for `fine_tune`.
        **arguments: those of the method, but for the data. They are checked when the phase starts.

    Raises:
        ValueError: for another name.

    Example:

    >>> Phase("fine-tuning", epochs=5, blocks=2)
    Phase('fine-tuning', epochs=5, blocks=2)
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name: str = check_choice("name", name, PHASES)
        self.arguments = arguments

    def __repr__(self) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
        return f"Phase({self.name!r}{arguments})"


def gradual_boundaries(first: int, count: int, epochs: int) -> list[tuple[int, int]]:
    """Return (index of the first trainable layer, epochs) of each stage, from the top of `count` layers to `first`.

    >>> gradual_boundaries(10, 100, 7)
    [(70, 2), (40, 2), (10, 3)]
    """
    stages = min(_GRADUAL_STAGES, epochs, max(1, count - first))
    return [
        (count - round((count - first) * stage / stages), epochs * stage // stages - epochs * (stage - 1) // stages)
        for stage in range(1, stages + 1)
    ]
