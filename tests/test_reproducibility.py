"""One seed gives the stored results: to the bit with the stored versions and instructions, closely elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def test_reproduce_matches_stored_results() -> None:
    result = subprocess.run([sys.executable, FOLDER / "reproduce.py"], capture_output=True, text=True, check=True)
    actual, expected = json.loads(result.stdout), json.loads((FOLDER / "reproduce.json").read_text())
    for name, values in expected["results"].items():
        assert actual["results"][name]["splits"] == values["splits"]
        for key in ("loss", "report", "trainer", "loaded"):
            found, stored = ([float.fromhex(text) for text in run[key]] for run in (actual["results"][name], values))
            np.testing.assert_allclose(found, stored, atol=2e-3, err_msg=f"{name}: {key}")
    if actual["machine"] == expected["machine"]:
        assert actual["results"] == expected["results"]
