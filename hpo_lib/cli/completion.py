"""`hpo completion`: a line for one's shell that completes commands and options."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from hpo_lib.cli.console import say
from hpo_lib.errors import HpoError


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a line goes on, and end; do nothing if none asks."""
    if "_ARGCOMPLETE" in os.environ and find_spec("argcomplete") is not None:
        import argcomplete

        argcomplete.autocomplete(parser)


def completion(options: argparse.Namespace) -> int:
    """Print what a shell reads to complete `hpo`."""
    if find_spec("argcomplete") is None:
        raise HpoError("completion needs the package argcomplete, in the extra terminal")
    import argcomplete

    say(argcomplete.shellcode(["hpo"], shell=options.shell))
    return 0


def _add_completion(commands: Any) -> None:
    text = "print what a shell reads to complete commands and options"
    parser = commands.add_parser(
        "completion",
        help=text,
        description=f"{text.capitalize()}.",
        epilog='example: eval "$(hpo completion bash)"',
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])
    parser.set_defaults(run=completion)


COMMANDS: list[Callable[[Any], None]] = [_add_completion]
