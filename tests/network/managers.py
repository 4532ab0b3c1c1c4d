"""The network managers that the tests are about: a row each."""

from __future__ import annotations

from typing import NamedTuple

MAC = "02:15:5d:00:00:01"

#: What the profile of cloud-init gives eth0.
CLOUD_INIT = "192.0.2.77/24"


class Manager(NamedTuple):
    """A network manager, and eth0's configuration by it.

    ``backend`` is the name that the daemon has for it, ``unit`` what runs it.  ``files`` are
    there at the first boot: eth0 has DHCP and takes router advertisements.  ``cloud_init``
    are the files of a profile that overrides these, with `CLOUD_INIT`.  ``reload`` are the
    commands by which the administrator has files read again.
    """

    name: str
    backend: str
    unit: str
    files: dict[str, str]
    cloud_init: dict[str, str]
    reload: tuple[str, ...]


_NETWORKD_RELOAD = ("networkctl reload", "networkctl reconfigure eth0")

MANAGERS = (
    Manager(
        "networkd",
        "networkd",
        "systemd-networkd.service",
        {
            "/etc/systemd/network/20-wired.network": (
                "[Match]\nName=eth0\n[Network]\nDHCP=yes\nDomains=example.com\n"
                "[Link]\nMTUBytes=1400\n"
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
)
