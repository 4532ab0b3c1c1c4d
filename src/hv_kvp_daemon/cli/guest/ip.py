"""``ip``: what a host is told of this guest's network adapters (GET_IP_INFO).

In: the kernel's links and addresses, and the network managers, asked as the
daemon asks them.  Out: each adapter's fields as the host gets them.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND
from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.inquiry import inquire

if TYPE_CHECKING:
    import argparse

    from hv_kvp_daemon.netconfig.report import Report
    from hv_kvp_daemon.wire.rtnetlink import Link


def arguments_ip(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``ip``."""
    parser.add_argument("interface", nargs="?", metavar="IF", help="one interface only")
    arguments.add_json(parser)


def run_ip(options: argparse.Namespace) -> int:
    """Every interface that a host can ask for, which is by its MAC; or one."""
    links = [link for link in rtnetlink.links() if link.address and not link.loopback]
    if options.interface is not None:
        links = [link for link in links if link.name == options.interface]
        if not links:
            terminal.say(f"no interface {options.interface} that has a MAC")
            return EXIT_NOT_FOUND
    answers = [(link, _report(link)) for link in links]
    if options.json:
        jsontext.show([_document(link, report) for link, report in answers if report])
        return EXIT_DONE
    for number, (link, report) in enumerate(answers):
        if number:
            print()
        _show(link, report)
    return EXIT_DONE


def _mac(link: Link) -> str:
    return link.address.hex(":").upper()


def _report(link: Link) -> Report | None:
    """The daemon's answer for a MAC; None where the interface has gone meanwhile."""
    inquiry = inquire(_mac(link).encode(), terminal.say)
    if inquiry is None:
        return None
    try:
        with terminal.Progress(f"asking the network manager about {link.name}"):
            while inquiry.report is None:
                poll = select.poll()
                poll.register(inquiry.fileno(), select.POLLIN)
                deadline = inquiry.deadline
                left = 0.0 if deadline is None else deadline - time.monotonic()
                if poll.poll(max(0, int(left * 1000) + 1)):
                    inquiry.on_event()
                else:
                    inquiry.expire()
    finally:
        inquiry.close()
    return inquiry.report


def _document(link: Link, report: Report) -> dict[str, object]:
    info = ip_info(report, _mac(link).encode())
    return {
        "interface": link.name,
        "mac": _mac(link),
        "answered_by": report.name,
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


def _show(link: Link, report: Report | None) -> None:
    print(terminal.paint(f"{terminal.safe(link.name)}  {_mac(link)}", terminal.BOLD))
    if report is None:
        print("  the host is told that it failed: no interface has this MAC any more")
        return
    if report.name != link.name:
        print(f"  the host is told of {terminal.safe(report.name)}, which has the same MAC")
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
