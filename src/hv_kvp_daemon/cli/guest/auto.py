"""``auto``: what the host is told when it asks this guest about itself.

In: the guest, as the daemon asks it.  Out: ten values, cut as the host sees them,
and where each comes from.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, daemon_state, jsontext, tables, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE
from hv_kvp_daemon.guest.addresses import GetifaddrsAddresses, RtnetlinkAddresses
from hv_kvp_daemon.guest.fqdn import FqdnLookup
from hv_kvp_daemon.guest.intrinsic import KEYS, Intrinsic
from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find
from hv_kvp_daemon.service.status_page import PATH
from hv_kvp_daemon.wire.text import host_value

if TYPE_CHECKING:
    import argparse

# In this order, as guest.os_release reads them.
_RELEASE_FILES = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/SuSE-release",
    "/etc/redhat-release",
)


def arguments_auto(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``auto``."""
    parser.add_argument(
        "--addresses",
        choices=("rtnetlink", "getifaddrs"),
        help="where the addresses come from (default: as the running daemon, else rtnetlink)",
    )
    daemon_state.add_transport(parser)
    arguments.add_json(parser)


def run_auto(options: argparse.Namespace) -> int:
    """A table: key, value, source."""
    guest = Guest(daemon_state.path_of(options), options.addresses)
    return _show(guest, as_json=options.json, sources=True)


def show(options: argparse.Namespace) -> int:
    """The same without sources, for ``list auto``."""
    return _show(Guest(), as_json=options.json, sources=False)


def value(key: bytes) -> bytes:
    """One value, for ``get``."""
    return dict(zip(KEYS, Guest().values, strict=True))[key]


def _show(guest: Guest, *, as_json: bool, sources: bool) -> int:
    if as_json:
        jsontext.show(
            [
                {"pool": "auto", **jsontext.pair(key, value)}
                | ({"source": source} if sources else {})
                for key, value, source in zip(KEYS, guest.values, guest.sources, strict=True)
            ]
        )
        return EXIT_DONE
    heads = ("KEY", "VALUE", "SOURCE")
    rows = [
        (terminal.text(key), terminal.text(value), source)
        for key, value, source in zip(KEYS, guest.values, guest.sources, strict=True)
    ]
    shown = 3 if sources else 2
    tables.show(heads[:shown], [row[:shown] for row in rows])
    return EXIT_DONE


class Guest:
    """The ten values and their sources, in the order of `KEYS`.

    ``page`` is the status page of the daemon whose driver version and choice of
    addresses count.  Waits for the resolver as long as the daemon would.
    """

    def __init__(self, page: str = PATH, addresses: str | None = None) -> None:
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
        lookup = FqdnLookup()
        source = (
            GetifaddrsAddresses() if self._addresses == "getifaddrs" else RtnetlinkAddresses()
        )
        intrinsic = Intrinsic(source, problem=terminal.say, lookup=lookup)
        try:
            if self._daemon is not None and self._daemon.driver_version:
                intrinsic.driver_version = self._daemon.driver_version.encode()
            intrinsic.start()
            with terminal.Progress("asking the resolver for the full name of this guest"):
                _wait(lookup, intrinsic)
            items = [intrinsic.item(index) for index in range(len(KEYS))]
        finally:
            intrinsic.close()
        #: The values as the host sees them.
        self.values = [host_value(item[1]) for item in items if item is not None]
        #: Where each comes from, for a person.
        self.sources = [
            "resolver" if lookup.known else "host name; the resolver knows no full one",
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
        said = "driver" if self._daemon.driver_version else "the driver has not answered"
        return f"{said} (daemon pid {self._daemon.pid})"


def _wait(lookup: FqdnLookup, intrinsic: Intrinsic) -> None:
    """Until the look-up has ended."""
    while lookup.fileno() >= 0 and lookup.deadline is not None:
        poll = select.poll()
        poll.register(lookup.fileno(), select.POLLIN)
        left = lookup.deadline - time.monotonic()
        if poll.poll(max(0, int(left * 1000) + 1)):
            intrinsic.on_event(lookup.fileno())
        else:
            intrinsic.expire()


def _release() -> tuple[str, str, str]:
    """Where OSName, OSMajorVersion and OSMinorVersion come from."""
    for path in _RELEASE_FILES:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            if path.endswith("/os-release"):
                return f"{path} NAME", f"{path} VERSION_ID", "os-release has none"
            return f"{path} line 1", f"{path} line 2", f"{path} line 3"
    return "uname", "no release file", "no release file"
