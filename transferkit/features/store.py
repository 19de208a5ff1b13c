"""What frozen models gave for images, on disk, found by what went into it.

A store is a folder of shards for one computation (model, pixels, precision, augmented draw). Rows are found by the
digest of an image's contents, whoever computed them, in whatever order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transferkit.features.eviction import hold, root
from transferkit.features.shard_io import ShardArray, open_shard, remove_shard, write_shard

# Where nothing can be written, such as on a full disk, so much is kept in memory instead.
_MOST_IN_MEMORY = 1 << 30
_ROWS_AT_ONCE = 1024


class FeatureArray:
    """Rows of one output, read from the shards when they are asked for; `numpy.asarray` gives them all.

    Attributes:
        shape: (n, ...).
        dtype: of the numbers.
    """

    def __init__(
        self,
        parts: Sequence[ShardArray | np.ndarray],
        starts: np.ndarray,
        places: np.ndarray,
        in_use: BinaryIO | None = None,
    ) -> None:
        # As long as the array lives, its store is marked as in use.
        self._parts, self._starts, self._places, self._in_use = parts, starts, places, in_use
        self.shape = (len(places), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Size of all rows in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows: Any) -> np.ndarray:
        places = self._places[rows]
        if places.ndim == 0:
            return self[[rows]][0]
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        if len(numbers) and (numbers == numbers[0]).all():
            return self._parts[numbers[0]][places - self._starts[numbers[0]]]
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        for number in np.unique(numbers):
            mine = numbers == number
            result[mine] = self._parts[number][places[mine] - self._starts[number]]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = np.empty(self.shape, dtype or self.dtype)
        for start in range(0, len(self), _ROWS_AT_ONCE):
            result[start : start + _ROWS_AT_ONCE] = self[start : start + _ROWS_AT_ONCE]
        return result


class FeatureStore:
    """The rows of one computation.

    Args:
        identity: what is computed, in hexadecimal; it names the folder.

    Any number of processes may read and add at once: a shard appears whole under a name of its own, and two that
    computed the same row have merely both done so. What was found or added stays readable for as long as the store
    and its arrays live, even when another process clears the folder.
    """

    def __init__(self, identity: str) -> None:
        self.folder = root() / identity
        self._parts: list[Sequence[ShardArray | np.ndarray]] = []
        self._starts = [0]
        self._places: dict[bytes, int] = {}
        self._seen: set[str] = set()
        self._in_memory = 0
        self._in_use: BinaryIO | None = None

    def refresh(self) -> None:
        """Take notice of all shards that are there by now."""
        self._in_use = self._in_use or hold(self.folder)
        for path in sorted(self.folder.glob("*.keys")):
            if path.name not in self._seen:
                self._open(path)

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Return the places in `keys` of those that have no row yet, each key once."""
        asked: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            if key not in self._places:
                asked.setdefault(key, place)
        return list(asked.values())

    def add(self, keys: Sequence[bytes], arrays: Sequence[np.ndarray]) -> None:
        """Write one shard: the rows of `keys`, one array for each output; in memory where it cannot be written.

        Raises:
            OSError: when it cannot be written, and is too much for memory. What was written before stays.
        """
        for _ in range(5):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = write_shard(self.folder, keys, arrays)
                self._take(*open_shard(path))
            except FileNotFoundError:
                # Another process cleared the folder at this very moment.
                continue
            except OSError as error:
                self._keep_in_memory(keys, arrays, error)
            else:
                self._seen.add(path.name)
            return
        self._keep_in_memory(keys, arrays, FileNotFoundError("it is removed again and again"))

    def rows(self, keys: Sequence[bytes]) -> tuple[FeatureArray, ...]:
        """Return the rows of `keys`, in their order, one array for each output; every key must be there."""
        places = np.fromiter((self._places[key] for key in keys), np.int64, len(keys))
        starts, outputs = np.array(self._starts[:-1]), range(len(self._parts[0]))
        return tuple(FeatureArray([part[n] for part in self._parts], starts, places, self._in_use) for n in outputs)

    def _open(self, path: Path) -> None:
        self._seen.add(path.name)
        try:
            self._take(*open_shard(path))
        except FileNotFoundError:
            # Another process removes it just now, or was killed while it did.
            remove_shard(path)
        except OSError as error:
            print(f"transferkit: stored features in {path} cannot be read ({error}); not using them", file=sys.stderr)
        except (ValueError, KeyError, TypeError) as error:
            print(f"transferkit: stored features in {path} are broken ({error}); computing them again", file=sys.stderr)
            remove_shard(path)

    def _take(self, keys: Sequence[bytes], outputs: Sequence[ShardArray | np.ndarray]) -> None:
        start = self._starts[-1]
        self._parts.append(outputs)
        self._starts.append(start + len(keys))
        for row, key in enumerate(keys, start):
            self._places.setdefault(key, row)

    def _keep_in_memory(self, keys: Sequence[bytes], arrays: Sequence[np.ndarray], error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self._in_memory:
            what = "they are kept in memory and computed again next time"
            print(f"transferkit: features cannot be stored in {self.folder} ({reason}); {what}", file=sys.stderr)
        self._in_memory += sum(array.nbytes for array in arrays)
        if self._in_memory > _MOST_IN_MEMORY:
            raise OSError(
                error.errno,
                f"{self.folder} must take the features. Received: {reason}. What was stored before is "
                "kept and not computed again: free space, set TRANSFERKIT_HOME to another disk, or use cache=False.",
            ) from error
        self._take(keys, [np.array(array) for array in arrays])
