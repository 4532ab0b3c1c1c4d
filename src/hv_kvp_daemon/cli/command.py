# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A command of ``hv-kvp``, its parser, its exit statuses, and the error that ends it."""

from __future__ import annotations

import argparse
import os

from . import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


class Parser(argparse.ArgumentParser):
    """A parser that takes options by their full names only; its subparsers do the same.

    argparse would take ``--pool`` for an abbreviation of ``--pool-dir`` in each command
    that has no ``--pool``, and the command would look in a directory of a pool's name.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)


class _Help(argparse.HelpFormatter):
    """Help as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        self._color: tuple[Any, ...] | None = None
        # Without a width argparse imports shutil for each option: 4 ms.
        super().__init__(prog, width=min(terminal.columns(), 100) - 2)

    def _set_color(self, *color: Any) -> None:
        # Python 3.14 makes a formatter to check the first option, and imports dataclasses
        # for its colors: 16 of the 39 ms of `hv-kvp list`.  Colors wait for a help text.
        self._color = color

    def __getattr__(self, name: str) -> Any:
        color, self._color = self.__dict__.get("_color"), None
        if color is None:
            raise AttributeError(name)
        super()._set_color(*color)  # type: ignore[misc]  # not in Python 3.10
        return getattr(self, name)


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
