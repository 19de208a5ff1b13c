"""Text for people: shortened, so that a repr never floods a notebook."""

from __future__ import annotations

MAX_REPR = 2000


def shorten(text: str, limit: int = MAX_REPR) -> str:
    """Return `text`, cut at a line break where it has more than `limit` characters.

    >>> shorten("first line\\nsecond line", limit=16)
    'first line\\n...'
    """
    if len(text) <= limit:
        return text
    head = text[: limit - 4]
    return (head.rsplit("\n", 1)[0] if "\n" in head else head) + "\n..."
