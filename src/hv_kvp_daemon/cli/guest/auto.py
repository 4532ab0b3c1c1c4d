# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``auto``: the values of the auto pool as a host sees them, and where each comes from."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, jsontext, tables, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, Command, CommandError
from hv_kvp_daemon.guest.addresses import MissingModuleError, address_source
from hv_kvp_daemon.guest.auto_pool import AutoPool
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import LOOKUP_TIMEOUT, FqdnLookup
from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find
from hv_kvp_daemon.service.status_page import PATH
from hv_kvp_daemon.wire.text import host_value
from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which `guest.os_release` looks for them.
_RELEASE_FILES = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/SuSE-release",
    "/etc/redhat-release",
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--addresses",
        choices=("rtnetlink", "getifaddrs"),
        help="where the addresses come from (default: as the running daemon, else rtnetlink)",
    )
    parser.add_argument(
        "--exclude-interface",
        metavar="GLOB",
        action="append",
        help="leave the addresses of these interfaces out (default: as the running daemon)",
    )
    arguments.add_transport(parser)
    arguments.add_json(parser)


def _auto(options: argparse.Namespace) -> int:
    page = arguments.status_page(options)
    pool = AutoValues(page, options.addresses, options.exclude_interface)
    return show(pool, as_json=options.json, sources=True)


def show(pool: AutoValues, *, as_json: bool, sources: bool, **form: bool) -> int:
    """Write the values, as JSON or a table (in the form of `tables.show`); the exit status."""
    rows = list(zip(KVP_AUTO_KEYS, pool.values, pool.sources, strict=True))
    if as_json:
        jsontext.show(
            [
                {"pool": "auto", **jsontext.pair(key, value)}
                | ({"source": source} if sources else {})
                for key, value, source in rows
            ]
        )
        return EXIT_DONE
    shown = 3 if sources else 2
    texts = [(terminal.text(key), terminal.text(value), source) for key, value, source in rows]
    tables.show(("KEY", "VALUE", "SOURCE")[:shown], [row[:shown] for row in texts], **form)
    return EXIT_DONE


class AutoValues:
    """The values of the auto pool and their sources, in the order of KVP_AUTO_KEYS.

    The driver's version and the choice of addresses are those of the daemon whose status
    page is ``page``.  Waits for the resolver as long as the daemon would.
    """

    def __init__(
        self,
        page: str = PATH,
        addresses: str | None = None,
        exclude: Sequence[str] | None = None,
    ) -> None:
        self._daemon: DaemonStatus | None = None
        self._trouble = "no daemon is running"
        try:
            self._daemon = find(page)
        except OSError as error:
            self._trouble = f"the daemon's state cannot be read: {error.strerror}"
        except StatusError as error:
            self._trouble = str(error)
        as_daemon = self._daemon.addresses if self._daemon else ""
        self._addresses = addresses or as_daemon or "rtnetlink"
        lookup = FqdnLookup(wait_readable, terminal.say, patience=LOOKUP_TIMEOUT)
        if exclude is None:
            exclude = self._daemon.exclude if self._daemon else ()
        try:
            source = address_source(self._addresses, exclude)
        except MissingModuleError as error:
            raise CommandError(str(error)) from error
        auto_pool = AutoPool(source, lookup, report=terminal.say)
        try:
            if self._daemon is not None and self._daemon.driver_version:
                auto_pool.driver_version = self._daemon.driver_version.encode()
            with terminal.Progress("asking the resolver for the full name of this guest"):
                items = [auto_pool.item(index) for index in range(len(KVP_AUTO_KEYS))]
        finally:
            auto_pool.close()
        #: The values as a host sees them.
        self.values = [host_value(item[1]) for item in items if item is not None]
        #: Where each comes from, for a person.
        self.sources = [
            "resolver" if lookup.known else "host name, as the resolver knows no full name",
            self._driver(),
            self._addresses,
            self._addresses,
            "uname",
            *_release(),
            "uname",
            "uname",
        ]

    def _driver(self) -> str:
        if self._daemon is None:
            return self._trouble
        source = "driver" if self._daemon.driver_version else "the driver has not answered"
        return f"{source} (daemon pid {self._daemon.pid})"


def _release() -> tuple[str, str, str]:
    """Return the sources of OSName, OSMajorVersion and OSMinorVersion."""
    for path in _RELEASE_FILES:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            if path.endswith("/os-release"):
                return f"{path} NAME", f"{path} VERSION_ID", "os-release has none"
            return f"{path} line 1", f"{path} line 2", f"{path} line 3"
    return "uname", "no release file", "no release file"


AUTO = Command(
    "auto", "show the facts about this guest that a host gets", _add_arguments, _auto
)
