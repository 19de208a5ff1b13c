"""The command `transferkit` and its subcommands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from transferkit._utils.text import printable
from transferkit.cli.serve import add_serve_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="transferkit", description="Image classification by transfer learning.")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    add_serve_command(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"transferkit {options.command}: {printable(error)}", file=sys.stderr)
        return 1
    return 0
