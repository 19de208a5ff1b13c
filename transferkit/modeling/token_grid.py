"""Which tokens of a vision transformer are patches of the image, and where in the image they are."""

from __future__ import annotations

from typing import NamedTuple

# Class, distillation and register tokens come before the patches.
MAX_PREFIX = 16


class TokenGrid(NamedTuple):
    """The tokens of an image, row by row after a prefix of other tokens.

    Attributes:
        prefix: int, number of tokens before the patches, such as the class token.
        rows: int, patches along the height.
        columns: int, patches along the width.
    """

    prefix: int
    rows: int
    columns: int


def find_token_grid(tokens: int, height: int, width: int) -> TokenGrid | None:
    """Return the grid of square patches with the fewest other tokens in front, or None where no grid fits.

    >>> find_token_grid(197, 224, 224)
    TokenGrid(prefix=1, rows=14, columns=14)
    >>> find_token_grid(8, 32, 64)
    TokenGrid(prefix=0, rows=2, columns=4)
    """
    grids = {(height // patch) * (width // patch): patch for patch in range(1, min(height, width) + 1)}
    for prefix in range(min(MAX_PREFIX, tokens - 1) + 1):
        patch = grids.get(tokens - prefix)
        if patch is not None:
            return TokenGrid(prefix, height // patch, width // patch)
    return None
