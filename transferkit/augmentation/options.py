"""Checks of the options of `AugmentationBlock`, and its presets."""

from __future__ import annotations

from typing import Any

from transferkit._utils.checks import check_int

PRESETS: dict[str, dict[str, Any]] = {
    "none": {"flip": None},
    "light": {"zoom": 0.05, "translation": 0.05},
    "medium": {
        "random_resized_crop": (0.7, 1.0),
        "rotation": 10 / 360,
        "brightness": 0.1,
        "contrast": 0.2,
        "saturation": 0.2,
    },
    "strong": {"random_resized_crop": (0.35, 1.0), "policy": "rand_augment", "erasing": 0.25},
}


def check_areas(name: str, value: Any) -> list[float] | None:
    """Return None or [smallest, largest], which JSON keeps; else raise a ValueError."""
    if value is None:
        return None
    try:
        smallest, largest = (float(part) for part in value)
    except (TypeError, ValueError):
        smallest = largest = float("nan")
    if not 0 < smallest <= largest <= 1:
        raise ValueError(
            f"`{name}` must be None or (smallest, largest), two fractions of the area in (0, 1]. Received: {value!r}. "
            "Give, for example, (0.5, 1.0)."
        )
    return [smallest, largest]


def check_quality(name: str, value: Any) -> int | None:
    """Return None or an int in [1, 100]; else raise a ValueError."""
    if value is not None and check_int(name, value) > 100:
        raise ValueError(f"`{name}` must be in [1, 100]. Received: {value!r}. 100 is the highest quality of JPEG.")
    return value if value is None else int(value)
