# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What these tests are about: interfaces, state files, and programs that answer."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.netconfig.config import AdapterConfig, adapter_config
from hv_kvp_daemon.netconfig.program import Programs
from tests.support.network import IFA_F_NODAD, link, wait_until_usable
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from pyroute2 import IPRoute


def veth(ip: IPRoute, name: str, mac: str, *addresses: str) -> int:
    """A pair of links that are up, the first with these addresses; its index."""
    index = link(ip, name, f"{name}p")
    ip.link("set", index=index, address=mac)
    for address in addresses:
        add(ip, index, address)
    return index


def add(ip: IPRoute, index: int, address: str) -> None:
    """Give an interface an address that is usable at once."""
    text, _, length = address.partition("/")
    flags = {"flags": IFA_F_NODAD} if ":" in text else {}
    ip.addr("add", index=index, address=text, prefixlen=int(length), **flags)
    if flags:
        wait_until_usable(text)


def ask(mac: str, root: str = "/nowhere") -> AdapterConfig:
    """The configuration of the interface with a MAC; a program that fails fails the test."""

    def fail(report: str) -> None:
        raise AssertionError(report)

    config = adapter_config(mac.encode(), wait_readable, fail, root)
    assert config is not None
    return config


@contextlib.contextmanager
def unit(path: Path, answer: str | None) -> Iterator[None]:
    """A unit that answers once at its socket; None is one that hangs."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(DEADLINE)

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            with contextlib.suppress(BrokenPipeError):
                connection.sendall((answer or "").encode())
            if answer is None:
                connection.recv(1)  # until the other end is closed

    thread = threading.Thread(target=answer_once)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        listener.close()


class Machine:
    """A root directory whose programs give the answers of a test, in this order.

    None is the answer of a program that fails.  ``asked`` are the commands; without
    answers the programs are run.  ``reports`` are the lines for the log.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reports: list[str] = []
        self.asked: list[tuple[str, ...]] = []

    def programs(self, *answers: str | None) -> Programs:
        self.asked = []
        return _Answering(self, answers)

    def write(self, path: str, *lines: str) -> None:
        write(self.root, path, "\n".join(lines))

    def running(self, *programs: str, user: int = 998) -> None:
        """Give these programs a process of a user each, and nothing else one."""
        shutil.rmtree(self.root / "proc", ignore_errors=True)
        for pid, program in enumerate(programs, 417):
            write(self.root, f"/proc/{pid}/comm", f"{program[:15]}\n")
            ids = "\t".join([str(user)] * 4)
            write(self.root, f"/proc/{pid}/status", f"Name:\tx\nUid:\t{ids}\nGid:\t0\n")
        write(self.root, "/proc/self/comm", "NetworkManager\n")

    def script(self, path: str, text: str) -> None:
        """An executable file; without ``#!`` in it the shell's."""
        text = text if text.startswith("#!") else f"#!/bin/sh\n{text}\n"
        write(self.root, path, text, 0o755)


class _Answering(Programs):
    __slots__ = ("_answers", "_machine")

    def __init__(self, machine: Machine, answers: tuple[str | None, ...]) -> None:
        super().__init__(wait_readable, machine.reports.append, str(machine.root))
        self._machine = machine
        self._answers = list(answers)

    def run(
        self, path: str, *arguments: str, seconds: float, any_status: bool = False
    ) -> str | None:
        self._machine.asked.append((path, *arguments))
        if not self._answers:
            return super().run(path, *arguments, seconds=seconds, any_status=any_status)
        return self._answers.pop(0)


def write(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    """A file below a root directory, with the directories above it."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def config(name: str = "eth0", index: int = 2, *, sole: bool = True) -> AdapterConfig:
    """A configuration with nothing in it yet."""
    empty = AdapterConfig(name, index)
    empty.is_sole_interface = sole
    return empty
