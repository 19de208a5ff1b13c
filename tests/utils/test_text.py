"""Shortened text."""

from __future__ import annotations

from transferkit._utils.text import MAX_REPR, shorten


def test_shorten_keeps_short_text() -> None:
    assert shorten("a\nb") == "a\nb"
    assert shorten("x" * MAX_REPR) == "x" * MAX_REPR


def test_shorten_cuts_at_line_break() -> None:
    text = "\n".join(f"line {number}" for number in range(1000))
    short = shorten(text)
    assert len(short) <= MAX_REPR and short.endswith("\n...")
    assert text.startswith(short.removesuffix("\n...") + "\n")


def test_shorten_one_long_line() -> None:
    assert shorten("x" * 100, limit=20) == "x" * 16 + "\n..."
