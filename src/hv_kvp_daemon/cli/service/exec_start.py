# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's command in a unit: written as systemd reads it, and read back.

systemd removes quotes and backslashes, expands ``%`` (specifiers) in every word, and ``$``
(environment variables) in every word but the program.  Names of paths elsewhere in a unit,
and in tmpfiles.d, know ``%`` alone.  No reader has an escape for all characters: a program
with a quotation mark or a control character is refused by systemd itself, and the argument
of a line of tmpfiles.d loses blanks at its end.  What one of them cannot hold is refused
here.  (Tried with systemd 252 and 257.)
"""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.service.options import OPTIONS, Options, UsageError, parse

_PLAIN: Final = re.compile(r"[\w/.,:;=+@*?#%$-]+")
_IMPOSSIBLE: Final = re.compile(r"""["\\\x7f\ud800-\udfff\x00-\x08\x0a-\x1f]|\s\Z""")
_IMPOSSIBLE_PROGRAM: Final = re.compile(r"['\t]")

# The last one counts: a drop-in first removes that of the unit.
_EXEC_START: Final = re.compile(r"^ExecStart=(.+)$", re.MULTILINE)

#: What each unit of ours starts the daemon with.
ALWAYS: Final = ("-n", "--clear-stale")


class ExecStart(NamedTuple):
    """The absolute path of the program, and the daemon's options."""

    program: str
    options: Options

    def __str__(self) -> str:
        """The value of ``ExecStart=``.

        :raises CommandError: it cannot hold the path of the program or of an option.
        """
        if _IMPOSSIBLE_PROGRAM.search(self.program):
            raise CommandError(f"systemd starts no program with this path: {self.program}")
        arguments = (word.replace("$", "$$") for word in words(self.options))
        return " ".join(map(quoted, (self.program, *arguments)))


def words(options: Options) -> list[str]:
    """Return the command line of the daemon that has these options, flags first."""
    default = Options()
    flags, values = [], []
    for option in OPTIONS:
        value = getattr(options, option.name)
        if value == getattr(default, option.name):
            continue
        spelling = option.spellings[0]
        if not option.metavar:
            flags.append(spelling)
        else:
            for each in value if option.repeated else (value,):
                values += [spelling, each]
    return flags + values


def find(unit: str) -> ExecStart | None:
    """Return the command of a unit or a drop-in; None if it is not this daemon's."""
    lines = _EXEC_START.findall(unit)
    if not lines:
        return None
    try:
        program, *arguments = (word.replace("%%", "%") for word in shlex.split(lines[-1]))
        options = parse([word.replace("$$", "$") for word in arguments])
    except (UsageError, ValueError):
        return None  # another program's, or broken
    return ExecStart(program, options) if program.startswith("/") else None


def quoted(word: str) -> str:
    """Return a word as units and tmpfiles.d have it, ``%`` doubled.

    :raises CommandError: they cannot hold it.
    """
    if _IMPOSSIBLE.search(word):
        raise CommandError(f"a unit cannot hold this path: {word}")
    word = word.replace("%", "%%")
    return word if _PLAIN.fullmatch(word) else f'"{word}"'
