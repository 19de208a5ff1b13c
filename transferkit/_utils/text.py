"""Text for people: shortened, so that a repr never floods a notebook, and without control characters of files."""

from __future__ import annotations

import html
import re

MAX_REPR = 2000
# Control characters, separators of lines, overrides of the writing direction, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """Return `str(text)` on one line for a terminal or a log: characters that could control it are escaped.

    >>> print(printable("\\x1b[2Jred\\n"))
    \\x1b[2Jred\\n
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))


def escape_html(text: object) -> str:
    """Return text for HTML, also for attributes, without control characters.

    >>> escape_html("<b> & \\n")
    '&lt;b&gt; &amp; \\\\n'
    """
    return html.escape(printable(text))


def shorten(text: str, limit: int = MAX_REPR) -> str:
    """Return `text`, cut at a line break where it has more than `limit` characters.

    >>> shorten("first line\\nsecond line", limit=16)
    'first line\\n...'
    """
    if len(text) <= limit:
        return text
    head = text[: limit - 4]
    return (head.rsplit("\n", 1)[0] if "\n" in head else head) + "\n..."
