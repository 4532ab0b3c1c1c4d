# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The network managers that the tests are about: a row each."""

from __future__ import annotations

from typing import NamedTuple

MAC = "02:15:5d:00:00:01"

#: What the profile of cloud-init gives eth0.
CLOUD_INIT = "192.0.2.77/24"

#: A route of the administrator, beside what DHCP gives.
NET, ROUTER = "198.51.100.0/24", "192.0.2.254"


class Manager(NamedTuple):
    """A network manager, and eth0's configuration by it.

    ``backend`` is the name that the daemon has for it, ``unit`` what runs it.  ``files`` are
    there at the first boot: eth0 has DHCP and takes router advertisements.  ``cloud_init``
    are the files of a profile that overrides these, with `CLOUD_INIT`.  ``reload`` are the
    commands by which the administrator has files read again.
    ``dns_beside_dhcp`` says that IPv6 can have DNS servers while IPv4 has DHCP.
    """

    name: str
    backend: str
    unit: str
    files: dict[str, str]
    cloud_init: dict[str, str]
    reload: tuple[str, ...]
    dns_beside_dhcp: bool = True


_NETWORKD_RELOAD = ("networkctl reload", "networkctl reconfigure eth0")


def _profile(name: str, uuid: str, ipv4: str, ethernet: str = "", connection: str = "") -> str:
    """A profile of NetworkManager for eth0."""
    return (
        f"[connection]\nid={name}\nuuid={uuid}\ntype=ethernet\ninterface-name=eth0\n"
        f"{connection}\n[ethernet]\nmtu=1400\n{ethernet}\n[ipv4]\n{ipv4}\n"
        "[ipv6]\nmethod=auto\n"
    )


MANAGERS = (
    Manager(
        "networkd",
        "networkd",
        "systemd-networkd.service",
        {
            "/etc/systemd/network/20-wired.network": (
                "[Match]\nName=eth0\n[Network]\nDHCP=yes\nDomains=example.com\n"
                f"[Link]\nMTUBytes=1400\n[Route]\nDestination={NET}\nGateway={ROUTER}\n"
            )
        },
        {
            "/etc/systemd/network/10-cloud-init-eth0.network": (
                f"[Match]\nMACAddress={MAC}\nName=eth0\n[Network]\nAddress={CLOUD_INIT}\n"
            )
        },
        _NETWORKD_RELOAD,
    ),
    Manager(
        "netplan",
        "networkd",
        "systemd-networkd.service",
        {
            "/etc/netplan/20-wired.yaml": (
                "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n"
                "      accept-ra: true\n      mtu: 1400\n"
                f"      routes: [{{to: {NET}, via: {ROUTER}}}]\n"
            )
        },
        {
            "/etc/netplan/50-cloud-init.yaml": (
                "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: false\n"
                # Not by MAC address, as cloud-init does: netplan means the permanent one,
                # and a veth has none.
                f"      match:\n        name: eth0\n      addresses: [{CLOUD_INIT}]\n"
            )
        },
        ("netplan generate", *_NETWORKD_RELOAD),
    ),
    Manager(
        "networkmanager",
        "networkmanager",
        "NetworkManager.service",
        {
            "/etc/NetworkManager/system-connections/wired.nmconnection": _profile(
                "wired",
                "5f1ba8a9-6d0c-4b9c-8c8b-f5d1e2b2a001",
                f"method=auto\nroute1={NET},{ROUTER}",
            )
        },
        {
            "/etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection": _profile(
                *("cloud-init eth0", "1dd9a779-d327-56e1-8454-c65e2556c12c"),
                *(f"method=manual\naddress1={CLOUD_INIT}", f"mac-address={MAC}"),
                "autoconnect-priority=120",
            )
        },
        ("nmcli connection reload", "nmcli networking off", "nmcli networking on"),
    ),
    Manager(
        "netplan-nm",
        "networkmanager",
        "NetworkManager.service",
        {
            "/etc/netplan/20-wired.yaml": (
                "network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    eth0:\n"
                "      dhcp4: true\n      dhcp6: true\n      mtu: 1400\n"
                f"      routes: [{{to: {NET}, via: {ROUTER}}}]\n"
            )
        },
        {
            "/etc/netplan/50-cloud-init.yaml": (
                "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: false\n"
                f"      addresses: [{CLOUD_INIT}]\n"
            )
        },
        (
            *("netplan generate", "nmcli connection reload"),
            *("nmcli networking off", "nmcli networking on"),
        ),
    ),
    Manager(
        "ifupdown",
        "ifupdown",
        "networking.service",
        {
            "/etc/network/interfaces.d/eth0": (
                "auto eth0\niface eth0 inet dhcp\n    pre-up ip link set eth0 mtu 1400\n"
                f"    up ip route add {NET} via {ROUTER}\n"
                "iface eth0 inet6 auto\n"
            ),
            # As Debian installs it.  (The hook for resolved is broken in Debian 12.)
            "/etc/systemd/system/systemd-resolved.service": "",
            "/etc/resolv.conf": "nameserver 192.0.2.53\n",
        },
        {
            "/etc/network/interfaces.d/50-cloud-init": (
                f"auto eth0\niface eth0 inet static\n    address {CLOUD_INIT}\n"
            )
        },
        ("ifdown eth0", "ifup eth0"),
        dns_beside_dhcp=False,
    ),
)
