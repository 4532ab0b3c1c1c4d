"""A command of ``hv-kvp``, its exit statuses, and the error that ends it."""

from __future__ import annotations

import argparse
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_DONE = 0
EXIT_NOT_FOUND = 1
EXIT_USAGE = 2
EXIT_UNUSABLE = 3
#: A question was answered with no.
EXIT_DECLINED = 1


class Command:
    """One command: its name, its line in ``hv-kvp --help``, its arguments, its work.

    ``run`` returns the exit status.  A `CommandError`, `UsageError`, `PoolError` or
    ``OSError`` that it raises ends the command with one line on standard error.
    """

    __slots__ = ("add_arguments", "help", "name", "run")

    def __init__(
        self,
        name: str,
        text: str,
        add_arguments: Callable[[argparse.ArgumentParser], None],
        run: Callable[[argparse.Namespace], int],
    ) -> None:
        self.name = name
        self.help = text
        self.add_arguments = add_arguments
        self.run = run


class CommandError(Exception):
    """A command that cannot go on; the exit status is EXIT_UNUSABLE."""


def describe(error: Exception) -> str:
    """Return an error as one sentence, with a way out where the user lacks a right."""
    text = str(error)
    cause = error.__cause__
    if isinstance(error, OSError):
        cause = error
        # Its own text has the number and quotes: "[Errno 2] No such file ...: 'name'".
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        text = f"{name}{error.strerror}" if error.strerror else text
    if isinstance(cause, PermissionError) and os.geteuid():
        return f"{text}; run it as root"
    return text
