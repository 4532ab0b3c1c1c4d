# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The entry point of ``hv-kvp``: finds the command, runs it, returns the exit status.

0 done, 1 not found, 2 wrong usage, 3 a file or the daemon cannot be used.

Only the module of the command that was given is imported, and only its part of the
parser is built, so that ``hv-kvp list`` in a script starts nearly as fast as argparse.
"""

# ruff: noqa: N811, PLC0415 - `find` imports in its branches

from __future__ import annotations

import argparse
import sys

from hv_kvp_daemon import __version__
from hv_kvp_daemon.pools.errors import PoolError, PoolFieldError
from hv_kvp_daemon.service.options import UsageError

from . import streams, terminal
from .command import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    EXIT_USAGE,
    Command,
    CommandError,
    Parser,
    describe,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

PROGRAM: Final = "hv-kvp"

#: The commands in the order of ``hv-kvp --help``; `find` knows where each is.
COMMANDS: Final = (
    *("list", "get", "set", "append", "delete", "clear", "export", "import", "watch"),
    *("auto", "ip", "check", "doctor", "install-service", "uninstall-service", "host"),
    *("status", "clean-image", "overview", "help"),
)

# A shell's exit status for a command that a signal ended.
_INTERRUPTED: Final = 128 + 2
_BROKEN_PIPE: Final = 128 + 13


def find(name: str) -> Command:  # noqa: C901, PLR0912 - a table
    """Import and return a command.

    :raises KeyError: there is no such command.
    """
    match name:
        case "list":
            from .pools.show import LIST as command
        case "get":
            from .pools.show import GET as command
        case "set":
            from .pools.modify import SET as command
        case "append":
            from .pools.modify import APPEND as command
        case "delete":
            from .pools.modify import DELETE as command
        case "clear":
            from .pools.modify import CLEAR as command
        case "export":
            from .pools.transfer import EXPORT as command
        case "import":
            from .pools.transfer import IMPORT as command
        case "watch":
            from .pools.watch import WATCH as command
        case "auto":
            from .guest.auto import AUTO as command
        case "ip":
            from .guest.ip import IP as command
        case "check":
            from .pools.check import CHECK as command
        case "doctor":
            from .service.doctor import DOCTOR as command
        case "install-service":
            from .service.install import INSTALL as command
        case "uninstall-service":
            from .service.uninstall import UNINSTALL as command
        case "clean-image":
            from .service.clean import CLEAN_IMAGE as command
        case "host":
            from .host.simulate import HOST as command
        case "status":
            from .service.show_status import STATUS as command
        case "overview":
            from .service.overview import OVERVIEW as command
        case "help":
            command = HELP
        case _:
            raise KeyError(name)
    return command


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, from which the completions are generated, too."""
    parser = Parser(
        prog=PROGRAM,
        description="Show and change the key/value pairs that this guest shares with its"
        " Hyper-V host, and find out why they do not arrive.",
        epilog="Pools: external (0, from the host), guest (1, to the host), auto (2, facts that"
        " the host asks for), host (3, about the host), internal (4). Exit status: 0 done,"
        " 1 not found, 2 wrong usage, 3 a file or the daemon cannot be used.",
    )
    # Understood by `_parse`; here for the help and the completions.
    parser.add_argument("--json", action="store_true", help="write JSON, if the command can")
    parser.add_argument("-V", "--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in map(find, COMMANDS):
        added = commands.add_parser(
            command.name,
            help=command.help,
            description=_sentence(command.help),
        )
        command.add_arguments(added)
    return parser


def _command_parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of one command's words, in a tenth of `build_parser`'s time."""
    parser = Parser(prog=f"{PROGRAM} {command.name}", description=_sentence(command.help))
    command.add_arguments(parser)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_help_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="the command")


def _help(options: argparse.Namespace) -> int:
    if not options.words:
        build_parser().print_help()
    elif options.words[0] in COMMANDS:
        name, *rest = options.words  # `help host set`
        _command_parser(find(name)).parse_args([*rest, "--help"])
    else:
        raise UsageError(f"no command {options.words[0]!r}; there are: {', '.join(COMMANDS)}")
    return EXIT_DONE


HELP: Final = Command("help", "show the arguments of a command", _add_help_arguments, _help)


def _parse(words: list[str]) -> tuple[Command, argparse.Namespace]:
    """Return the command that the words name, and its options; without one the overview."""
    as_json = words[:1] == ["--json"]
    name, *rest = words[as_json:] or ["overview"]
    if name in COMMANDS:
        command = find(name)
        options = _command_parser(command).parse_args(rest)
    else:
        options = build_parser().parse_args([name, *rest])
        command = find(options.command)
    if as_json and not hasattr(options, "json"):
        raise UsageError(f"{command.name} takes no --json")
    if as_json:
        options.json = True
    return command, options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    streams.prepare()
    try:
        status = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        streams.discard(1)
        return _BROKEN_PIPE
    except (UsageError, PoolFieldError) as error:
        return _fail(str(error), EXIT_USAGE)
    except (CommandError, PoolError, OSError) as error:
        return _fail(describe(error), EXIT_UNUSABLE)
    except MemoryError:
        return _fail("there is not enough memory", EXIT_UNUSABLE)
    except ModuleNotFoundError as error:
        if error.name != "psutil":
            raise
        message = "this needs psutil, the package psutil (pip) or python3-psutil (Debian)"
        return _fail(f"{message}: {error}", EXIT_UNUSABLE)
    return status


def _run(words: list[str]) -> int:
    try:
        command, options = _parse(words)
        return command.run(options)
    except SystemExit as end:  # after a help text, or a wrong argument
        return int(end.code or EXIT_DONE)


def _fail(message: str, status: int) -> int:
    terminal.say(message)
    try:
        sys.stdout.flush()
    except OSError:
        # Standard output is on a full disk: that was the error, or is one more.
        streams.discard(1)
    return status
