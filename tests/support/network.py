# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A network namespace for one test, and links in it.

Such a test runs in a child with a network namespace of its own, and for an ordinary user
with a user namespace, in which it may create links.  If the machine does not allow that, the
test fails with that message.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import signal
import socket
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.guest import routes, rtnetlink
from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.netlink import pack
from tests.support.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroute2 import IPRoute

# linux/if_addr.h: the address is usable at once, without duplicate detection.
IFA_F_NODAD = 0x02

# linux/rtnetlink.h: another name of an interface.
RTM_NEWLINKPROP = 108

# linux/sockios.h: gives an interface another name, of any bytes.
SIOCSIFNAME = 0x8923

# A child's exit status.
_SKIPPED = 77

# linux/sched.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def any_time_for_rtnetlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a dump of links, addresses or routes take longer than the daemon allows.

    The kernel has one lock for the links of all namespaces, and holds it while it removes
    those of another test.
    """
    monkeypatch.setattr(rtnetlink, "TIMEOUT", 60.0)
    monkeypatch.setattr(routes, "PATIENCE", 60.0)


def in_own_network(body: Callable[[], None]) -> Callable[[], None]:
    """Run the body of a test in such a child; an exception in it fails the test."""

    @functools.wraps(body)
    def run() -> None:
        ours, childs = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _enter_own_network()
                body()
                status = 0
            except pytest.skip.Exception as reason:
                os.write(childs, str(reason).encode())
                status = _SKIPPED
            except BaseException:  # noqa: BLE001 - the parent raises it
                os.write(childs, traceback.format_exc().encode())
            finally:
                os._exit(status)
        os.close(childs)
        try:
            with open(ours) as report:
                text = report.read()
        finally:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == _SKIPPED:
            pytest.skip(text)
        if status:
            pytest.fail(text or f"the child ended with wait status {status}", pytrace=False)

    return run


def connector_socket() -> socket.socket:
    """Open a socket of the connector; the test is skipped where that cannot be had."""
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, uapi.NETLINK_CONNECTOR)
    except OSError as error:
        pytest.skip(f"no connector in the kernel, or none that the emulator passes on: {error}")


def needs_rtnetlink(message_type: int) -> pytest.MarkDecorator:
    """Skip a test where the system refuses to send messages of a type.

    qemu-user passes on the types that it knows, and fails with EOPNOTSUPP for all others.
    """
    problem = ""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, uapi.NETLINK_ROUTE) as sock:
        try:
            # The kernel's answer, that the message is too short, is not read.  The emulator
            # does not look at one that is a header alone.
            sock.sendto(pack(message_type, uapi.NLM_F_REQUEST, 0, 0, bytes(4)), (0, 0))
        except OSError as error:
            problem = f"no rtnetlink message of type {message_type} can be sent: {error}"
    return pytest.mark.skipif(bool(problem), reason=problem)


def needs_ioctl(number: int) -> pytest.MarkDecorator:
    """Skip a test where an ioctl of an interface is unknown, as to qemu-user."""
    is_missing = False
    with socket.socket() as sock:
        try:
            fcntl.ioctl(sock, number, bytes(40))
        except OSError as error:
            # Otherwise there is no interface without a name, or the user may not do that.
            is_missing = error.errno == errno.ENOSYS
    return pytest.mark.skipif(is_missing, reason=f"ioctl {number:#x} is unknown")


def sysctl(name: str, value: int) -> None:
    """Set a parameter of this namespace, by its path below ``net/``."""
    Path("/proc/sys/net", name).write_text(str(value))


def link(ip: IPRoute, name: str, peer: str, *, peer_up: bool = True) -> int:
    """Create a veth pair with the first and perhaps the second end up; return its index."""
    ip.link("add", ifname=name, kind="veth", peer={"ifname": peer})
    for each in (name, peer) if peer_up else (name,):
        ip.link("set", index=socket.if_nametoindex(each), state="up")
    return socket.if_nametoindex(name)


def wait_until_usable(address: str) -> None:
    """Wait for an IPv6 address that was added with IFA_F_NODAD.

    The kernel clears its IFA_F_TENTATIVE (0x40) in a work queue, shortly afterwards.
    """
    digits = socket.inet_pton(socket.AF_INET6, address).hex()

    def usable() -> bool:
        rows = [row.split() for row in Path("/proc/self/net/if_inet6").read_text().splitlines()]
        return any(row[0] == digits and not int(row[4], 16) & 0x40 for row in rows)

    wait_for(f"{address} to be usable", usable)


def _enter_own_network() -> None:
    """Become root of a new network namespace, which has only lo, down."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET | (uid and _CLONE_NEWUSER)):
        number = ctypes.get_errno()
        raise OSError(
            number,
            f"unshare: {os.strerror(number)}; these tests need "
            "user namespaces: see sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
        )
    if uid:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            Path("/proc/self", name).write_text(text)
    # Without addresses that the kernel adds itself, at an unknown time.
    sysctl("ipv6/conf/default/addr_gen_mode", 1)
