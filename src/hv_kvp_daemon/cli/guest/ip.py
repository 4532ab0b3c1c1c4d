# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``ip``: each network adapter's configuration as a host gets it (GET_IP_INFO).

And what the host has set (SET_IP_INFO), see `host_settings`.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, Command
from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.config import adapter_config

from . import host_settings

if TYPE_CHECKING:
    from hv_kvp_daemon.netconfig.config import AdapterConfig
    from hv_kvp_daemon.wire.rtnetlink import Link


_MAC_SIZE = 6


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("interface", nargs="?", metavar="IF", help="only this interface")
    parser.add_argument(
        "--forget", metavar="IF", help="undo what the host has set for an interface"
    )
    parser.add_argument(
        "--serve", action="store_true", help="carry out requests, as hv-kvp-ip.service does"
    )
    arguments.add_json(parser)


def _ip(options: argparse.Namespace) -> int:
    if options.serve:
        return host_settings.serve_socket()
    if options.forget is not None:
        return host_settings.forget_interface(options.forget)
    host_set = host_settings.by_interface()
    links = [link for link in rtnetlink.links() if _has_mac(link)]
    if options.interface is not None:
        named = rtnetlink.link_named(options.interface)
        links = [link for link in links if named is not None and link.index == named.index]
        if not links:
            terminal.say(f"no interface {_shown(options.interface)} with a MAC address")
            return EXIT_NOT_FOUND
    answers = [(link, _report(link)) for link in links]
    if options.json:
        documents = [
            {**_document(link, report), "set_by_host": host_settings.documents(host_set, link)}
            for link, report in answers
            if report
        ]
        jsontext.show(documents)
        return EXIT_DONE
    for number, (link, report) in enumerate(answers):
        if number:
            print()
        _show(link, report)
        for line in host_settings.lines(host_set, link):
            print(f"  {line}")
    return EXIT_DONE


def _has_mac(link: Link) -> bool:
    """Return whether a host can ask for an interface; a tunnel has an IP address instead."""
    return len(link.address) == _MAC_SIZE and not link.loopback


def _mac(link: Link) -> str:
    # A host knows the address that an adapter was made with.
    address = link.permanent if len(link.permanent) == _MAC_SIZE else link.address
    return address.hex(":").upper()


def _shown(name: str) -> str:
    return terminal.text(os.fsencode(name))


def _name(member: str, name: str) -> dict[str, str]:
    """Return the JSON member for the name of an interface, which may be no UTF-8."""
    return jsontext.field(member, os.fsencode(name))


def _report(link: Link) -> AdapterConfig | None:
    """Return the daemon's answer for a MAC; None where the interface is gone by now."""
    with terminal.Progress(f"asking the network manager about {_shown(link.name)}"):
        return adapter_config(_mac(link).encode(), wait_readable, terminal.say)


def _document(link: Link, report: AdapterConfig) -> dict[str, object]:
    info = ip_info(report, _mac(link).encode())
    return {
        **_name("interface", link.name),
        "mac": _mac(link),
        **_name("answered_by", report.name),
        "dhcp": bool(info.dhcp_enabled),
        **{
            name: raw.decode().split(";") if raw else []
            for name, raw in (
                ("addresses", info.ip_addr),
                ("subnets", info.sub_net),
                ("gateways", info.gate_way),
                ("dns", info.dns_addr),
            )
        },
    }


def _show(link: Link, report: AdapterConfig | None) -> None:
    print(terminal.paint(f"{_shown(link.name)}  {_mac(link)}", terminal.BOLD))
    if report is None:
        print("  the host gets an error: no interface has this MAC address any more")
        return
    if report.name != link.name:
        name = _shown(report.name)
        print(f"  the host gets the addresses of {name}")
    info = ip_info(report, b"")
    subnets = info.sub_net.split(b";")
    pairs = zip(info.ip_addr.split(b";"), subnets, strict=True)
    addresses = [b"%b (%b)" % pair for pair in pairs] if info.ip_addr else []
    for name, texts in (
        ("addresses", addresses),
        ("gateways", info.gate_way.split(b";")),
        ("dns", info.dns_addr.split(b";")),
        ("dhcp", [b"yes" if info.dhcp_enabled else b"no"]),
    ):
        for count, raw in enumerate(texts or [b""]):
            print(f"  {'' if count else name:<10} {terminal.text(raw) or 'none'}")


IP = Command("ip", "show the network configuration that a host gets", _add_arguments, _ip)
