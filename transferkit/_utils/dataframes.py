"""Tables as pandas DataFrames, where pandas is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transferkit._utils.extras import import_extra


def to_data_frame(columns: Mapping[str, Sequence[Any]], feature: str) -> Any:
    """Return a DataFrame of columns by name; `feature` is named in the error when pandas is not installed."""
    return import_extra("pandas", feature, "pandas", "tables").DataFrame(dict(columns))
