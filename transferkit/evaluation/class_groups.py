"""Groups of classes, such as the genus of species: probabilities and labels of the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from transferkit._utils.checks import did_you_mean


def group_names(groups: Mapping[str, str] | str, class_names: Sequence[str]) -> list[str]:
    """Return the group of each class.

    Args:
        groups: from class name to group, or a separator: the group is the part of the name before its last occurrence.
        class_names: names of the classes.

    Raises:
        ValueError: for a class without a group, or a name that is not a class.
    """
    if isinstance(groups, str):
        if not groups:
            raise ValueError("`groups` must be a dict or a separator. Received: ''. Give, for example, '/'.")
        groups = {name: name.rpartition(groups)[0] or name for name in class_names}
    for name in groups:
        if name not in class_names:
            hint = did_you_mean(name, class_names) or "Omit it."
            raise ValueError(f"`groups` must have names of classes as keys. Received: {name!r}. {hint}")
    missing = [name for name in class_names if name not in groups]
    if missing:
        raise ValueError(f"`groups` must have a group for every class. Received: none for {missing[0]!r}. Add it.")
    return [str(groups[name]) for name in class_names]


def membership(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the different groups, sorted, and 0/1 (classes, groups), the group of each class."""
    unique = sorted(set(names))
    return unique, (np.asarray(names)[:, None] == np.asarray(unique)).astype(float)
