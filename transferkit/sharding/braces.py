"""Names with braces, as shells and WebDataset write them: "train-{000..099}.tar" and "{train,test}.tar"."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from transferkit.errors import DataError

_BRACES = re.compile(r"\{(\d{1,12}\.\.\d{1,12}|[^{}]*,[^{}]*)\}")
_MAX_NAMES = 1_000_000


def expand_braces(text: str) -> Iterator[str]:
    """Yield the names in their order; a text without braces is one name.

    Raises:
        DataError: for more than a million names.

    >>> list(expand_braces("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    # Texts at even positions, the contents of braces at odd ones.
    pieces = _BRACES.split(text)
    choices = [_choices(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)]
    # Ranges are not lists yet: their numbers could exhaust the memory.
    count = math.prod(map(len, choices))
    if count > _MAX_NAMES:
        raise DataError(
            f"`source` must name at most {_MAX_NAMES:,} archives. Received: {text!r}, which names {count:,}. Use fewer."
        )
    return map("".join, itertools.product(*choices))


def _choices(braces: str) -> Sequence[str]:
    if "," in braces:
        return braces.split(",")
    return _Numbers(*braces.split(".."))


class _Numbers(Sequence[str]):
    """The numbers of a range, with the digits of a shell: a zero at the start of either gives all of them one width."""

    def __init__(self, first: str, last: str) -> None:
        step = 1 if int(first) <= int(last) else -1
        self._range = range(int(first), int(last) + step, step)
        is_padded = any(len(text) > 1 and text.startswith("0") for text in (first, last))
        self._width = max(len(first), len(last)) if is_padded else 0

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, index: Any) -> Any:
        return f"{self._range[index]:0{self._width}d}"
