"""The entry point of ``hv-kvp``: finds the command, runs it, returns the exit status.

0 done, 1 not found, 2 wrong usage, 3 a file or the daemon cannot be used.

Only the module of the command that was given is imported, and only its part of the
parser is built, so that ``hv-kvp list`` in a script starts nearly as fast as argparse.
"""

# ruff: noqa: N811, PLC0415 - `find` imports in its branches

from __future__ import annotations

import argparse
import os
import sys

from hv_kvp_daemon import __version__
from hv_kvp_daemon.pools.errors import PoolError, PoolFieldError
from hv_kvp_daemon.service.options import UsageError

from . import terminal
from .command import EXIT_UNUSABLE, EXIT_USAGE, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .command import Command

PROGRAM: Final = "hv-kvp"

#: The commands in the order of ``hv-kvp --help``; `find` knows where each is.
COMMANDS: Final = (
    *("list", "get", "set", "append", "delete", "clear", "export", "import", "watch"),
    *("auto", "ip", "check", "doctor", "install-service", "uninstall-service", "host"),
    *("status", "clean-image"),
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
        case _:
            raise KeyError(name)
    return command


class _Help(argparse.HelpFormatter):
    """Help as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        # Without a width argparse imports shutil for each option: 4 ms.
        super().__init__(prog, width=min(terminal.columns(), 100) - 2)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, from which the completions are generated, too."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        formatter_class=_Help,
        description="Show and change the key/value pairs that this guest shares with its"
        " Hyper-V host, and find out why they do not arrive.",
        epilog="Pools: external (0, from the host), guest (1, to the host), auto (2, facts that"
        " the host asks for), host (3, about the host), internal (4). Exit status: 0 done,"
        " 1 not found, 2 wrong usage, 3 a file or the daemon cannot be used.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in map(find, COMMANDS):
        added = commands.add_parser(
            command.name,
            help=command.help,
            description=_sentence(command.help),
            formatter_class=_Help,
        )
        command.add_arguments(added)
    return parser


def _command_parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of one command's words, in a tenth of `build_parser`'s time."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {command.name}",
        description=_sentence(command.help),
        formatter_class=_Help,
    )
    command.add_arguments(parser)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    # A key may hold what the terminal's encoding has no byte for.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    try:
        if words and words[0] in COMMANDS:
            command = find(words[0])
            options = _command_parser(command).parse_args(words[1:])
        else:
            options = build_parser().parse_args(words)
            command = find(options.command)
        status = command.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _BROKEN_PIPE
    except (UsageError, PoolFieldError) as error:
        return _fail(str(error), EXIT_USAGE)
    except PoolError as error:
        return _fail(_with_advice(error), EXIT_UNUSABLE)
    except (CommandError, OSError) as error:
        return _fail(str(error), EXIT_UNUSABLE)
    return status


def _fail(message: str, status: int) -> int:
    terminal.say(message)
    try:
        sys.stdout.flush()
    except OSError:
        # Standard output is on a full disk: that was the error, or is one more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _with_advice(error: PoolError) -> str:
    if isinstance(error.__cause__, PermissionError) and os.geteuid():
        return f"{error}; run it as root"
    return str(error)
