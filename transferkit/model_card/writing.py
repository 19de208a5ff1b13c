"""Writes the model card of a saved model: README.md in the format of the Hugging Face Hub.

Reference: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

from transferkit.model_card.class_card import class_card
from transferkit.model_card.number_card import number_card
from transferkit.model_card.parts import PLOT_FILE, CardContents

CARD_FILE = "README.md"
_MARK = "<!-- Written by transferkit; text that you change is kept. "


def write_model_card(staging_dir: Path, target: Path, contents: CardContents) -> None:
    """Write the card and its picture to `staging_dir`; a card in `target` that the user has changed is kept."""
    present = target / CARD_FILE
    if present.is_file() and not _is_unchanged(present):
        shutil.copyfile(present, staging_dir / CARD_FILE)
    else:
        (staging_dir / CARD_FILE).write_text(_signed(card_text(contents)), encoding="utf-8", errors="replace")
    if contents.report is not None:
        contents.report.plot(staging_dir / PLOT_FILE)


def card_text(contents: CardContents) -> str:
    """Return the card of a classifier, or of a model of numbers, which has no class names."""
    return class_card(contents) if contents.class_names else number_card(contents)


def _signed(text: str) -> str:
    return f"{text}\n{_MARK}{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()} -->\n"


def _is_unchanged(path: Path) -> bool:
    """Return whether a card is one that was written here and not changed since."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = path.read_bytes().decode("utf-8")
        return text == _signed(text.rpartition(f"\n{_MARK}")[0])
    return False
