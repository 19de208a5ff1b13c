"""Progress bars: what is written, and where nothing is."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from transferkit._utils import progress as progress_module
from transferkit._utils.progress import Progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def replace_stderr(monkeypatch: pytest.MonkeyPatch, stream: Any, modules: Any = ()) -> Any:
    # pytest's capture sets sys.stderr itself, so the module gets its own `sys`.
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stderr=stream, modules=modules))
    return stream


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return replace_stderr(monkeypatch, Terminal())


def test_progress_counts() -> None:
    with Progress("Reading images", 10, enabled=False) as progress:
        progress.advance()
        progress.advance(3)
    assert progress.completed == 4 and progress.rate > 0


def test_progress_on_terminal(terminal: Terminal) -> None:
    with Progress("Reading images", 2000, delay=-1) as progress:
        progress.advance(1000)
    first, last = terminal.getvalue().split("\r")[1:]
    assert first.startswith(f"Reading images: [{'=' * 15}{' ' * 15}] 1,000 of 2,000, ") and first.endswith(" s left ")
    assert last.startswith("Reading images: [") and last.endswith(" of 2,000" + " " * 16 + "\n")


def test_progress_with_unit_and_unknown_total(terminal: Terminal) -> None:
    with Progress("Downloading", None, delay=-1, unit="MB", scale=1e6) as progress:
        progress.advance(12_340_000)
    assert terminal.getvalue().startswith("\rDownloading: 12.3 MB ")


def test_progress_before_delay_is_silent(terminal: Terminal) -> None:
    with Progress("Reading images", 10) as progress:
        progress.advance(10)
    assert terminal.getvalue() == ""


def test_progress_into_file_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    file = replace_stderr(monkeypatch, io.StringIO())
    with Progress("Reading images", 10, delay=-1) as progress:
        progress.advance(5)
    assert file.getvalue() == ""


def test_progress_in_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replace_stderr(monkeypatch, io.StringIO(), ["ipykernel"])
    with Progress("Reading images", 10, delay=-1) as progress:
        progress.advance(5)
    assert "5 of 10" in stream.getvalue()


def test_progress_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_stderr(monkeypatch, None)
    with Progress("Reading images", 10, delay=-1) as progress:
        progress.advance(5)
    assert progress.completed == 5


def test_track_yields_items_and_updates(terminal: Terminal) -> None:
    assert list(track("abc", 3, "Counting", delay=-1)) == ["a", "b", "c"]
    assert "Counting: [" in terminal.getvalue()
    assert list(track("abc", 3, "Counting", delay=-1, enabled=False)) == ["a", "b", "c"]


def test_track_ends_bar_on_error(terminal: Terminal) -> None:
    with pytest.raises(KeyError):
        for _ in track("abc", 3, "Counting", delay=-1):
            raise KeyError
    assert "\r" in terminal.getvalue()
