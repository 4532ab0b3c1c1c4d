# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What the tests of SET_IP_INFO have in common: a guest with one adapter, and its networkd."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from typing import TYPE_CHECKING

from pyroute2 import IPRoute

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.netconfig.injection import SOCKET
from hv_kvp_daemon.netconfig.injection_unit import serve
from hv_kvp_daemon.netconfig.networkd_writer import NetworkdWriter
from hv_kvp_daemon.netconfig.program import Programs
from hv_kvp_daemon.netconfig.settings import AUTOMATIC, Family, Settings
from hv_kvp_daemon.netconfig.target import Target
from tests.support.network import IFA_F_NODAD, link, wait_until_usable

from .network import veth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from hv_kvp_daemon.netconfig.writer import File, Writer

    from .network import Machine

GUID = "f8615163-df3e-46c5-913f-f2d2f965ed0e"
MAC = "02:15:5d:00:00:01"
ADAPTER = f"{{{GUID.upper()}}}".encode()
BASE = "/etc/systemd/network/20-wired.network"
OURS = "/etc/systemd/network/05-hv-kvp-eth0.network"


def static(addresses: str, gateways: str = "", dns: str = "") -> Family:
    """Settings of one family, each list separated by blanks."""
    return Family(
        False,
        tuple(map(ipaddress.ip_interface, addresses.split())),
        tuple(map(ipaddress.ip_address, gateways.split())),
        tuple(map(ipaddress.ip_address, dns.split())),
    )


V4 = static("10.0.0.5/24", "10.0.0.1", "10.0.0.53 10.0.0.54")
V6 = static("2001:db8::5/64", "fe80::1", "2001:db8::53 fe80::53")

#: The forms of a request, by the names of golden files.
FORMS = {
    "ipv4": Settings(V4, None),
    "ipv6": Settings(None, V6),
    "both": Settings(V4, V6),
    "two-of-each": Settings(static("10.0.0.5/24 10.0.1.5/25", "10.0.0.1 10.0.1.1"), None),
    "gateway-outside": Settings(static("192.168.1.1/24", "192.168.31.1"), None),
    "dhcp": Settings(AUTOMATIC, AUTOMATIC),
}


def golden(machine: Machine, writer: type[Writer], settings: Settings, path: Path) -> None:
    """Check a writer's files: all of them, one after the other, are in a golden file."""
    text = "".join(
        f"{file.path} {file.mode:o}\n{file.text}" for file in written(machine, writer, settings)
    )
    assert text == (path.read_text() if path.exists() else ""), f"for {path}:\n{text}"


def adapter(machine: Machine, name: str = "eth0", guid: str = GUID) -> None:
    """Make an interface that of a VMBus device."""
    machine.write(f"/sys/class/net/{name}/device/device_id", f"{{{guid}}}", "")


def by_networkd(machine: Machine, text: str, *, carrier: bool = True) -> None:
    """Make eth0 the adapter's; networkd has ``text`` for it.  With carrier: 192.0.2.1/24."""
    with IPRoute() as ip:
        if carrier:
            veth(ip, "eth0", MAC, "192.0.2.1/24")
        else:
            link(ip, "eth0", "peer0", peer_up=False)
    adapter(machine)
    machine.write(BASE, text)
    machine.running("systemd-networkd")


class Unit:
    """``with Unit(root, prepare)``: what hv-kvp-ip.service runs, in a child.

    ``prepare`` runs in the child first.
    """

    def __init__(self, root: Path, prepare: Callable[[], object] = lambda: None) -> None:
        self._root = root
        self._prepare = prepare

    def __enter__(self) -> Self:
        path = self._root / SOCKET.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.fspath(path))
            listener.listen()
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    self._prepare()
                    serve(listener, self._log("note"), self._log("report"), str(self._root))
                finally:
                    os._exit(0)
        return self

    def _log(self, kind: str) -> Callable[[str], None]:
        def log(text: str) -> None:
            with (self._root / "unit-log").open("a") as file:
                file.write(f"{kind}: {text}\n")

        return log

    @property
    def logged(self) -> str:
        path = self._root / "unit-log"
        return path.read_text() if path.exists() else ""

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def programs(machine: Machine) -> Programs:
    return Programs(wait_readable, machine.reports.append, str(machine.root))


def written(
    machine: Machine, writer: type[Writer], settings: Settings, name: str = "eth0"
) -> list[File]:
    """The files that a writer makes of settings."""
    return writer(Target(GUID, name, 2), programs(machine)).files(settings)


def addresses(name: str = "eth0") -> list[str]:
    """The addresses of an interface, without those that the kernel makes itself."""
    with IPRoute() as ip:
        found = [
            ipaddress.ip_interface(f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}")
            for each in ip.get_addr(index=socket.if_nametoindex(name))
        ]
    return [str(each) for each in found if not each.is_link_local]


def fake_networkd(root: Path, change: Callable[[str], str] = lambda text: text) -> None:
    """Replace networkctl in this process: addresses and gateways become those of the file.

    ``change`` may alter the text first.
    """

    def reload(writer: NetworkdWriter) -> None:
        paths = [root / path.lstrip("/") for path in (OURS, BASE)]
        text = change(next((path.read_text() for path in paths if path.exists()), ""))
        index = writer.target.ifindex or socket.if_nametoindex(writer.target.name)
        with IPRoute() as ip:
            ip.flush_addr(index=index)
            for line in text.splitlines():
                key, _, value = line.partition("=")
                if key == "Address":
                    address, _, length = value.partition("/")
                    flags = {"flags": IFA_F_NODAD} if ":" in address else {}
                    ip.addr("add", index=index, address=address, prefixlen=int(length), **flags)
                    if flags:
                        wait_until_usable(address)
                elif key == "Gateway":
                    family = socket.AF_INET6 if ":" in value else socket.AF_INET
                    ip.route("add", gateway=value, oif=index, flags=["onlink"], family=family)

    setattr(NetworkdWriter, "_reload", reload)  # noqa: B010 - a method is not assigned to
