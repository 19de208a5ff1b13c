"""The command `transferkit`: its subcommands, their errors and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from transferkit._utils.checks import did_you_mean
from transferkit._utils.cores import limit_tensorflow
from transferkit._utils.lazy import LazyModule
from transferkit._utils.tables import text_table
from transferkit._utils.text import printable
from transferkit.cli import output
from transferkit.cli.config import read_config
from transferkit.cli.quiet_import import import_quietly

# The modules of the commands are imported when they are used: help must not wait for TensorFlow.
COMMANDS = {
    "train": "train a classifier on a folder of images",
    "autofit": "find the best classifier for a folder of images within a time limit",
    "predict": "predict the classes or the numbers of images",
    "extract": "extract the features of any number of images",
    "evaluate": "evaluate a classifier on labeled images",
    "explain": "write heat maps of the parts of images on which predictions depend",
    "inspect": "find wrong labels, near duplicates, outliers and poor images",
    "export": "write a classifier for another runtime, verified",
    "compare": "rank backbones by their accuracy on your images",
    "scan": "report on the contents and problems of a folder of images",
    "backbones": "list the backbones",
    "datasets": "list or create example data sets",
    "serve": "serve saved classifiers over HTTP",
    "cache": "show the size of the on-disk cache, or clear it",
    "completion": "print the completion script of a shell",
}
_EXIT_ERROR, _EXIT_INTERRUPTED = 1, 130

tk: Any = LazyModule("transferkit")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, 1 after an error, or 130 after Ctrl-C. Wrong arguments exit with 2.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(argv)
    if not options.debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import_quietly("tensorflow")
    try:
        limit_tensorflow()
        with _results_alone_on_stdout(options):
            return int(options.run(options) or 0)
    except BrokenPipeError:
        # The reader, such as `head`, has read enough; Python must not fail once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_ERROR
    except KeyboardInterrupt:
        output.error(f"transferkit {options.command}: interrupted")
        return _EXIT_INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        output.error(f"transferkit {options.command}: {_describe(error)}")
        return _EXIT_ERROR


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command, which has its function as `run`."""
    name = next((one for one in argv if not one.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"The commands are {', '.join(COMMANDS)}."
        make_parser([]).error(f"COMMAND must be one of the commands. Received: {printable(name)!r}. {hint}")
    parser = make_parser([] if name is None else [name])
    if name is not None:
        _read_config(command_parsers(parser)[name], argv)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        command = command_parsers(parser)[options.command]
        hint = did_you_mean(unknown[0].partition("=")[0], command._option_string_actions)
        command.error(f"an argument must be one of the command. Received: {printable(unknown[0])!r}. {hint}".rstrip())
    options.debug = getattr(options, "debug", False)
    return options


def _read_config(command: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Make the values of the file of --config, if it is given, the defaults of a command."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", nargs="?")
    path = finder.parse_known_args(argv)[0].config
    if path is None or "--config" not in command._option_string_actions:
        return
    try:
        values = read_config(path, command)
    except (OSError, ValueError) as error:
        command.error(_describe(error))
    command.set_defaults(**values)
    for action in command._actions:
        action.required = action.required and action.dest not in values


def make_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command; only the subcommands in `names` have their arguments."""
    parser = argparse.ArgumentParser(
        prog="transferkit",
        usage="transferkit COMMAND [options]",
        description="Image classification by transfer learning.",
        epilog=f"commands:\n{_indented(COMMANDS)}\n\n`transferkit COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"transferkit {tk.__version__}")
    commands = parser.add_subparsers(
        prog="transferkit", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    for name, text in COMMANDS.items():
        # An abbreviation would mean another option as soon as one is added.
        command = commands.add_parser(name, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        if name in names:
            module = importlib.import_module(f"transferkit.cli.commands.{name}")
            module.add_arguments(command)
            command.add_argument(
                "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
            )
            command.set_defaults(run=module.run)
            command.usage = _usage(name, command)
    return parser


def command_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the subcommands by name."""
    action = next(one for one in parser._actions if isinstance(one.choices, dict))
    assert isinstance(action.choices, dict)
    return action.choices


def _indented(rows: Mapping[str, str]) -> str:
    return textwrap.indent(text_table(rows.items(), "<<"), "  ")


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    """Return one line: the names of all options before each error would hide its message."""
    positional, required = [], []
    for action in parser._actions:
        label = str(action.metavar or action.dest)
        if action.option_strings:
            required += [action.option_strings[-1], label] if action.required else []
        else:
            positional.append(f"[{label}]" if action.nargs == "?" else f"{label} ..." if action.nargs == "+" else label)
    # Positional arguments first: after an option with several values they would be taken for another value.
    return " ".join(["transferkit", name, *positional, *required, "[options]"])


@contextlib.contextmanager
def _results_alone_on_stdout(options: argparse.Namespace) -> Any:
    """Send what libraries print to stderr, for commands that print results."""
    if "json" not in options:
        yield
        return
    options.stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _describe(error: Exception) -> str:
    # The text of other errors, such as a KeyError, is not a sentence.
    is_ours = isinstance(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)) and str(error)
    return printable(error if is_ours else f"{type(error).__name__}: {error} (--debug shows the traceback)")
