"""`transferkit completion`: scripts that complete commands and options in a shell."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping
from typing import Any

_PROGRAM = "transferkit"
# Command -> options, each with its help.
Commands = Mapping[str, Mapping[str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("shell", choices=_SCRIPTS, help="for example: source <(transferkit completion bash)")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    main: Any = importlib.import_module("transferkit.cli.main")
    parsers = main.command_parsers(main.make_parser(list(main.COMMANDS)))
    commands = {name: _options(parser) for name, parser in parsers.items()}
    print(_SCRIPTS[arguments.shell](commands, main.COMMANDS))
    return 0


def _options(parser: argparse.ArgumentParser) -> dict[str, str]:
    return {flag: action.help or "" for action in parser._actions for flag in action.option_strings}


def _bash(commands: Commands, texts: Mapping[str, str]) -> str:
    cases = "\n".join(f'    {name}) words="{" ".join(options)}" ;;' for name, options in commands.items())
    return f"""_{_PROGRAM}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(commands)} --help --version" -- "$current"))
    return
  fi
  case "$current" in -*) ;; *) return ;; esac
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _{_PROGRAM} {_PROGRAM}"""


def _zsh(commands: Commands, texts: Mapping[str, str]) -> str:
    names = " ".join(_quote(f"{name}:{texts[name]}") for name in commands)
    cases = "\n".join(f"    {name}) options=({' '.join(options)}) ;;" for name, options in commands.items())
    return f"""#compdef {_PROGRAM}
_{_PROGRAM}() {{
  local -a commands options
  if (( CURRENT == 2 )); then
    commands=({names})
    _describe command commands
    return
  fi
  case $words[2] in
{cases}
  esac
  if [[ $PREFIX == -* ]]; then compadd -- $options; else _files; fi
}}
compdef _{_PROGRAM} {_PROGRAM}"""


def _fish(commands: Commands, texts: Mapping[str, str]) -> str:
    lines = []
    for name, options in commands.items():
        lines.append(f"complete -c {_PROGRAM} -n __fish_use_subcommand -f -a {name} -d {_quote(texts[name])}")
        condition = _quote(f"__fish_seen_subcommand_from {name}")
        for flag, text in options.items():
            kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            lines.append(f"complete -c {_PROGRAM} -n {condition} {kind} -d {_quote(text)}")
    return "\n".join(lines)


def _quote(text: str) -> str:
    """Return a text in single quotes, as zsh and fish read it alike."""
    return "'" + text.replace("'", "").replace("\\", "") + "'"


_SCRIPTS: dict[str, Callable[[Commands, Mapping[str, str]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
