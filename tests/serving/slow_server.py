"""Run the command `serve` with a predictor that takes some time for each batch; for the tests of signals."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tests.serving.fakes import FakePredictor
from transferkit.cli.main import main
from transferkit.serving import server


class SlowPredictor(FakePredictor):
    """Takes the seconds in the metadata file for each batch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.seconds = float((folder / "transferkit.json").read_text())

    def predict(self, images: list[Any]) -> Any:
        time.sleep(self.seconds)
        return super().predict(images)


if __name__ == "__main__":
    server.load_predictor = lambda folder, engine: SlowPredictor(folder)
    sys.exit(main(["serve", *sys.argv[1:]]))
