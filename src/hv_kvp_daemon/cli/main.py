"""``hv-kvp``: the words of the command line, and the exit status.

In: the command line.  Out: 0 done, 1 not found, 2 usage, 3 a file or the daemon
that cannot be used.
Rule: a command's module is imported when the command is given, and no other, so
that ``hv-kvp list`` starts as fast as ``argparse`` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from hv_kvp_daemon import __version__
from hv_kvp_daemon.pools.errors import PoolError, PoolFieldError

from . import terminal
from .command import EXIT_DONE, EXIT_UNUSABLE, EXIT_USAGE, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

PROGRAM: Final = "hv-kvp"

#: Each command: the module that has it as `arguments_<command>` and
#: `run_<command>`, with a dash as an underscore, and what it is for.
COMMANDS: Final = {
    "list": ("pools.show", "show the records of one pool or of all"),
    "get": ("pools.show", "write one value"),
    "set": ("pools.modify", "set the value of a key"),
    "append": ("pools.modify", "add a record, whether or not the key is there"),
    "delete": ("pools.modify", "remove all records with these keys"),
    "clear": ("pools.modify", "empty a pool"),
    "export": ("pools.transfer", "write pools as JSON"),
    "import": ("pools.transfer", "fill pools from JSON"),
    "watch": ("pools.watch", "show changes as they happen, or wait for a key"),
    "auto": ("guest.auto", "show what the host is told about this guest"),
    "ip": ("guest.ip", "show what the host is told about network adapters"),
    "check": ("pools.check", "look for damage in the pools, and mend it"),
    "doctor": ("service.doctor", "find out why a host sees nothing"),
    "install-service": ("service.install", "make this installation the machine's service"),
    "uninstall-service": ("service.install", "take the service away; the pools stay"),
    "host": ("host.simulate", "play a Hyper-V host, to try a daemon or an image"),
    "status": ("service.show_status", "show whether the daemon serves, and how it has fared"),
}

# As a shell says that a signal ended a command.
_INTERRUPTED: Final = 128 + 2
_BROKEN_PIPE: Final = 128 + 13


class _Help(argparse.HelpFormatter):
    """As wide as the terminal."""

    def __init__(self, prog: str) -> None:
        # Without a width argparse imports shutil for each option: 4 ms.
        super().__init__(prog, width=min(terminal.columns(), 100) - 2)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; also the source of the man page and the completions."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        formatter_class=_Help,
        description="Look at and change the key/value pairs that this guest shares with its"
        " Hyper-V host, and find out why they do not arrive.",
        epilog="Pools: external (0, from the host), guest (1, to the host), auto (2, what the"
        " host asks this guest), host (3, about the host), internal (4). Exit status: 0 done,"
        " 1 not found, 2 wrong usage, 3 a file or the daemon cannot be used.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command, (module, purpose) in COMMANDS.items():
        added = commands.add_parser(
            command, help=purpose, description=_sentence(purpose), formatter_class=_Help
        )
        _member(module, "arguments", command)(added)
    return parser


def _command_parser(command: str) -> argparse.ArgumentParser:
    """The part of `build_parser` that is one command's: a tenth of the time."""
    module, purpose = COMMANDS[command]
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {command}", description=_sentence(purpose), formatter_class=_Help
    )
    _member(module, "arguments", command)(parser)
    return parser


def _sentence(purpose: str) -> str:
    return f"{purpose[0].upper()}{purpose[1:]}."


def _member(module: str, kind: str, command: str) -> Any:
    name = f"{kind}_{command.replace('-', '_')}"
    return getattr(import_module(f"{__package__}.{module}"), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    # A key may hold what the terminal's encoding has no byte for.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    try:
        if words and words[0] in COMMANDS:
            command = words[0]
            options = _command_parser(command).parse_args(words[1:])
        else:
            options = build_parser().parse_args(words)
            command = options.command
        module, _ = COMMANDS[command]
        status: int = _member(module, "run", command)(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _BROKEN_PIPE
    except PoolFieldError as error:
        return _fail(str(error), EXIT_USAGE)
    except PoolError as error:
        return _fail(_with_advice(error), EXIT_UNUSABLE)
    except CommandError as error:
        return _fail(str(error), error.status)
    except OSError as error:
        return _fail(str(error), EXIT_UNUSABLE)
    return status


def _fail(message: str, status: int) -> int:
    terminal.say(message)
    try:
        sys.stdout.flush()
    except OSError:
        # A full disk behind it was the error, or comes on top of one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status or EXIT_DONE


def _with_advice(error: PoolError) -> str:
    if isinstance(error.__cause__, PermissionError) and os.geteuid():
        return f"{error}; run it as root"
    return str(error)
