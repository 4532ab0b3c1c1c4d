# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``doctor --report``: what the developers need to know about a guest, as text for an issue.

It has the versions, the output of `doctor` and `status`, the unit, the pool files and the
end of the journal.  No key and no value of a pool is in it, nor the guest's name.  The
journal's lines may hold addresses that the host has set.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon import __version__
from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.pools import pool_info
from hv_kvp_daemon.guest.os_release import read_identity

from . import show_status
from .unit_facts import journal, output
from .unit_files import IP_UNIT_PATH, UNIT

if TYPE_CHECKING:
    import argparse

_UNITS: Final = (UNIT, os.path.basename(IP_UNIT_PATH))
_LINES: Final = 40


def write(options: argparse.Namespace, diagnoses: Iterable[str]) -> None:
    """Write the report, with these lines of `doctor`."""
    sections = (
        ("versions", _versions()),
        ("hv-kvp doctor", diagnoses),
        ("hv-kvp status", _status(options)),
        ("unit", _unit()),
        ("pools", _pools(options)),
        (f"journal, the last {_LINES} lines", _journal()),
    )
    for heading, lines in sections:
        print(f"== {heading}")
        for line in lines:
            print(terminal.safe(line))


def _versions() -> Iterator[str]:
    uname = os.uname()
    yield f"hv-kvp-daemon {__version__}"
    yield f"Python {platform.python_version()} ({platform.python_implementation()})"
    yield f"{uname.sysname} {uname.release} {uname.machine}"
    yield " ".join(filter(None, read_identity()))
    yield from output("systemctl", "--version").splitlines()[:1]


def _status(options: argparse.Namespace) -> Iterator[str]:
    try:
        facts = show_status.gather(options)
    except CommandError as error:
        yield str(error)
        return
    if not facts["running"]:
        yield f"hv-kvp-daemon is {show_status.not_running()}"
        return
    for name, text in show_status.page(facts):
        yield f"{name}: {text}"


def _unit() -> list[str]:
    properties = "--property=FragmentPath,DropInPaths,ExecStart,ActiveState,SubState,NRestarts"
    return output("systemctl", "show", properties, UNIT).splitlines()


def _pools(options: argparse.Namespace) -> Iterator[str]:
    for pool in pool_info.collect(arguments.directory(options), arguments.FILES):
        mode = pool["mode"] or "no file"
        yield f"{pool['path']}: {pool_info.count(pool)} records, {pool['size']} bytes, {mode}"


def _journal() -> list[str]:
    # Without the guest's name, which other forms of output have in each line.
    form = ("--output=short-monotonic", "--no-hostname")
    units = (f"--unit={name}" for name in _UNITS)
    return journal(*form, f"--lines={_LINES}", *units)
