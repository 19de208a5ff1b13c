"""Run the command: `python -m transferkit`."""

from __future__ import annotations

import sys

from transferkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
