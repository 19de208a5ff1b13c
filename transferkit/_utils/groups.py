"""Disjoint sets."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class UnionFind(Generic[Item]):
    """Sets of items that are merged; an item is added when it is first used.

    >>> sets = UnionFind()
    >>> sets.union(1, 2)
    >>> sets.find(1) == sets.find(2), sets.find(3)
    (True, 3)
    """

    def __init__(self) -> None:
        self._parent: dict[Item, Item] = {}

    def find(self, item: Item) -> Item:
        """Return the item that represents the set of `item`."""
        parent = self._parent
        while parent.setdefault(item, item) != item:
            parent[item] = parent.setdefault(parent[item], parent[item])
            item = parent[item]
        return item

    def union(self, one: Item, other: Item) -> None:
        """Merge the sets of two items; that of `one` represents both."""
        self._parent[self.find(other)] = self.find(one)
