# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The interface that SET_IP_INFO changes.

A host means an adapter by the GUID of its VMBus device, which stays with the configuration
of the virtual machine; the MAC address differs after a failover.  The interface of that
device is not always the one with the addresses: it may be a port of a bond or bridge.  So
the one is changed for which GET_IP_INFO answers, and none if that would be a port.

A host sends its settings as soon as it reaches the daemon.  That may be before the kernel
has made the interface, and before udev has given it its name, by which all network managers
know it.  So both are waited for.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.files import below, list_names, read_text
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_GUID_NOTFOUND

from .adapter import find_interface
from .settings import RequestError

if TYPE_CHECKING:
    from hv_kvp_daemon.wire.rtnetlink import Link

#: Seconds to wait for an adapter and its name.
PATIENCE = 2.0

_PAUSE: Final = 0.05
_NET: Final = "/sys/class/net"
_GUID_PARTS: Final = (8, 4, 4, 4, 12)

# Characters of a name that mean nothing but themselves in any manager's file, and nothing
# to a shell.  The kernel allows all but blanks, "/" and ":".
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


class Target(NamedTuple):
    """An interface that is to be changed, and the GUID of the adapter that was meant.

    ``guid`` is in lower case and without braces.
    """

    guid: str
    name: str
    ifindex: int


def parse_guid(adapter_id: bytes) -> str:
    """Return a GUID in lower case, without the braces around it.

    :raises RequestError: HV_GUID_NOTFOUND, it is none.
    """
    text = adapter_id.decode("ascii", "replace").lower()
    guid = text[1:-1] if text[:1] == "{" and text[-1:] == "}" else text
    parts = guid.split("-")
    if tuple(map(len, parts)) != _GUID_PARTS or not set("".join(parts)) <= _HEXADECIMAL:
        raise RequestError(HV_GUID_NOTFOUND, f"{text[:40]!r} is not the GUID of an adapter")
    return guid


_HEXADECIMAL: Final = frozenset("0123456789abcdef")


def find(guid: str, root: str = "/", seconds: float | None = None) -> Target:
    """Return the interface of the adapter with a GUID, below a root directory's /sys.

    It is waited for, by default for `PATIENCE` seconds.

    :raises RequestError: HV_GUID_NOTFOUND, there is no such adapter; HV_E_FAIL, it has no
        interface that may be changed.
    :raises OSError: the kernel's links or addresses cannot be read.
    """
    ends = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while True:
        name = _device_name(root, guid)
        link = _link(name) if name else None
        if link is not None and _is_named(root, link.index):
            return _target(guid, link)
        if time.monotonic() >= ends:
            break
        time.sleep(_PAUSE)
    if link is None:
        raise RequestError(HV_GUID_NOTFOUND, f"no adapter has the GUID {guid}")
    raise RequestError(HV_E_FAIL, f"udev has not processed {link.name}, so it may be renamed")


def _device_name(root: str, guid: str) -> str:
    """Return the name of the interface whose VMBus device has a GUID; empty if none has."""
    for name in list_names(root, _NET):
        text = read_text(root, f"{_NET}/{name}/device/device_id") or ""
        if text.strip().strip("{}").lower() == guid:
            return name
    return ""


def _is_named(root: str, index: int) -> bool:
    """Whether udev has processed an interface, or does not run, as in a container."""
    return not os.path.exists(below(root, "/run/udev/control")) or os.path.exists(
        below(root, f"/run/udev/data/n{index}")
    )


def _link(name: str) -> Link | None:
    return next((link for link in rtnetlink.links() if link.name == name), None)


def _target(guid: str, device: Link) -> Target:
    links = rtnetlink.links()
    addresses = [address for address in rtnetlink.addresses() if address.usable]
    vrfs = rtnetlink.vrf_tables(links) if any(link.master for link in links) else {}
    link = find_interface(device.permanent or device.address, links, addresses, vrfs) or device
    if link.master and link.master not in vrfs:
        raise RequestError(HV_E_FAIL, f"{link.name} is a port: addresses are not for it")
    if not set(link.name) <= _PLAIN:
        raise RequestError(HV_E_FAIL, f"the name {link.name!r} is not for files of managers")
    return Target(guid, link.name, link.index)
