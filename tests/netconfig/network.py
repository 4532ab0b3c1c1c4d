"""Links in a network namespace of one's own, and state files below a directory."""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.netconfig.inquiry import Inquiry, inquire
from hv_kvp_daemon.netconfig.program import Answer, Question
from hv_kvp_daemon.netconfig.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroute2 import IPRoute

    from hv_kvp_daemon.netconfig.steps import Steps, T

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
IFA_F_NODAD = 0x02


def enter_own_network() -> None:
    """Become root of new user and network namespaces; nothing but lo is there, and down."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(
            number,
            f"unshare(CLONE_NEWUSER | CLONE_NEWNET): {os.strerror(number)}; these tests need "
            "user namespaces: see sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
        )
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)
    # Without addresses that the kernel makes itself, at a time of its own.
    Path("/proc/sys/net/ipv6/conf/default/addr_gen_mode").write_text("1")


def in_own_network(body: Callable[[], None]) -> Callable[[], None]:
    """Run a test in a child that has its own user and network namespace."""

    @functools.wraps(body)
    def run() -> None:
        ours, childs = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                enter_own_network()
                body()
                status = 0
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
        if status:
            pytest.fail(text or f"the child ended with wait status {status}", pytrace=False)

    return run


def veth(ip: IPRoute, name: str, mac: str, *addresses: str) -> int:
    """A pair of links that are up, the first with these addresses; its index."""
    ip.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}p"})
    index = socket.if_nametoindex(name)
    ip.link("set", index=index, address=mac, state="up")
    ip.link("set", index=socket.if_nametoindex(f"{name}p"), state="up")
    for address in addresses:
        add(ip, index, address)
    return index


def add(ip: IPRoute, index: int, address: str) -> None:
    """Give an interface an address that is usable at once."""
    text, _, length = address.partition("/")
    flags = {"flags": IFA_F_NODAD} if ":" in text else {}
    ip.addr("add", index=index, address=text, prefixlen=int(length), **flags)


def finish(inquiry: Inquiry) -> Report:
    """Do what the service's loop does until the report is there."""
    while inquiry.report is None:
        poll = select.poll()
        poll.register(inquiry.fileno(), select.POLLIN)
        assert inquiry.deadline is not None
        left = inquiry.deadline - time.monotonic()
        if poll.poll(max(0, int(left * 1000) + 1)):
            inquiry.on_event()
        else:
            inquiry.expire()
    return inquiry.report


def ask(mac: str, root: str = "/nowhere") -> Report:
    """The finished report of the interface with a MAC; what goes wrong fails the test."""

    def fail(problem: str) -> None:
        raise AssertionError(problem)

    inquiry = inquire(mac.encode(), fail, root)
    assert inquiry is not None
    return finish(inquiry)


def play(steps: Steps[T], *answers: str | Answer) -> tuple[T, list[tuple[str, ...]]]:
    """Answer the questions of steps in turn: what they return, and what was asked."""
    asked: list[tuple[str, ...]] = []
    coming = iter(answers)
    question: Question
    try:
        question = next(steps)
        while True:
            asked.append(question.argv)
            answer = next(coming)
            question = steps.send(Answer(answer) if isinstance(answer, str) else answer)
    except StopIteration as end:
        assert not list(coming)
        result: T = end.value
        return result, asked


def write(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    """A file below a root directory, with the directories above it."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def report(name: str = "eth0", index: int = 2, *, alone: bool = True) -> Report:
    """A report with nothing in it yet."""
    empty = Report(name=name, index=index, mac=bytes(6))
    empty.alone = alone
    return empty
